"""The last refreshes of an asset, from a history made for the query."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from exporter.collector import columns_of
from exporter.collectors.assets.history_sql import LAST_REFRESHES
from exporter.collectors.background_jobs import Job
from tests.collectors.assets.test_metrics import assets
from tests.collectors.repositories import at

NOW = at(19)
PLANNED = {"task_ids": "7,8"}


def recall(jobs: list[dict[str, Any]], *rows: dict[str, Any], reported: Sequence[float] = ()) -> list[tuple[Any, ...]]:
    """Query a history with these jobs and with the REST API's refreshes (hours ago); return hours and outcomes."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE asset_refreshes (asset_type VARCHAR, asset_id VARCHAR, refreshed_at TIMESTAMP)"
        )
        for hours in reported:
            row = ["workbook", "luid-1", NOW - timedelta(hours=hours)]
            connection.execute("INSERT INTO asset_refreshes VALUES (?, ?, ?)", row)
        listed = ", ".join(f'"{column.name}" {column.type.duckdb}' for column in columns_of(Job))
        connection.execute(f"CREATE TABLE background_jobs ({listed})")
        for job in jobs:
            names, marks = ", ".join(job), ", ".join("?" * len(job))
            connection.execute(f"INSERT INTO background_jobs ({names}) VALUES ({marks})", list(job.values()))
        connection.register("state", assets(*rows))
        found = connection.sql(LAST_REFRESHES, params={"now": NOW}).fetchall()
        epoch = connection.execute("SELECT epoch(?::TIMESTAMP)", [NOW]).fetchall()[0][0]
    return [(asset_id, (epoch - ended) / 3600, seconds, outcome) for asset_id, ended, seconds, outcome in found]


def job(hours: float, code: int | None = 0, task: int | None = 7, **values: object) -> dict[str, Any]:
    """Return a job that ended so many hours ago, after a minute."""
    ended = NOW - timedelta(hours=hours)
    base = {"finish_code": code, "task_id": task, "completed_at": ended, "started_at": ended - timedelta(minutes=1)}
    return {**base, "job_name": "Refresh Extracts", **values}


def test_the_oldest_first_with_their_outcomes() -> None:
    """Successes, failures and cancelled refreshes are all there, with their durations."""
    found = recall([job(1), job(3, 1), job(2, 2), job(4, None)], PLANNED)
    assert found == [("luid-1", hours, 60.0, code) for hours, code in ((4, -1), (3, 1), (2, 2), (1, 0))]


@pytest.mark.parametrize("instant", ["infinity", "-infinity", None, NOW + timedelta(hours=9)])
def test_impossible_beginnings(instant: object) -> None:
    """A job without a start, or with one after its end, has an unknown duration."""
    assert recall([job(1, started_at=instant)], PLANNED) == [("luid-1", 1.0, None, 0)]


def test_thirty_of_thirty_days() -> None:
    """Of many refreshes the last thirty count, of few those of the last thirty days."""
    found = recall([job(number) for number in range(50)], PLANNED)
    assert [hours for _, hours, *_ in found] == list(range(29, -1, -1))
    assert recall([job(24 * 31)], PLANNED) == []


def test_by_title_where_no_task_is_known() -> None:
    """A refresh that was started by hand is found by the title that one asset alone has."""
    by_hand = job(1, task=None, site_id=1, title="Sales", subtitle="Workbook", job_name="Refresh Extracts")
    named = {"asset_name": "Sales", "site_id": 1, "asset_type": "workbook"}
    assert [row[0] for row in recall([by_hand], named)] == ["luid-1"]
    assert recall([by_hand], named, named) == []
    assert recall([{**by_hand, "job_name": "Subscriptions"}], named) == []


@pytest.mark.parametrize("number", [{"task": None, "correlation_id": 7}, {"task": 7}], ids=str)
def test_a_job_of_another_type_is_no_refresh(number: dict[str, Any]) -> None:
    """It does not stand among the refreshes of the asset whose task has the same number."""
    unlisted = job(2, **number, job_name="Subscription Notifications", job_type="single_subscription_notify")
    bridge = job(3, **number, job_name=None, job_type="IncrementExtractsViaBridge")
    assert [hours for _, hours, *_ in recall([job(1), unlisted, bridge], PLANNED)] == [3, 1]


def test_refreshes_reported_by_the_apis() -> None:
    """An asset without jobs has the refreshes of the APIs: successful, of unknown duration."""
    assert recall([], {}, reported=[5, 2]) == [("luid-1", 5.0, None, 0), ("luid-1", 2.0, None, 0)]
    assert [hours for _, hours, *_ in recall([job(1)], PLANNED, reported=[5])] == [1]
