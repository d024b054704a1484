"""The table of sizes: each refresh once, with the size that was expected of it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.history import sizes

AT = datetime(2026, 7, 27, 6, 0)  # noqa: DTZ001 - UTC, naive
MB = 1_000_000


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a history with the tables that are needed."""
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE marks (name VARCHAR, marked_at TIMESTAMP)")
        sizes.create(opened)
        yield opened


def assets(refreshed_at: datetime | None, size: int | None, **changes: Any) -> pa.Table:
    """Return a data source as it is read after a refresh."""
    row = dict.fromkeys(ARROW_SCHEMA.names) | {
        "asset_type": "datasource",
        "asset_id": "d-1",
        "freshness_source": "repository",
        "last_refresh_at": refreshed_at,
        "bytes": size,
    }
    return pa.Table.from_pylist([row | changes], schema=ARROW_SCHEMA)


def noted(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Return the refreshes that were noted."""
    return connection.execute("SELECT refreshed_at, bytes, usual_bytes FROM asset_sizes ORDER BY ALL").fetchall()


def test_a_halved_extract_is_known_within_a_poll(connection: duckdb.DuckDBPyConnection) -> None:
    """The poll that reads a refresh knows what was expected of it; a poll without a refresh writes nothing."""
    recorder = sizes.SizeRecorder()
    for day in range(6):
        read = assets(AT + timedelta(days=day), 100 * MB)
        assert recorder.note(connection, read, AT + timedelta(days=day)) == 1
        assert recorder.note(connection, read, AT + timedelta(days=day, minutes=1)) == 0
    recorder.note(connection, assets(AT + timedelta(days=6), 40 * MB), AT + timedelta(days=6))
    assert recorder.last.to_pylist() == [
        {
            "asset_type": "datasource",
            "asset_id": "d-1",
            "refreshed_at": AT + timedelta(days=6),
            "bytes": 40 * MB,
            "usual_bytes": 100 * MB,
        }
    ]


def test_a_size_that_is_read_late_counts(connection: duckdb.DuckDBPyConnection) -> None:
    """One refresh is one row, with the size that was read last; an earlier refresh is no new one."""
    recorder = sizes.SizeRecorder()
    recorder.note(connection, assets(AT, 100 * MB), AT)
    recorder.note(connection, assets(AT + timedelta(seconds=30), 60 * MB), AT)
    recorder.note(connection, assets(AT - timedelta(days=1), 90 * MB), AT)
    assert noted(connection) == [(AT, 60 * MB, None)]


def test_what_has_no_refresh_or_size_is_not_noted(connection: duckdb.DuckDBPyConnection) -> None:
    """Flows, assets without a refresh or a size, and workbooks without extracts of their own are left out."""
    recorder = sizes.SizeRecorder()
    for read in (
        assets(None, 100 * MB),
        assets(AT, None),
        assets(AT, 100 * MB, freshness_source="updated_at"),
        assets(AT, 100 * MB, asset_type="flow", freshness_source="job"),
        assets(AT, 100 * MB, asset_type="workbook"),
    ):
        assert recorder.note(connection, read, AT) == 0
    own = assets(AT, 100 * MB, asset_type="workbook", own_refresh_at=AT, own_source="metadata")
    assert recorder.note(connection, own, AT) == 1


def test_the_table_is_bounded(connection: duckdb.DuckDBPyConnection) -> None:
    """Of each asset the last refreshes are kept."""
    recorder = sizes.SizeRecorder()
    for hour in range(sizes.KEPT + 5):
        recorder.note(connection, assets(AT + timedelta(hours=hour), 100 * MB), AT + timedelta(hours=hour))
    assert len(noted(connection)) == sizes.KEPT
    assert noted(connection)[0][0] == AT + timedelta(hours=5)


def test_a_transaction_that_failed_is_noted_again(connection: duckdb.DuckDBPyConnection) -> None:
    """What was rolled back is not remembered."""
    recorder = sizes.SizeRecorder()
    recorder.note(connection, assets(AT, 100 * MB), AT)
    connection.execute("BEGIN")
    recorder.note(connection, assets(AT + timedelta(days=1), 90 * MB), AT + timedelta(days=1))
    connection.execute("ROLLBACK")
    assert recorder.note(connection, assets(AT + timedelta(days=1), 90 * MB), AT + timedelta(days=1)) == 1
    assert [size for _, size, _ in noted(connection)] == [100 * MB, 90 * MB]
