"""Errors of failed refreshes in alerts, from the archived jobs."""

from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from exporter.collector import columns_of
from exporter.collectors.background_jobs import Job
from exporter.history.alert_store import errors

NOW = datetime(2025, 11, 19)  # noqa: DTZ001 - naive, as in the history
FAILED = {
    "job_name": "Refresh Extracts",
    "finish_code": 1,
    "completed_at": NOW - timedelta(hours=2),
    "notes": "no login",
}


def task_errors(*jobs: dict[str, Any]) -> dict[int, str]:
    """Return the errors of tasks 7 and 8 in a history with these jobs."""
    with duckdb.connect() as connection:
        columns = ", ".join(f'"{column.name}" {column.type.duckdb}' for column in columns_of(Job))
        connection.execute(f"CREATE TABLE background_jobs ({columns})")
        for job in jobs:
            marks = ", ".join("?" * len(job))
            connection.execute(f"INSERT INTO background_jobs ({', '.join(job)}) VALUES ({marks})", list(job.values()))
        return errors(connection, [7, 8], NOW)


@pytest.mark.parametrize("number", [{"task_id": 7}, {"correlation_id": 7}], ids=str)
def test_the_error_of_a_refresh_is_found_by_its_task(number: dict[str, int]) -> None:
    """Before Tableau 2021.2 the task stands in correlation_id alone."""
    earlier = {**FAILED, **number, "completed_at": NOW - timedelta(hours=3), "notes": "time-out"}
    assert task_errors({**FAILED, **number}, earlier) == {7: "no login"}


@pytest.mark.parametrize("number", [{"task_id": 7}, {"correlation_id": 7}], ids=str)
def test_the_error_of_a_job_of_another_type_is_not_meant(number: dict[str, int]) -> None:
    """A subscription's number may be that of a task."""
    assert task_errors({**FAILED, **number, "job_name": "Subscription Notifications"}) == {}


def test_no_error_without_jobs() -> None:
    """Without archived jobs no query is made."""
    with duckdb.connect() as connection:
        assert errors(connection, [7], NOW) == {}
