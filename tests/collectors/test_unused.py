"""Unused content: its last opening by Tableau's statistics and by the history, and what refreshing it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from exporter.collector import columns_of
from exporter.collectors.background_jobs import Job
from exporter.collectors.unused import COLLECTOR
from exporter.collectors.unused.history_sql import LAST_OPENED, PAGE
from exporter.collectors.unused.metrics import expose
from exporter.collectors.unused.rows import OpenedContent
from exporter.demo.simulation import Simulation
from exporter.demo.workgroup import VERSIONS
from exporter.repository.connection import connect
from tests.collectors.repositories import CONTEXT, SITES, Handmade, Samples, at, read, samples

(STATE,) = COLLECTOR.states
NOW = at(19)
SCHEMA = pa.schema([(column.name, column.type.arrow) for column in columns_of(OpenedContent)])


def ago(days: float) -> datetime:
    """Return an instant so many days before now."""
    return NOW - timedelta(days=days)


def content(**changes: Any) -> dict[str, Any]:
    """Return a workbook that was made two years ago and never opened, by statistics of Tableau."""
    row = dict.fromkeys(SCHEMA.names) | {"id": 1, "site_id": 1, "asset_type": "workbook", "asset_id": "luid-1"}
    row |= {"asset_name": "Sales", "project": "Finance", "content_url": "Sales", "created_at": ago(700)}
    return row | {"covered": True, "bytes": 1000} | changes


def learn(
    rows: Sequence[Mapping[str, Any]],
    loads: Sequence[tuple[float, str]] = (),
    jobs: Sequence[Mapping[str, Any]] = (),
    *,
    waiting: Sequence[tuple[float, str]] = (),
) -> pa.Table:
    """Query a history with loads of workbooks (days ago, workbook) and jobs; the page's query agrees."""
    with duckdb.connect() as connection:
        for table, found in (("views_by_day", loads), ("views_waiting", waiting)):
            connection.execute(f'CREATE TABLE {table} (day DATE, site_id BIGINT, workbook VARCHAR, "view" VARCHAR)')
            for days, workbook in found:
                connection.execute(f"INSERT INTO {table} VALUES (?, 1, ?, 'Sheet')", [ago(days).date(), workbook])
        listed = ", ".join(f'"{column.name}" {column.type.duckdb}' for column in columns_of(Job))
        connection.execute(f"CREATE TABLE background_jobs ({listed})")
        for job in jobs:
            marks = ", ".join("?" * len(job))
            connection.execute(f"INSERT INTO background_jobs ({', '.join(job)}) VALUES ({marks})", list(job.values()))
        connection.register("state", pa.Table.from_pylist(list(rows), schema=SCHEMA))
        answer = connection.sql(LAST_OPENED).to_arrow_table()
        page = connection.sql(PAGE, params={"now": NOW}).to_arrow_table()
        assert page.sort_by("asset_id").equals(answer.sort_by("asset_id"))
        return answer


def published(family: str, rows: Sequence[Mapping[str, Any]], *history: Any, **more: Any) -> Samples:
    """Return the samples of a family."""
    context = replace(CONTEXT, learned=learn(rows, *history, **more), now=NOW.replace(tzinfo=UTC).timestamp())
    return samples(list(expose(pa.table({}), context)), f"tableau_unused_{family}")


def unused(rows: Sequence[Mapping[str, Any]], *history: Any, **more: Any) -> dict[str, float]:
    """Return how many assets of one type are unused for each number of days; without those of unknown use."""
    found = published("assets", rows, *history, **more)
    assert len({labels[:3] for labels in found}) <= 1
    return {days: value for (_, _, _, days), value in found.items()}


@pytest.mark.parametrize(
    ("opened", "expected"), [(None, [1, 1, 1]), (400, [1, 1, 1]), (100, [1, 1, 0]), (31, [1, 0, 0]), (29, [0, 0, 0])]
)
def test_days_are_cumulative(opened: float | None, expected: list[int]) -> None:
    """Content that without openings for 365 days is unused for 30 days too."""
    row = content(opened_at=None if opened is None else ago(opened))
    assert unused([row]) == dict(zip(("30", "90", "365"), expected, strict=True))


def test_the_later_of_both_openings_counts() -> None:
    """Of Tableau's statistics and our archive, whichever is later, a day counting to its end."""
    assert unused([content(opened_at=ago(100))], [(29, "Sales")])["30"] == 0
    assert unused([content(opened_at=ago(29))], [(50, "Sales")])["30"] == 0
    assert unused([content(opened_at=ago(100))], [(50, "Sales")]) == {"30": 1, "90": 0, "365": 0}
    assert unused([content()], [(30, "Sales")])["30"] == 0


def test_openings_that_wait_to_be_summed_up_count() -> None:
    """The first poll of a history has no others."""
    assert unused([content()], waiting=[(1, "Sales")])["30"] == 0


def test_a_workbook_of_the_same_name_on_another_site_does_not_count() -> None:
    """Names in addresses are unique on their site only."""
    assert unused([content(site_id=2)], [(1, "Sales")])["30"] == 1


def test_a_source_is_used_when_a_workbook_on_it_is() -> None:
    """By our archive as by Tableau's statistics."""
    book = content(id=7, asset_id="luid-7", opened_at=ago(1))
    source = content(id=7, asset_id="luid-8", asset_type="datasource", content_url=None, workbook_ids="6,7")
    found = published("assets", [book, source], [(1, "Sales")])
    assert found["default", "Finance", "datasource", "30"] == 0
    assert published("assets", [book, source], [(1, "Costs")])["default", "Finance", "datasource", "30"] == 1


@pytest.mark.parametrize(("age", "expected"), [(29, [0, 0, 0]), (31, [1, 0, 0]), (91, [1, 1, 0])])
def test_what_is_younger_than_the_window_is_not_unused(age: float, expected: list[int]) -> None:
    """It could not have been opened for so long."""
    assert list(unused([content(created_at=ago(age))]).values()) == expected


def test_what_no_statistics_cover_is_unknown() -> None:
    """Without those of Tableau, only so many days are known as our archive has: others are absent, not zero."""
    row = content(covered=False)
    assert unused([row]) == {}
    assert unused([row], [(29, "Costs")]) == {}
    assert unused([row], [(95, "Costs")]) == {"30": 1, "90": 1}
    assert unused([content(covered=False, asset_type="flow")], [(95, "Costs")]) == {}
    assert unused([content(created_at=None)]) == {}


def test_sizes_are_added_up() -> None:
    """Of unused assets with a known size: an unknown size is no size of 0."""
    rows = [
        content(),
        content(id=2, asset_id="luid-2", bytes=500),
        content(id=3, asset_id="luid-3", opened_at=ago(1), bytes=7),
    ]
    assert published("asset_bytes", rows)["default", "Finance", "workbook", "30"] == 1500
    assert published("asset_bytes", [content(bytes=None)]) == {}


def jobs(*days: float, seconds: float = 60, **values: Any) -> list[dict[str, Any]]:
    """Return refreshes by task 5 so many days ago."""
    base = {"job_name": "Refresh Extracts", "task_id": 5, "site_id": 1, "finish_code": 0}
    return [
        {**base, "started_at": ago(day) - timedelta(seconds=seconds), "completed_at": ago(day), **values}
        for day in days
    ]


PLANNED = {"task_ids": "4,5"}
COST = "refresh_seconds_per_week"


def test_refreshes_cost_backgrounder_time_each_week() -> None:
    """The mean of the last four weeks: failures cost as much, what is used or older costs nothing here."""
    done = [*jobs(0, 7, 14, 21), *jobs(1, seconds=300, finish_code=1), *jobs(40, seconds=9999)]
    assert published(COST, [content(**PLANNED)], [], done) == {("default", "Finance"): (4 * 60 + 300) / 4}
    assert published(COST, [content(**PLANNED, opened_at=ago(3))], [], done) == {("default", "Finance"): 0}
    other = [*done, *jobs(1, task_id=9, job_name="Subscription Notifications"), *jobs(2, task_id=77)]
    assert published(COST, [content(**PLANNED)], [], other) == {("default", "Finance"): (4 * 60 + 300) / 4}


def test_a_refresh_by_hand_counts_by_its_title() -> None:
    """It has no task; one that has counts by that alone."""
    named: dict[str, Any] = {"title": "Sales", "subtitle": "Workbook"}
    done = [*jobs(0, 14, **named), *jobs(1, task_id=None, seconds=20, **named)]
    assert published(COST, [content(**PLANNED)], [], done) == {("default", "Finance"): (120 + 20) / 2}


def test_the_cost_of_less_than_a_week_is_unknown() -> None:
    """The refreshes of a week do not follow from the jobs of a day."""
    assert published(COST, [content(**PLANNED)], [], jobs(0, 1, 6)) == {}
    assert published(COST, [content(**PLANNED)]) == {}


def test_before_the_history_has_answered_nothing_is_known() -> None:
    """Tableau's statistics alone might call unused what our archive has seen opened."""
    assert list(expose(pa.table({}), CONTEXT)) == []


def rows_of(repository: Handmade) -> dict[str, dict[str, Any]]:
    """Return the rows of a repository by name."""
    return {row["asset_name"]: row for row in repository.read(STATE)}


def test_the_last_opening_by_tableau(any_version: Handmade) -> None:
    """Of all views of a workbook, of all users; and content_usage, where the version has it."""
    has_usage = any_version.version != VERSIONS[0]
    book = any_version.add("workbooks", name="Book", site_id=1, repository_url="Book")
    other = any_version.add("workbooks", name="Other", site_id=1, repository_url="Other")
    for day, owner in ((3, book), (9, book), (8, other)):
        view = any_version.add("views", name="x", site_id=1, workbook_id=owner)
        for earlier in (0, 1):
            any_version.add("views_stats", view_id=view, user_id=earlier, time=at(day - earlier), nviews=1)
    source = any_version.add("datasources", name="Source", site_id=1, repository_url="Src", connectable=True)
    any_version.add("datasources", name="Alone", site_id=1, repository_url="Src2", connectable=True)
    elsewhere = any_version.add("datasources", name="Elsewhere", site_id=2, repository_url="Src", connectable=True)
    for owner in (book, other):
        any_version.add("data_connections", owner_type="Workbook", owner_id=owner, dbclass="sqlproxy", dbname="Src")
    if has_usage:
        any_version.add("content_usage", content_type=1, content_id=other, last_recorded_at=at(12))
        any_version.add("content_usage", content_type=2, content_id=elsewhere, last_recorded_at=at(7))
        any_version.add("content_usage", content_type=1, content_id=source, last_recorded_at=at(18))
    found = rows_of(any_version)
    assert {name: row["opened_at"] for name, row in found.items()} == {
        "Book": at(9),
        "Other": at(12 if has_usage else 8),
        "Source": at(12 if has_usage else 9),
        "Alone": None,
        "Elsewhere": at(7) if has_usage else None,
    }
    assert set(found["Source"]["workbook_ids"].split(",")) == {str(book), str(other)}
    assert all(row["covered"] for row in found.values())


def test_a_flow_is_used_by_a_run(any_version: Handmade) -> None:
    """Or as content_usage has it; before that table its use is unknown, as Tableau has no other statistics of it."""
    has_usage = any_version.version != VERSIONS[0]
    flow = any_version.add("flows", name="Flow", site_id=1)
    any_version.add("flow_runs", flow_id=flow, completed_at=at(4))
    if has_usage:
        any_version.add("content_usage", content_type=3, content_id=flow, last_recorded_at=at(2))
    (row,) = any_version.read(STATE)
    assert (row["opened_at"], row["covered"]) == (at(4), has_usage)


def test_without_statistics_nothing_is_covered(newest: Handmade) -> None:
    """An empty table of statistics is not the statistic that nothing was opened."""
    newest.add("workbooks", name="Book", site_id=1)
    assert not rows_of(newest)["Book"]["covered"]


@pytest.mark.parametrize(
    ("site", "task", "expected"),
    [
        ({"auto_suspend_refresh_enabled": True}, {}, 30),
        ({"auto_suspend_refresh_enabled": True, "auto_suspend_refresh_inactivity_window": 90}, {}, 90),
        ({"auto_suspend_refresh_enabled": False, "auto_suspend_refresh_inactivity_window": 90}, {}, None),
        ({}, {}, None),
        ({"auto_suspend_refresh_enabled": True}, {"state": 1}, None),
    ],
)
def test_which_refreshes_tableau_will_suspend(
    newest: Handmade, site: dict[str, Any], task: dict[str, Any], expected: int | None
) -> None:
    """Those of workbooks, where the site suspends any, by its window; a task that does not run is not listed."""
    where = newest.add("sites", name="x", url_namespace="x", **site)
    schedule = newest.add("schedules", run_next_at=at(20), active=True)
    book = newest.add("workbooks", name="Book", site_id=where)
    source = newest.add("datasources", name="Source", site_id=where, connectable=True)
    for kind, owner in (("Workbook", book), ("Datasource", source)):
        newest.add("tasks", obj_type=kind, obj_id=owner, schedule_id=schedule, active=True, **task)
    found = rows_of(newest)
    assert found["Book"]["suspend_after_days"] == expected
    assert found["Source"]["suspend_after_days"] is None


@pytest.mark.parametrize(("sizes", "expected"), [([], 5), ([10, 20], 30), ([10, None], 5)])
def test_the_size_is_that_of_the_extracts(newest: Handmade, sizes: list[int | None], expected: int) -> None:
    """Where each is known, else the size of the content itself."""
    book = newest.add("workbooks", name="Book", site_id=1, size=5)
    for size in sizes:
        newest.add("extracts", workbook_id=book, size=size)
    assert rows_of(newest)["Book"]["bytes"] == expected


def test_what_may_not_be_read_is_an_error(newest: Handmade) -> None:
    """A user of the views alone cannot read which workbook uses which source: the collector fails with the reason."""
    from exporter.errors import SourceIncomplete

    with pytest.raises(SourceIncomplete, match="data_connections: no such table, or no right to read it"):
        newest.read(STATE, "tableau")


def test_a_company_is_counted(simulation: Simulation) -> None:
    """In each version, against SQL of another kind: workbooks that no user opened within 30 days."""
    table = read(simulation.parameters(), STATE)
    with connect(simulation.admin()) as connection:
        columns = connection.execute(
            "SELECT FROM information_schema.columns WHERE table_name = 'workbooks' AND column_name = 'is_deleted'"
        ).fetchone()
        there = "true" if columns is None else "NOT is_deleted"
        usage = "SELECT content_id FROM content_usage WHERE content_type = 1 AND last_recorded_at > %(since)s"
        expected = connection.execute(
            f"""
            SELECT count(*) FROM workbooks AS book
            WHERE {there} AND created_at <= %(since)s
                AND id NOT IN (
                    SELECT workbook_id FROM views JOIN views_stats ON view_id = views.id WHERE time > %(since)s
                )
                {f"AND id NOT IN ({usage})" if simulation.version != VERSIONS[0] else ""}
            """.encode(),
            {"since": simulation.now - timedelta(days=30)},
        ).fetchone()
    now = simulation.now.replace(tzinfo=UTC).timestamp()
    blocks = list(expose(table, replace(CONTEXT, learned=learn(table.to_pylist()), now=now)))
    found = samples(blocks, "tableau_unused_assets")
    counted = sum(value for (_, _, kind, days), value in found.items() if kind == "workbook" and days == "30")
    assert (counted,) == expected
    assert counted > 0
    assert {site for site, _, _, _ in found} <= set(SITES.values())
