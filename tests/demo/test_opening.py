"""The company has content that is refreshed and not opened."""

from datetime import datetime

from exporter.demo.company import Company
from exporter.demo.draft import SMALL, Scale
from exporter.demo.opening import UNOPENED_DAYS, unopened
from exporter.demo.simulation import Simulation
from exporter.repository.connection import connect

NOW = datetime(2025, 11, 19, 10, 30)  # noqa: DTZ001 - the repository's times have no zone


def test_workbooks_that_are_not_opened_are_refreshed() -> None:
    """At any scale, each has an extract and a task, and its last opening is as old as intended."""
    for scale in (Scale(), SMALL):
        company = Company.build(1, NOW, scale)
        days = unopened(company.assets)
        assert sorted(days.values()) == sorted(UNOPENED_DAYS)
        planned = {row["obj_id"] for row in company.tables["tasks"] if row["obj_type"] == "Workbook"}
        assert days.keys() <= planned
        views = {row["id"]: row["workbook_id"] for row in company.tables["views"]}
        opened = {
            views[row["view_id"]]: (NOW - row["time"]).days
            for row in company.tables["views_stats"]
            if views[row["view_id"]] in days and isinstance(row["time"], datetime)
        }
        assert opened == days


def test_no_request_opens_them(simulation: Simulation) -> None:
    """The traffic has none of their views."""
    days = unopened(simulation.company.assets)
    books = simulation.company.tables["workbooks"]
    names = [f"{row['site_id']}/{row['repository_url']}" for row in books if row["id"] in days]
    with connect(simulation.admin()) as connection:
        found = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE site_id || '/' || split_part(currentsheet, '/', 1) = ANY(%s))"
            " FROM http_requests",
            [names],
        ).fetchone()
    assert found is not None
    assert found[0] > 0
    assert found[1] == 0
