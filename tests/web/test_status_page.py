"""The status page: complete, well formed, and safe with any status."""

import dataclasses
import math
import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest

from exporter.pagedata.builder import PageData
from exporter.status import (
    ArchiveStatus,
    CollectorStatus,
    ExportStatus,
    FiringAlert,
    FreshnessSource,
    SourceStatus,
    Status,
)
from exporter.web.status_page import SOURCES_LISTED, StatusPage, troubles
from exporter.web.templating import ago, environment, instant, size, source_state
from tests.web.fake_endpoint import NOW, a_status
from tests.web.page_fixtures import AT, an_asset, an_estate, some_pages

HOSTILE = (
    "</td></table><script>alert(1)</script>'\"><img src=x onerror=alert(1)>&amp;&lt;b&gt;{{ 7 * 7 }}\u202e\x00\udcff"
)
SHOWN = HOSTILE.replace("\udcff", "?").replace("\x00", "\ufffd")
VOID = {"meta", "link"}


class Outline(HTMLParser):
    """A page as a browser parses it: its elements, their attributes and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.script = ""
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
        self.script += data if self.open[-1:] == ["script"] else ""

    def all_of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All text, with its white space folded."""
        return " ".join(" ".join(self.texts).split())


def rendered(status: Status, pages: PageData | None = None) -> Outline:
    """Render a status page and read it back."""
    page = StatusPage(environment(lambda name: f"/static/{name}"))
    return Outline(page.render(status, pages or PageData()))


@pytest.fixture
def render() -> Callable[[Status], Outline]:
    """Return a function that renders a status and reads the page back."""
    return rendered


def healthy(**changes: Any) -> Status:
    """Return the status of an agent that has nothing wrong with it."""
    source = SourceStatus("repository", up=True, tried_at=NOW, answered_at=NOW)
    return dataclasses.replace(Status("0.1.0", NOW, NOW, (source,), (), (), ArchiveStatus("h.duckdb")), **changes)


def verdicts(outline: Outline) -> list[str]:
    """Return the colours of the verdicts, the agent's first."""
    classes = [attributes.get("class") or "" for attributes in outline.all_of("section")]
    return [name.removeprefix("verdict ") for name in classes if name.startswith("verdict ")]


def asset_alert(name: str, severity: str, asset_id: str, **changes: Any) -> FiringAlert:
    """Return an alert that fires about a workbook."""
    alert = FiringAlert(name, severity, (("asset_id", asset_id), ("asset_type", "workbook")), NOW - 3_600)
    return dataclasses.replace(alert, **changes)


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
    displayed = "\n".join(outline.texts).replace("\x00", "\ufffd")
    assert len(given) >= 17
    for text in given:
        assert text.replace(HOSTILE, SHOWN) in displayed


def test_the_page_needs_nothing_that_the_policy_forbids(render: Callable[[Status], Outline]) -> None:
    """The page has one script, from a file, no style of its own, no form, and points nowhere but at the agent."""
    outline = render(a_status())
    tags = {tag for tag, _ in outline.elements}
    assert not tags & {"style", "form", "iframe", "object", "base"}
    assert outline.all_of("script") == [{"src": "./static/local_time.js", "defer": None}]
    assert outline.script == ""
    for _, attributes in outline.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert all(re.match(r"(\./$|\./[^/]|#content$)", attributes.get(name) or "./x") for name in ("href", "src"))


@pytest.mark.parametrize("name", ["status.css", "pages.css", "local_time.js"])
def test_the_static_files_fetch_nothing(name: str) -> None:
    """A style sheet names no other file, neither here nor elsewhere; the script sends nothing and adds text alone."""
    content = (resources.files("exporter.web") / "static" / name).read_text(encoding="utf-8")
    for word in ("url(", "@import", "import", "fetch", "http", "innerHTML", "eval", "Function", "storage", "cookie"):
        assert word not in content


def test_tables_tell_what_their_cells_mean(render: Callable[[Status], Outline]) -> None:
    """Every table has a caption, every heading a scope, every cell of a body the name of its column."""
    outline = render(a_status())
    assert len(outline.all_of("caption")) == len(outline.all_of("table")) == 5
    assert all(attributes.get("scope") in {"col", "row"} for attributes in outline.all_of("th"))
    assert all("data-label" in attributes for attributes in outline.all_of("td"))


def test_the_page_links_to_the_endpoints(render: Callable[[Status], Outline]) -> None:
    """The exposition and both probes are one click away."""
    links = {attributes.get("href") for attributes in render(a_status()).all_of("a")}
    assert {"./metrics", "./-/healthy", "./-/ready"} <= links


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
        "failed web: unknown key",
        "The agent is not healthy: 4 problems",
        "default Metadata API 2026-07-27T08:00:00Z 2 h ago",
        "marketing flow runs 2026-07-27T09:59:20Z 40 s ago",
        "http_requests success parquet s3://lake/requests 2026-07-27T09:50:00Z 10 min ago 81,234",
        "logins failed csv /share never 0 the disk is full",
    ],
)
def test_the_page_shows(render: Callable[[Status], Outline], text: str) -> None:
    """The status is written for a reader: instants in UTC and as a distance, figures with their units."""
    assert text in render(a_status()).text


def test_the_newest_poll_comes_first(render: Callable[[Status], Outline]) -> None:
    """Polls are listed from the newest to the oldest, in any order of the input."""
    text = render(a_status()).text
    assert text.index("exact 200 ms") < text.index("fast 250 ms")


@pytest.mark.parametrize(
    ("sources", "verdict"),
    [
        ((SourceStatus("repository", True, tried_at=NOW, answered_at=NOW),), "The agent is healthy."),
        ((SourceStatus("repository"),), "Waiting for the first poll."),
        (
            (SourceStatus("repository", tried_at=NOW),),
            "The agent is not healthy: 1 problem The source repository is down",
        ),
        (
            (SourceStatus("repository", True, tried_at=NOW, answered_at=NOW, polling_since=NOW, stuck=True),),
            "The agent is not healthy: 1 problem The poll of the source repository is stuck; it started at 2026-07-27 ",
        ),
    ],
)
def test_the_verdict_comes_from_the_sources(
    render: Callable[[Status], Outline], sources: tuple[SourceStatus, ...], verdict: str
) -> None:
    """A source that answered is fine, one that is down or stuck is a trouble, one that was never tried is neither."""
    status = Status("0.1.0", NOW, NOW, sources, (), (), ArchiveStatus("history.duckdb"))
    assert verdict in render(status).text


def test_an_agent_that_knows_nothing_yet_has_a_page(render: Callable[[Status], Outline]) -> None:
    """Before the first poll the page has unknown for everything, never a zero."""
    text = render(Status("0.1.0", NOW, NOW, (), (), (), ArchiveStatus("history.duckdb"))).text
    assert "No source is configured." in text
    assert "No poll yet." in text
    assert "Archived requests unknown" in text
    assert "Newest request never" in text
    assert "Possibly lost unknown Incidents unknown" in text
    assert "Freshness sources" not in text
    assert "Exports" not in text


def test_every_trouble_is_named() -> None:
    """A source that is down, a collector that failed and a rejected configuration are problems."""
    assert troubles(a_status()) == [
        "The source rest is down",
        "The collector logins failed",
        "The export of logins to /share (csv) failed",
        "The last configuration reload failed",
    ]


def failing(name: str, error: str, *causes: str) -> CollectorStatus:
    """Return the status of a collector that failed."""
    return CollectorStatus(name, success=False, duration_seconds=0.1, succeeded_at=None, error=error, causes=causes)


DOWN = (SourceStatus("repository", tried_at=NOW), SourceStatus("rest", tried_at=NOW))
BUSY = "the file is held"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"sources": DOWN, "collectors": (failing("assets", "a; b", "repository", "rest"), failing("users", "a"))},
            ["The source repository is down", "The source rest is down", "The collector users failed"],
        ),
        (
            {
                "history_error": BUSY,
                "collectors": (failing("assets", BUSY, "history"), failing("logins", BUSY, "history")),
            },
            ["The history file cannot be written"],
        ),
        (
            {"collectors": (failing("http_requests", "no right"), failing("views", "no right", "http_requests"))},
            ["The collector http_requests failed"],
        ),
        (
            {
                "collectors": (
                    failing("logins", "timed out"),
                    failing("users", "timed out"),
                    failing("views", "no right"),
                )
            },
            ["The collectors logins, users failed", "The collector views failed"],
        ),
    ],
    ids=["sources", "history", "requests", "one reason"],
)
def test_what_follows_from_something_else_is_no_trouble(changes: dict[str, Any], named: list[str]) -> None:
    """A collector that failed with its source, the history or another collector is not named; one reason is once."""
    assert troubles(healthy(**changes)) == named


def test_a_collector_that_follows_says_whom(render: Callable[[Status], Outline]) -> None:
    """In the table it names the metrics it follows; the write error stands with the archive."""
    text = render(healthy(history_error=BUSY, collectors=(failing("logins", "why it is held", "history"),))).text
    assert "failed" in text
    assert "caused by history" in text
    assert "why it is held" not in text
    assert f"Write error {BUSY}" in text


@pytest.mark.parametrize(
    ("changes", "follow"),
    [
        ({"sources": DOWN[1:]}, ["TableauRestTokenRefused", "TableauFreshnessSourceSilent"]),
        ({"history_error": BUSY}, ["TableauHistoryFileBusy", "TableauHistoryIncident", "TableauArchiveLagging"]),
        ({"exports": (ExportStatus("logins", "csv", "/share", error="denied"),)}, ["TableauExportFailing"]),
    ],
    ids=["rest", "history", "exports"],
)
def test_alerts_about_what_is_named_are_no_troubles(changes: dict[str, Any], follow: list[str]) -> None:
    """An alert only on a source that is down is not named beside it, and is where that is up."""
    alerts = [FiringAlert(name, "warning", (), NOW) for name in follow]
    assert len(troubles(healthy(**changes), alerts)) == 1
    assert len(troubles(healthy(), alerts)) == len(follow)


@pytest.mark.parametrize(
    ("alert", "trouble"),
    [
        (
            FiringAlert("TableauArchiveLagging", "warning", (), NOW),
            ["The alert TableauArchiveLagging is firing (warning)"],
        ),
        (FiringAlert("TableauRestUnreachable", "critical", (("source", "rest"),), NOW), []),
        (FiringAlert("TableauCollectorFailing", "warning", (("collector", "logins"),), NOW), []),
        (FiringAlert("TableauCollectorColumnMissing", "info", (("collector", "users"),), NOW), []),
        (asset_alert("TableauAssetStale", "critical", "w-1"), []),
    ],
)
def test_an_alert_about_the_agent_is_a_trouble(alert: FiringAlert, trouble: list[str]) -> None:
    """An alert about the agent is named once, unless it is named already; an alert about an asset is no problem."""
    named = troubles(a_status())
    assert troubles(a_status(), [alert, alert]) == named + trouble


def aged(*ages: float | None) -> PageData:
    """Return pages of workbooks of these ages in hours, under 12 and 24 hours of SLA."""
    estate = [
        an_asset(asset_id=f"w-{number}", last_refresh_at=None if age is None else AT - timedelta(hours=age))
        for number, age in enumerate(ages)
    ]
    return some_pages(estate)


@pytest.mark.parametrize(
    ("pages", "text", "colour"),
    [
        (aged(1), "No asset is past its SLA.", "good"),
        (aged(1, None), "No asset is known to be past its SLA. The data age of 1 asset is unknown.", "idle"),
        (aged(13), "1 asset is past its SLA: 1 warning .", "warn"),
        (aged(13, 25, 26), "3 assets are past their SLA: 2 critical , 1 warning .", "bad"),
        (aged(25, None, None), "1 asset is past its SLA: 1 critical . The data age of 2 assets is unknown.", "bad"),
        (some_pages([]), "No asset has an SLA.", "idle"),
    ],
)
def test_assets_past_their_sla_have_a_verdict_of_their_own(pages: PageData, text: str, colour: str) -> None:
    """How many assets are past their SLA, and of how many that is unknown, stands apart from the agent's health."""
    outline = rendered(healthy(), pages)
    assert "The agent is healthy." in outline.text
    assert text in outline.text
    assert verdicts(outline) == ["good", colour]


def test_green_is_of_a_healthy_agent_alone() -> None:
    """Where the agent is not healthy, or waits, or has no assets, nothing of it is green."""
    down = SourceStatus("repository", up=False, tried_at=NOW)
    assert verdicts(rendered(healthy(sources=(down,)), aged(1))) == ["bad", "idle"]
    assert verdicts(rendered(healthy(sources=(SourceStatus("repository"),)), aged(1))) == ["idle", "idle"]
    unknown = rendered(healthy(), PageData())
    assert verdicts(unknown) == ["good"]
    assert "There is no data on assets." in unknown.text


def test_counts_lead_to_the_assets() -> None:
    """Each count of assets past their SLA, or of unknown age, leads to these assets."""
    links = {link.get("href") for link in rendered(healthy(), some_pages(an_estate())).all_of("a")}
    assert {"./assets?status=Critical", "./assets?status=Warning", "./assets?status=Unknown"} <= links


def test_alerts_are_grouped_by_name_and_severity() -> None:
    """Warnings are not counted as critical: each severity of an alert is a line, the worst first."""
    firing = [
        asset_alert("TableauAssetStale", "warning", "w-1", since=NOW - 7_200),
        asset_alert("TableauAssetStale", "critical", "w-2"),
        asset_alert("TableauAssetStale", "warning", "w-4"),
        FiringAlert("TableauArchiveLagging", "warning", (), NOW - 60),
    ]
    outline = rendered(healthy(), some_pages(firing=firing))
    for text in (
        "critical TableauAssetStale \N{MULTIPLICATION SIGN} 1 · 1 asset since 2026-07-27 09:00 UTC",
        "warning TableauAssetStale \N{MULTIPLICATION SIGN} 2 · 2 assets since 2026-07-27 08:00 UTC",
        "warning TableauArchiveLagging \N{MULTIPLICATION SIGN} 1 since 2026-07-27 09:59 UTC",
    ):
        assert text in outline.text
    assert outline.text.index("critical TableauAssetStale") < outline.text.index("warning TableauArchiveLagging")
    links = [link.get("href") for link in outline.all_of("a")]
    assert "./assets?alert=TableauAssetStale+critical" in links
    assert "./assets?alert=TableauAssetStale+warning" in links


def test_alerts_lead_to_their_runbooks() -> None:
    """An alert leads to its runbook where the configuration names one, and nowhere else."""
    address = "https://wiki.example.com/runbooks/TableauAssetStale.md"
    firing = [
        asset_alert("TableauAssetStale", "critical", "w-2", runbook_url=address),
        asset_alert("TableauAssetRefreshLate", "warning", "w-2"),
    ]
    links = rendered(healthy(), some_pages(firing=firing)).all_of("a")
    assert [link["href"] for link in links if "Runbook" in (link.get("aria-label") or "")] == [address]


@pytest.mark.parametrize(
    ("firing", "text"),
    [
        (None, "Unknown: the agent evaluates alert rules only where alertmanager is configured."),
        ((), "No firing alerts."),
    ],
)
def test_alerts_that_are_not_evaluated_are_unknown(firing: tuple[()] | None, text: str) -> None:
    """The page reports no firing alert only where the agent evaluates alert rules."""
    outline = rendered(healthy(), some_pages(firing=firing))
    assert text in outline.text
    assert ("No firing alerts." in outline.text) == (firing is not None)


def test_sources_of_freshness_are_listed_the_oldest_first() -> None:
    """Of many sources of freshness those are listed that were read longest ago, and how many more there are."""
    many = tuple(FreshnessSource(f"site {n:02}", "job", NOW - n * 60) for n in range(SOURCES_LISTED + 3))
    text = rendered(healthy(freshness_sources=many)).text
    assert text.index(f"site {SOURCES_LISTED + 2} refresh jobs") < text.index(f"site {SOURCES_LISTED + 1} refresh jobs")
    assert "site 02" not in text
    assert "and 3 more, read more recently" in text


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
