"""The usage page: it names unknown figures with the reason, and lists none that cannot be known."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from exporter.pagedata.builder import PageData
from exporter.status import SourceStatus
from exporter.web.application import application
from tests.web.fake_endpoint import NOW, FakeEndpoint, a_status, ask
from tests.web.page_fixtures import EVERYTHING, some_pages

LISTS = ["most", "views"]
NO_REQUESTS_SOURCE = "Requests are read from the repository of Tableau Server, and of Tableau Cloud from"
DAY = 86_400.0


def rendered(pages: PageData, path: str, sources: Sequence[str] = ("repository",)) -> str:
    """Return the answer of a path where these sources are polled and answer."""
    polled = tuple(SourceStatus(name, True, tried_at=NOW, answered_at=NOW) for name in sources)
    answer = ask(
        application(FakeEndpoint(pages_shown=pages, rendered=replace(a_status(), sources=polled))), "GET", path
    )
    assert answer.status == 200
    return answer.body.decode()


def notices(page: str) -> list[str]:
    """Return the sentences on missing data."""
    return re.findall(r'<p class="notice[^"]*">([^<]*)</p>', page)


def known_for(days: float) -> PageData:
    """Return pages of a history that has counted openings for so many days."""
    pages = some_pages()
    assert pages.usage is not None
    return replace(pages, usage=replace(pages.usage, loads_since=NOW - days * DAY))


@pytest.mark.parametrize("of_content", LISTS)
def test_nothing_is_listed_where_nothing_is_watched(of_content: str) -> None:
    """Where requests are not archived, no opened content is listed: one sentence reports it."""
    pages = some_pages(watched=EVERYTHING - {"requests"})
    page = rendered(pages, f"/usage?list={of_content}")
    (notice,) = notices(page)
    assert notice.startswith("The collector http_requests is disabled")
    assert "Table of content" not in page
    assert rendered(pages, f"/usage.csv?of=content&list={of_content}").count("\r\n") == 1


@pytest.mark.parametrize("of_content", LISTS)
def test_without_a_repository(of_content: str) -> None:
    """Without a repository, no collector was disabled: the agent reads requests from no other source."""
    pages = some_pages(watched=frozenset({"assets"}))
    page = rendered(pages, f"/usage?list={of_content}", ["rest"])
    (notice,) = notices(page)
    assert notice.startswith(NO_REQUESTS_SOURCE)
    assert "disabled" not in page
    for of in ("hours", "content"):
        assert rendered(pages, f"/usage.csv?of={of}&list={of_content}", ["rest"]).count("\r\n") == 1


@pytest.mark.parametrize("source", ["activity_log", "admin_insights"])
def test_on_tableau_cloud(source: str) -> None:
    """Either source of Tableau Cloud has requests; opened content is listed unless its collector is disabled."""
    pages = replace(known_for(30), enabled=EVERYTHING - {"workbooks"})
    page = rendered(pages, "/usage", ["rest", source])
    (notice,) = notices(page)
    assert notice.startswith("The collector content is disabled")
    assert rendered(pages, "/usage.csv?of=hours", [source]).count("\r\n") > 1
    assert "Table of content" in rendered(known_for(30), "/usage", ["rest", source])


@pytest.mark.parametrize(("of_content", "missing"), [("most", "content"), ("views", "views")])
def test_the_history_was_not_asked(of_content: str, missing: str) -> None:
    """Where there is no answer of the history, a sentence reports it; the list of the other answer is rendered."""
    lacking: dict[str, Any] = {missing: None}
    pages = replace(known_for(30), **lacking)
    page = rendered(pages, f"/usage?list={of_content}")
    (notice,) = notices(page)
    assert notice.startswith("Opened content has not been read from the history yet")
    assert "Table of content" not in page
    other = "most" if missing == "views" else "views"
    assert "Table of content" in rendered(pages, f"/usage?list={other}")


def test_a_list_has_its_age() -> None:
    """Counts of some time ago have their age."""
    pages = known_for(30)
    assert pages.content is not None
    pages = replace(pages, content=replace(pages.content, queried_at=NOW - 7200))
    assert "Counted 2 h ago." in rendered(pages, "/usage")


@pytest.mark.parametrize(
    ("interval", "age", "late"),
    [
        (None, 1801, True),
        (300.0, 1799, False),
        (300.0, 1801, True),
        (3600.0, 10_799, False),
        (3600.0, 10_801, True),
    ],
)
def test_what_came_later_is_missing(interval: float | None, age: float, late: bool) -> None:
    """A count is late after three exact intervals as they are retained, and never before half an hour."""
    pages = some_pages()
    assert pages.usage is not None
    pages = replace(pages, exact_interval=interval, usage=replace(pages.usage, counted_at=NOW - age))
    assert ("later requests are missing" in rendered(pages, "/usage")) == late
