"""The ledger of the Activity Log: which files were read, in the transaction that stores their events.

A file is read once, whenever it appears and however often it is listed. The times of a file are when its events were
made available; an event may be older, and may stand in a later file again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from exporter.collectors._arrow import number_of
from exporter.history.aggregation import plausible_span
from exporter.history.arrow import registered
from exporter.history.positions import Position
from exporter.history.totals import mark

LEDGER, REJECTS = "activity_files", "activity_rejects"
SOURCE = "activity_log"
_UNTIL = "until"


@dataclass(frozen=True)
class ReadFile:
    """A file that was read: its path, its hour (UTC, naive), its bytes, how many lines are events, and how many not."""

    path: str
    hour: datetime
    bytes: int
    events: int
    rejected: int


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {LEDGER} (path VARCHAR, site_id BIGINT, hour TIMESTAMP, bytes BIGINT,"
        " events BIGINT, rejected BIGINT, read_at TIMESTAMP)"
    )
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {REJECTS} (path VARCHAR, line BIGINT, reason VARCHAR, text VARCHAR,"
        " hour TIMESTAMP)"
    )


def site_id(luid: str) -> int:
    """Return the number of a site of Tableau Cloud, which has none of its own that all events have: a hash."""
    return number_of(luid)


def unread(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> set[str]:
    """Return the paths that are not in the ledger."""
    with registered(connection, listed=pa.table({"path": pa.array(paths, pa.string())})):
        rows = connection.execute(
            f"SELECT path FROM listed ANTI JOIN {LEDGER} AS ledger ON ledger.path = listed.path"
        ).fetchall()
    return {path for (path,) in rows}


def record(
    connection: duckdb.DuckDBPyConnection, site: int, files: Sequence[ReadFile], rejects: pa.Table, read_at: datetime
) -> None:
    """Enter files into the ledger, and keep their rejected lines (columns path, line, reason, text, hour) aside."""
    ledger = pa.table(
        {
            "path": pa.array([file.path for file in files], pa.string()),
            "hour": pa.array([file.hour for file in files], pa.timestamp("us")),
            "bytes": pa.array([file.bytes for file in files], pa.int64()),
            "events": pa.array([file.events for file in files], pa.int64()),
            "rejected": pa.array([file.rejected for file in files], pa.int64()),
        }
    )
    with registered(connection, ledger_rows=ledger):
        connection.execute(
            f"INSERT INTO {LEDGER} BY NAME SELECT *, {site}::BIGINT AS site_id, TIMESTAMP '{read_at}' AS read_at"
            " FROM ledger_rows"
        )
    if rejects.num_rows:
        with registered(connection, rejects=rejects):
            connection.execute(f"INSERT INTO {REJECTS} BY NAME SELECT * FROM rejects")


def see_span(connection: duckdb.DuckDBPyConnection, family: str, site: str, rows: pa.Table, now: datetime) -> None:
    """Move the marks of the oldest and the newest event; times before Tableau, and more than an hour ahead, are none.

    Retention is reckoned from them. The newest of a site is the gauge ``family``.
    """
    with registered(connection, seen=rows):
        oldest, newest = plausible_span(connection, "(SELECT event_time AS created_at FROM seen)", now)
    if oldest is None or newest is None:
        return
    mark(connection, mark_name(family, site), newest)
    mark(connection, "newest", newest)
    mark(connection, "oldest", oldest, keep="least")


def mark_name(family: str, site: str) -> str:
    """Return the name of the mark that is a site's sample of a family."""
    return f"{family}:{site}"


def position_name(luid: str) -> str:
    """Return the name of a site's position."""
    return f"{SOURCE}:{luid}"


def listed_until(position: Position) -> datetime | None:
    """Return until when everything that was listed is archived; None before the first listing."""
    until = position.identity.get(_UNTIL)
    return datetime.fromisoformat(str(until)) if until else None


def identity(until: datetime) -> dict[str, str | int]:
    """Return what a position keeps of the end of a listing."""
    return {_UNTIL: until.isoformat()}
