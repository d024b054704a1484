"""Verifies a history file: rows, day counts, counters, positions and polls agree.

The file is only read, and held for about a second at a time, so that the agent goes on. Each check puts questions
that are answered from one state of the file; memory is bounded by DuckDB's limit, however long the history is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from exporter.collector import Events
from exporter.errors import HistoryDamaged
from exporter.history import consistency
from exporter.history.activity import LEDGER
from exporter.history.consistency import Found, Query, Row
from exporter.history.counter_consistency import counters
from exporter.history.file import HOLD_SECONDS, HistoryFile
from exporter.history.schema import STEPS
from exporter.history.tables import AUDIT, quoted

# Eight row groups of DuckDB.
CHUNK_ROWS = 8 * 122_880
RESTORE = "put a backup back (docs/history.md): the agent reads again what the repository still has"

Check = Callable[[Query], Found]


@dataclass(frozen=True)
class Verdict:
    """What one check found; ``ok`` is None for a note."""

    ok: bool | None
    subject: str
    message: str
    damaged: bool = False
    """Whether the file could not be read to its last block."""


def verify(file: HistoryFile, events: Sequence[Events]) -> Iterator[Verdict]:
    """Check a file, whose ``read_only`` is set. Raises HistoryBusy."""

    def query(sql: str, *parameters: object) -> list[Row]:
        with file.open() as connection:
            return connection.execute(sql, list(parameters)).fetchall()

    with file.kept_open(HOLD_SECONDS):
        try:
            version = _version(query)
        except HistoryDamaged as damage:
            yield Verdict(ok=False, subject="file", message=str(damage), damaged=True)
            return
        yield version
        if version.ok is not False:
            for subject, check in _checks(query, events, counted=version.ok is True):
                yield _verdict(subject, check, query)


def _version(query: Query) -> Verdict:
    if not query("SELECT 1 FROM duckdb_tables() WHERE table_name = 'schema_version'"):
        return Verdict(ok=False, subject="file", message="it is no history: check history.path", damaged=True)
    version = int(query("SELECT coalesce(max(version), 0) FROM schema_version")[0][0])
    if version > len(STEPS):
        message = f"its tables are of version {version}, newer than this program's {len(STEPS)}: use the newer program"
        return Verdict(ok=False, subject="file", message=message, damaged=True)
    if version < len(STEPS):
        message = "an older version wrote it, without a ledger of its days: what needs that is not checked"
        return Verdict(ok=None, subject="file", message=message)
    return Verdict(ok=True, subject="file", message=f"opens, tables of version {version}")


def _checks(query: Query, events: Sequence[Events], *, counted: bool) -> Iterator[tuple[str, Check]]:
    present = {name for (name,) in query("SELECT table_name FROM duckdb_tables()")}
    events = [item for item in events if item.table in present]
    for item in events:
        if counted:
            yield f"{item.table} by day", partial(consistency.days, item)
            yield f"{item.table} in the poll log", partial(consistency.polls, item)
            yield f"{item.table} in the counters", partial(counters, item, events)
        yield f"{item.table} once", partial(consistency.twice, item)
    if AUDIT in present:
        yield AUDIT, consistency.audits
    if LEDGER in present:
        yield LEDGER, consistency.activity_files
    yield "open requests", consistency.open_requests
    yield "bookkeeping", consistency.bookkeeping
    yield "positions", consistency.positions
    yield "marks", consistency.marks
    yield "every block", read_everything


def _verdict(subject: str, check: Check, query: Query) -> Verdict:
    try:
        found = check(query)
    except HistoryDamaged as damage:
        return Verdict(ok=False, subject=subject, message=str(damage), damaged=True)
    if found.faults:
        return Verdict(ok=False, subject=subject, message=f"{'; '.join(found.faults)}: {RESTORE}")
    return Verdict(ok=None if found.note else True, subject=subject, message=found.summary)


def read_everything(query: Query) -> Found:
    """Read every column of every row of every table once: each block that holds them is compared with its checksum."""
    columns: dict[str, list[str]] = {}
    for table, column in query(
        "SELECT columns.table_name, columns.column_name FROM duckdb_columns() AS columns"
        " JOIN duckdb_tables() AS tables USING (table_oid) WHERE NOT columns.internal"
    ):
        columns.setdefault(table, []).append(f"bit_xor(hash({quoted(column)}))")
    rows = 0
    for table, hashes in columns.items():
        last = query(f"SELECT coalesce(max(rowid), -1) FROM {quoted(table)}")[0][0]
        for first in range(0, last + 1, CHUNK_ROWS):
            some = f"{quoted(table)} WHERE rowid BETWEEN {first} AND {first + CHUNK_ROWS - 1}"
            rows += query(f"SELECT count(*), {', '.join(hashes)} FROM {some}")[0][0]
    return Found(summary=f"{len(columns)} tables, {rows:,} rows read")
