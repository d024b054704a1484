"""The lists of unused content on the usage page: they list nothing of which it is unknown, and give the reason."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from exporter.pagedata.builder import PageData
from exporter.web import unused
from exporter.web.application import application
from tests.web.fake_endpoint import NOW, FakeEndpoint, ask
from tests.web.page_fixtures import EVERYTHING, some_pages
from tests.web.test_usage import notices, rendered

DAY = 86_400.0
PAGES = some_pages()


def listed(pages: PageData, query: str) -> list[dict[str, str]]:
    """Return the rows of the CSV file."""
    answer = ask(application(FakeEndpoint(pages_shown=pages)), "GET", f"/usage.csv?of=content&list={query}")
    assert answer.status == 200
    return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))


def names(pages: PageData, query: str) -> list[str]:
    """Return the names in the CSV file."""
    return [row["name"] for row in listed(pages, query)]


def test_the_longest_unused_is_first() -> None:
    """Content that was never opened first, then by the last opening; a list is part of those of fewer days."""
    month, quarter, year = (names(PAGES, f"unused{days}") for days in (30, 90, 365))
    assert month == ["Nightly", "Ledger", "Unheard", "Live view", "Flights", "Überblick", "Orders", "Traffic"]
    assert quarter == ["Nightly", "Ledger"]
    assert year == ["Nightly"]
    assert names(PAGES, "unused30&site=hr") == ["Ledger", "Live view", "Überblick", "Traffic"]


def test_a_row_has_what_a_deletion_needs() -> None:
    """LUID, owner, size, the day of the last opening, and the cost of its refreshes; unknown values are empty."""
    assert listed(PAGES, "unused90")[1] == {
        "site": "hr",
        "asset_type": "datasource",
        "luid": "d-1",
        "name": "Ledger",
        "project": "Finance",
        "content_owner": "ada",
        "created_utc": "2024-08-26T10:00:00Z",
        "last_opened_day": "2026-04-27",
        "bytes": "9000000",
        "refresh_seconds_per_week": "5400",
        "refresh_suspension_utc": "",
    }
    assert listed(PAGES, "unused30")[-1]["bytes"] == ""


def test_refreshes_that_will_be_suspended() -> None:
    """Those of workbooks that reach the window of their site within seven days, the next first."""
    rows = listed(PAGES, "suspending")
    assert [row["name"] for row in rows] == ["Orders", "Traffic"]
    assert rows[1]["refresh_suspension_utc"] == "2026-07-26T10:00:00Z"
    page = rendered(PAGES, "/usage?list=suspending")
    assert 'data-label="Suspended from" class="moment">2026-07-26</td>' in page
    assert "Suspended from" not in rendered(PAGES, "/usage?list=unused30")


def test_the_page_has_sums_and_links() -> None:
    """The size and the refreshes of the list, and a link to each asset that has a page."""
    page = rendered(PAGES, "/usage?list=unused90")
    assert "1 to 2 of 2 assets, 18.1 MiB, refreshes 190 minutes a week" in page
    assert '<a href="./assets/datasource/d-1">Ledger</a>' in page
    assert notices(page) == []


def test_unknown_is_not_unused() -> None:
    """Content without statistics for so long is not listed; a sentence gives how much that is."""
    assert PAGES.unused is not None
    since = np.where(np.array(PAGES.unused.texts["asset_name"]) == "Nightly", np.nan, NOW - 40 * DAY)
    pages = replace(PAGES, unused=replace(PAGES.unused, openings=replace(PAGES.unused.openings, known_since=since)))
    assert names(pages, "unused90") == []
    assert "Of 11 assets the last opening is unknown" in notices(rendered(pages, "/usage?list=unused90"))[0]
    assert "Nightly" not in names(pages, "unused30")
    assert "Of 1 asset the last opening is unknown" in notices(rendered(pages, "/usage?list=unused30"))[0]


@pytest.mark.parametrize("name", list(unused.LISTS))
def test_without_an_answer_there_is_a_reason(name: str) -> None:
    """A missing repository, a disabled collector, and an answer that is not there yet."""
    for pages, sources, line in (
        (some_pages(watched=EVERYTHING - {"unused"}), ["rest"], unused.NO_REPOSITORY),
        (some_pages(watched=EVERYTHING - {"unused"}), ["repository"], unused.DISABLED),
        (replace(PAGES, unused=None), ["repository"], "Unused content has not been read from the history yet"),
    ):
        assert any(notice.startswith(line) for notice in notices(rendered(pages, f"/usage?list={name}", sources)))
        assert listed(pages, name) == []


def test_it_needs_no_archived_requests() -> None:
    """Tableau's own statistics are enough: the list is there with the collector http_requests disabled."""
    pages = some_pages(watched=EVERYTHING - {"requests"})
    assert "Table of content" in rendered(pages, "/usage?list=unused30")
