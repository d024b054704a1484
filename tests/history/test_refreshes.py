"""Refreshes reported by the APIs are stored once, with the job where one was fetched."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from exporter.history import refreshes
from exporter.history.pruning import prune_refreshes
from exporter.poller.rest_result import REFRESH_NOTES

NOW = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the history's times have no zone


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a connection to a history with nothing in it but the table."""
    with duckdb.connect() as made:
        refreshes.create_refreshes(made)
        yield made


def reported(*rows: tuple[str, int, str | None], asset_type: str = "workbook") -> pa.Table:
    """Return refreshes of assets so many hours ago, with their jobs."""
    return pa.Table.from_pylist(
        [
            {"asset_type": asset_type, "asset_id": asset, "refreshed_at": NOW - timedelta(hours=hours), "job_id": job}
            for asset, hours, job in rows
        ],
        schema=REFRESH_NOTES,
    )


def test_each_once(connection: duckdb.DuckDBPyConnection) -> None:
    """A repeated refresh is not stored again, within one poll or over many."""
    assert refreshes.note(connection, reported(("a", 1, None), ("a", 1, None), ("b", 1, None)), NOW) == 2
    assert refreshes.note(connection, reported(("a", 1, None), ("a", 0, None)), NOW) == 1
    assert refreshes.note(connection, reported(("a", 1, None), asset_type="flow"), NOW) == 1
    assert refreshes.note(connection, reported(), NOW) == 0


def test_jobs_are_known_by_their_assets(connection: duckdb.DuckDBPyConnection) -> None:
    """A fetched job is known after a restart; a refresh without a job has none."""
    refreshes.note(connection, reported(("a", 1, "j1"), ("b", 2, None)), NOW)
    (row,) = refreshes.looked_up(connection).to_pylist()
    assert row == {"job_id": "j1", "asset_type": "workbook", "asset_id": "a", "completed_at": NOW - timedelta(hours=1)}


def test_how_many_were_asked_for_of_late(connection: duckdb.DuckDBPyConnection) -> None:
    """The job requests of a day are those that were stored in it."""
    refreshes.note(connection, reported(("a", 1, "j1"), ("b", 1, None)), NOW - timedelta(hours=30))
    refreshes.note(connection, reported(("a", 0, "j2"), ("c", 0, "j3")), NOW)
    assert refreshes.look_ups_since(connection, NOW - timedelta(days=1)) == 2


def test_what_is_yet_to_come_is_not_noted(connection: duckdb.DuckDBPyConnection) -> None:
    """A refresh of a future day, by a wrong clock, would make all others old; a slight lead is accepted."""
    assert refreshes.note(connection, reported(("a", -24, None), ("b", 0, None)), NOW) == 1


def test_they_are_pruned(connection: duckdb.DuckDBPyConnection) -> None:
    """The retention removes earlier refreshes."""
    refreshes.note(connection, reported(("a", 24 * 401, None)), NOW - timedelta(days=400))
    refreshes.note(connection, reported(("b", 1, None)), NOW)
    assert prune_refreshes(connection, NOW - timedelta(days=30)) == 1
    assert connection.execute("SELECT asset_id FROM asset_refreshes").fetchall() == [("b",)]
