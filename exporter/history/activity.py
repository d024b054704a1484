"""The ledger of the Activity Log: which files were read, in the transaction that stores their events.

A file is read once, whenever it appears and however often it is listed. The times of a file are when its events were
made available; an event may be older, and may stand in a later file again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors._arrow import number_of
from exporter.history.aggregation import mark_span
from exporter.history.arrow import registered
from exporter.history.positions import Position
from exporter.history.totals import mark

REJECTS_KEPT = 100
"""So many lines of a file are kept aside; all are counted."""
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


@dataclass(frozen=True)
class ParsedLines:
    """The rows of each table, what became of the lines of each file, and the lines that are no events."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    files: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """The events and the rejected lines of each file."""
    rejects: pa.Table = field(default_factory=lambda: pa.table({}))
    """Columns file, number, reason, text."""

    def without_rows(self, file: int) -> "ParsedLines":
        """Return what became of the lines of one file, which is the first from now on; without rows."""
        rejects = self.rejects
        if rejects.num_rows:
            rejects = rejects.filter(pc.equal(rejects.column("file"), file))
            rejects = rejects.set_column(0, "file", pa.repeat(pa.scalar(0, pa.int64()), rejects.num_rows))
        return ParsedLines({}, {0: self.files[file]} if file in self.files else {}, rejects)


def first_rejects(rejects: pa.Table) -> pa.Table:
    """Return the rejected lines that are kept of each file; they are in the order of their lines."""
    kept = Counter[int]()
    places = []
    for place, file in enumerate(rejects.column("file").to_pylist()):
        kept[file] += 1
        if kept[file] <= REJECTS_KEPT:
            places.append(place)
    return rejects.take(pa.array(places, pa.int64()))


def summed(parts: Sequence[ParsedLines]) -> ParsedLines:
    """Return the counts and the first rejected lines of the parts of one file, in its order."""
    counts = [part.files.get(0, (0, 0)) for part in parts]
    found = [part.rejects for part in parts if part.rejects.num_rows]
    rejects = first_rejects(pa.concat_tables(found)) if found else pa.table({})
    return ParsedLines({}, {0: (sum(count[0] for count in counts), sum(count[1] for count in counts))}, rejects)


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
    newest = mark_span(connection, rows.column("event_time"), now)
    if newest is not None:
        mark(connection, mark_name(family, site), newest)


def mark_name(family: str, site: str) -> str:
    """Return the name of the mark that is a site's sample of a family."""
    return f"{family}:{site}"


def newest_event(connection: duckdb.DuckDBPyConnection, family: str, site: str) -> datetime | None:
    """Return when the newest event of a site was (UTC, naive), as its mark has it."""
    rows = connection.execute("SELECT marked_at FROM marks WHERE name = ?", [mark_name(family, site)]).fetchall()
    return rows[0][0] if rows else None


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
