"""Imports requests from files into the history: slice by slice, each in one transaction.

They are in no counter, unless that is requested: the table ``imports`` and days of their own record which were not
counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Events, Fold
from exporter.history import aggregation, usage
from exporter.history.aggregation import Lookups
from exporter.history.arrow import registered
from exporter.history.cleaner import COUNTED, Cleaner
from exporter.history.file import HOLD_SECONDS, HistoryFile
from exporter.history.request_identity import Identity, identities, pair
from exporter.history.staging import staging
from exporter.history.tables import ARCHIVED_AT
from exporter.history.totals import mark, naive
from exporter.history.transaction import PollLogRow, Transaction
from exporter.imports import OTHERWISE, Reader, Reject

MODE = "import"
"""The mode of the lines of the poll log that speak of imports."""
_ARCHIVED = "(SELECT * FROM http_requests UNION ALL BY NAME SELECT * EXCLUDE (first_seen_at) FROM http_requests_open)"


@dataclass(frozen=True)
class Imported:
    """What became of requests."""

    new: int = 0
    known: int = 0
    too_old: int = 0
    repeated: int = 0
    """How many lines stood in the file again."""
    oldest: datetime | None = None
    newest: datetime | None = None

    def __add__(self, other: "Imported") -> "Imported":
        """Add up two slices."""
        instants = [at for at in (self.oldest, self.newest, other.oldest, other.newest) if at is not None]
        return Imported(
            self.new + other.new,
            self.known + other.known,
            self.too_old + other.too_old,
            self.repeated + other.repeated,
            min(instants, default=None),
            max(instants, default=None),
        )


@dataclass(frozen=True)
class Folding:
    """What imported requests are counted by."""

    folds: Sequence[Fold]
    lookups: Lookups


@dataclass
class Importer:
    """Brings files into a history; one whose file is ``read_only`` finds out what would become of them."""

    file: HistoryFile
    events: Events
    cleaner: Cleaner
    now: datetime
    stores_users: bool = True
    before: datetime | None = None
    """What is older is not wanted (UTC, naive)."""
    counted: Folding | None = None

    def bring_in(self, reader: Reader, reject: Callable[[Reject], None], progress: Callable[[float], None]) -> Imported:
        """Import one file: the same lines stand for one request. Raises HistoryError, ImportUnreadable."""
        with staging(self.file) as stage:
            for rows in reader.batches(reject):
                stage.add(self._cleaned(rows))
                progress(reader.position / max(reader.size, 1) / 2)
            total, left = Imported(), stage.rows
            with self.file.kept_open(HOLD_SECONDS):
                for rows in stage.slices():
                    total += self._archive(rows)
                    left -= rows.num_rows
                    progress(1 - left / stage.rows / 2)
        return total + Imported(repeated=left)

    def _cleaned(self, rows: pa.Table) -> pa.Table:
        rows = self.cleaner.clean(rows)
        if self.stores_users:
            return rows
        return rows.set_column(rows.column_names.index(COUNTED), COUNTED, pa.nulls(rows.num_rows, pa.int64()))

    def _archive(self, rows: pa.Table) -> Imported:
        with self.file.open() as connection:
            transaction = Transaction(connection, (), [self.events], self.now)
            before = max(filter(None, (self.before, transaction.pruned_before)), default=None)
            if self.file.read_only:
                return find_new(connection, rows, before)[1]
            connection.execute("BEGIN")
            new, found = find_new(connection, rows, before)
            archive_imported(transaction, self.events, new, rows.num_rows, self.counted)
            connection.execute("COMMIT")
        return found


def find_new(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, before: datetime | None
) -> tuple[pa.Table, Imported]:
    """Return the requests that are not archived, of one slice; those before an instant are not wanted."""
    recent = rows if before is None else rows.filter(_recent(rows, before))
    numbered = recent.append_column("place", pa.array(np.arange(recent.num_rows)))
    with registered(connection, incoming=numbered):
        new = recent.take(pa.array(_new(connection, recent), pa.int64()))
    with registered(connection, added=new):
        bounds = "SELECT min(created_at), max(created_at) FROM added WHERE isfinite(created_at)"
        ((oldest, newest),) = connection.execute(bounds).fetchall()
    found = Imported(
        new=new.num_rows,
        known=recent.num_rows - new.num_rows,
        too_old=rows.num_rows - recent.num_rows,
        oldest=oldest,
        newest=newest,
    )
    return new.drop_columns(list(OTHERWISE.values())), found


def _recent(rows: pa.Table, before: datetime) -> pa.ChunkedArray:
    recent = pc.greater_equal(rows.column("created_at"), pa.scalar(before, pa.timestamp("us")))
    return pc.fill_null(recent, fill_value=True)


def _new(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> list[int]:
    """Return the places of what is not archived: with an id first, then completed, then what has no end.

    Each group is compared with those before it too: a file may have a request before and after its completion.
    """
    incoming = identities(connection, "incoming", "place")
    otherwise = _otherwise(connection, rows)
    archived = _candidates(connection)
    groups = (
        [row for row in incoming if row.numbered],
        [row for row in incoming if not row.numbered and row.completed],
        [row for row in incoming if not row.numbered and not row.completed],
    )
    new: list[int] = []
    for group in filter(None, groups):
        fresh = _fresh_by_key(group, archived) if group[0].numbered else group
        # Two different ids are two requests, even if all else is equal.
        there = [row for row in archived if not (group[0].numbered and row.numbered)]
        found = pair(fresh, there)
        for reading in otherwise:
            taken = set(found.values())
            again = [reading[row.number] for row in fresh if row.number not in found and row.number in reading]
            found |= pair(again, [row for row in there if row.number not in taken]) if again else {}
        added = [row for row in fresh if row.number not in found]
        new += [row.number for row in added]
        archived += [row._replace(number=-1 - row.number) for row in added]
    return sorted(new)


def _fresh_by_key(group: Sequence[Identity], archived: Sequence[Identity]) -> list[Identity]:
    known = {row.key for row in archived if row.numbered}
    fresh = {row.key: row for row in group if row.key not in known}
    return list(fresh.values())


def _otherwise(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> list[dict[int, Identity]]:
    """Return the identities by the other readings of the times that have two: of both, and of the end alone."""
    return [_read_otherwise(connection, rows, names) for names in (tuple(OTHERWISE), ("completed_at",))]


def _read_otherwise(connection: duckdb.DuckDBPyConnection, rows: pa.Table, names: Sequence[str]) -> dict[int, Identity]:
    """Return the identities by the other reading of these times, where the first of them has one."""
    needed = OTHERWISE[names[0]]
    if rows.column(needed).null_count == rows.num_rows:
        return {}
    read = ", ".join(f"coalesce({OTHERWISE[name]}, {name}) AS {name}" for name in names)
    relation = f"(SELECT * REPLACE ({read}) FROM incoming WHERE {needed} IS NOT NULL)"
    return {row.number: row for row in identities(connection, relation, "place")}


def _candidates(connection: duckdb.DuckDBPyConnection) -> list[Identity]:
    """Return what is archived of the instants of these requests, by either reading of them."""
    instants = f"(SELECT unnest([created_at, {OTHERWISE['created_at']}]) AS instant FROM incoming)"
    ((first, last, timeless),) = connection.execute(
        f"SELECT min(instant)::VARCHAR, max(instant)::VARCHAR, (SELECT bool_or(created_at IS NULL) FROM incoming)"
        f" FROM {instants}"
    ).fetchall()
    wanted = "created_at IS NULL" if timeless else "false"
    if first is not None:
        wanted += (
            f" OR (created_at BETWEEN TIMESTAMP '{first}' AND TIMESTAMP '{last}'"
            f" AND created_at IN (SELECT instant FROM {instants} WHERE instant IS NOT NULL))"
        )
    return identities(connection, _ARCHIVED, "row_number() OVER ()", wanted)


def archive_imported(
    transaction: Transaction, events: Events, rows: pa.Table, read: int, counted: Folding | None
) -> None:
    """Archive new requests of one slice, of which so many were read."""
    connection = transaction.connection
    if rows.num_rows:
        with registered(connection, arriving=rows):
            connection.execute(
                f'INSERT INTO "{events.table}" BY NAME'
                f" SELECT *, TIMESTAMP '{transaction.archived_at}' AS {ARCHIVED_AT} FROM arriving"
            )
            connection.execute("INSERT INTO imports VALUES (?, ?)", [transaction.archived_at, counted is not None])
            if counted is None:
                aggregation.add_archived(connection, events.table, events.key[1], "arriving")
                aggregation.add_archived(connection, aggregation.UNCOUNTED, events.key[1], "arriving")
            oldest, newest = aggregation.plausible_span(connection, "arriving", naive(transaction.now))
        if counted is not None:
            _count(transaction, events, rows, counted)
        mark(connection, "archived", transaction.archived_at)
        if oldest and newest:
            mark(connection, "oldest", oldest, keep="least")
            mark(connection, "newest", newest)
    transaction.log_part(PollLogRow(naive(transaction.now), events.table, MODE, 0.0, read, rows.num_rows, 0, ""))


def _count(transaction: Transaction, events: Events, rows: pa.Table, counted: Folding) -> None:
    connection = transaction.connection
    with registered(connection, arriving=rows, site_labels=counted.lookups.site_labels()):
        aggregation.count(connection, events.table, events.key[1], "arriving", counted.folds)
        usage.count_usage(connection, "arriving", counted.lookups.clocks(naive(transaction.now)))
    transaction.count_rows(events.table, rows.num_rows)
