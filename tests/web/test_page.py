"""The status page: complete, well formed, and safe with whatever it is given to show."""

import dataclasses
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest

from exporter.exposition.pages import Pages
from exporter.status import ArchiveStatus, SourceStatus, Status
from exporter.web.environment import ago, environment, instant, size, source_state
from exporter.web.page import StatusPage, troubles
from tests.web.fakes import NOW, a_status

HOSTILE = (
    "</td></table><script>alert(1)</script>'\"><img src=x onerror=alert(1)>&amp;&lt;b&gt;{{ 7 * 7 }}\u202e\x00\udcff"
)
SHOWN = HOSTILE.replace("\udcff", "?").replace("\x00", "\ufffd")
VOID = {"meta", "link"}


class Outline(HTMLParser):
    """What a browser would make of a page: its elements, their attributes and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)

    def all_of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All text, with its white space folded."""
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def render() -> Callable[[Status], Outline]:
    """Return a function that renders a status and reads the page back."""
    page = StatusPage(environment(lambda name: f"/static/{name}"))
    return lambda status: Outline(page.render(status, Pages()))


def with_texts(value: Any, text: Callable[[str], str]) -> Any:  # noqa: ANN401 - a status or anything in it
    """Return a copy of a status in which every text is replaced."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, tuple):
        return tuple(with_texts(item, text) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{name: with_texts(item, text) for name, item in fields.items()})
    return value


def test_hostile_texts_leave_no_element(render: Callable[[Status], Outline]) -> None:
    """A page full of hostile texts has exactly the elements and attribute names of a page of harmless ones."""
    harmless = render(with_texts(a_status(), lambda _: "harmless"))
    hostile = render(with_texts(a_status(), lambda _: HOSTILE))

    def shape(outline: Outline) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in outline.elements]

    assert shape(hostile) == shape(harmless)
    assert hostile.open == []


def test_every_text_is_shown_as_it_is(render: Callable[[Status], Outline]) -> None:
    """Each text of a status stands on the page, unchanged however hostile it is."""
    given: list[str] = []

    def marked(text: str) -> str:
        given.append(f"[{len(given)} {text}] {HOSTILE}")
        return given[-1]

    outline = render(with_texts(a_status(), marked))
    shown = "\n".join(outline.texts).replace("\x00", "\ufffd")
    assert len(given) >= 17
    for text in given:
        assert text.replace(HOSTILE, SHOWN) in shown


def test_the_page_needs_nothing_that_the_policy_forbids(render: Callable[[Status], Outline]) -> None:
    """The page has no script, no style of its own, no form, and points nowhere but at the agent."""
    outline = render(a_status())
    tags = {tag for tag, _ in outline.elements}
    assert not tags & {"script", "style", "form", "iframe", "object", "base"}
    for _, attributes in outline.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert all(re.match(r"(/$|/[^/]|#content$)", attributes.get(name) or "/x") for name in ("href", "src"))


def test_the_stylesheet_fetches_nothing() -> None:
    """The stylesheet names no other file, neither here nor elsewhere."""
    style = (resources.files("exporter.web") / "static" / "status.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_tables_tell_what_their_cells_mean(render: Callable[[Status], Outline]) -> None:
    """Every table has a caption, every heading a scope, every cell of a body the name of its column."""
    outline = render(a_status())
    assert len(outline.all_of("caption")) == len(outline.all_of("table")) == 3
    assert all(attributes.get("scope") in {"col", "row"} for attributes in outline.all_of("th"))
    assert all("data-label" in attributes for attributes in outline.all_of("td"))


def test_the_page_links_to_the_endpoints(render: Callable[[Status], Outline]) -> None:
    """The exposition and both probes are one click away."""
    links = {attributes.get("href") for attributes in render(a_status()).all_of("a")}
    assert {"/metrics", "/-/healthy", "/-/ready"} <= links


@pytest.mark.parametrize(
    "text",
    [
        "version 0.1.0 · up 1 d 1 h · 2026-07-27T10:00:00Z",
        "2026-07-27T09:59:48Z 12 s ago",
        "2026-07-27T08:00:00Z 2 h ago",
        "700.0 MiB",
        "48,213,377",
        "id 991",
        "at most 312",
        "truncated \N{MULTIPLICATION SIGN} 3",
        "184 ms",
        "a column is missing",
        "timed out",
        "file busy",
        "not taken web: unknown key",
        "3 things need attention",
    ],
)
def test_the_page_shows(render: Callable[[Status], Outline], text: str) -> None:
    """What the agent knows is written for a person: instants in UTC and as a distance, figures with their units."""
    assert text in render(a_status()).text


def test_the_newest_poll_comes_first(render: Callable[[Status], Outline]) -> None:
    """Polls are listed from the newest to the oldest, in whatever order they are given."""
    text = render(a_status()).text
    assert text.index("exact 200 ms") < text.index("fast 250 ms")


@pytest.mark.parametrize(
    ("sources", "verdict"),
    [
        ((SourceStatus("repository", True, tried_at=NOW, answered_at=NOW),), "Everything works."),
        ((SourceStatus("repository"),), "Waiting for the first poll."),
        ((SourceStatus("repository", tried_at=NOW),), "1 thing needs attention The source repository is down"),
    ],
)
def test_the_verdict_comes_from_the_sources(
    render: Callable[[Status], Outline], sources: tuple[SourceStatus, ...], verdict: str
) -> None:
    """A source that answered is fine, one that did not is a trouble, one that was never tried is neither."""
    status = Status("0.1.0", NOW, NOW, sources, (), (), ArchiveStatus("history.duckdb"))
    assert verdict in render(status).text


def test_an_agent_that_knows_nothing_yet_has_a_page(render: Callable[[Status], Outline]) -> None:
    """Before the first poll the page says of everything that it is unknown, never a zero."""
    text = render(Status("0.1.0", NOW, NOW, (), (), (), ArchiveStatus("history.duckdb"))).text
    assert "No source is configured." in text
    assert "No poll has been tried yet." in text
    assert "Requests unknown" in text
    assert "Newest request never" in text


def test_every_trouble_is_named() -> None:
    """A source that is down, a collector that failed and a configuration that was not taken are troubles."""
    assert troubles(a_status()) == [
        "The source rest is down",
        "The collector logins failed",
        "The last configuration was not taken",
    ]


def test_a_source_that_was_never_tried_waits() -> None:
    """A source is down only once it was tried."""
    assert source_state(SourceStatus("rest")) == "waiting"


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan, 1e18, -1e18])
def test_an_impossible_instant_is_unknown(render: Callable[[Status], Outline], seconds: float) -> None:
    """An infinity or another instant outside the calendar is unknown and breaks no page."""
    archive = ArchiveStatus("history.duckdb", oldest_request_at=seconds)
    assert instant(seconds) == "unknown"
    assert "Oldest request unknown" in render(dataclasses.replace(a_status(), archive=archive)).text


@pytest.mark.parametrize(
    ("seconds", "text"), [(NOW - 90, "1 min 30 s ago"), (NOW, "just now"), (NOW + 7_200, "in 2 h")]
)
def test_a_distance_has_a_direction(seconds: float, text: str) -> None:
    """An instant is some time ago, just now, or in some time where clocks disagree."""
    assert ago(seconds, NOW) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (2**31, "2.0 GiB"), (2**52, "4,096.0 TiB")]
)
def test_a_size_is_written_in_binary_units(count: int, text: str) -> None:
    """A size is written in the largest unit of 1024 that leaves it at one or above."""
    assert size(count) == text
