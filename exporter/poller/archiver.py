"""Archives tables of events: many rows in batches with a transaction each, the rest in the poll's last one."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import POSTGRES_TYPES, Events, Fold
from exporter.errors import PollInterrupted
from exporter.history.aggregation import Lookups, add
from exporter.history.archive import Appended
from exporter.history.history import History
from exporter.history.positions import Position, move
from exporter.history.totals import naive
from exporter.history.transaction import PollLogRow, Transaction
from exporter.poller.read_plan import Incident, Plan
from exporter.poller.table_reader import TableRead, TableReader
from exporter.repository.binary_copy import Field
from exporter.repository.session import STANDBY_MARK, Session
from exporter.self_metrics import POSSIBLY_LOST

# A whole row group of DuckDB: rows that fill it go straight to the file, without passing through the log.
TRANSACTION_ROWS = 122_880
# The counts of a transaction's rows wait in memory for its end.
TRANSACTION_BYTES = 250_000_000
# Python's own 5 ms would double the time of a long archiving.
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True)
class ArchiveContext:
    """What archiving needs beside the rows."""

    history: History
    lookups: Lookups
    folds: Mapping[str, Sequence[Fold]]
    """The aggregates of each table: its own and those of other collectors."""
    count_people: bool
    clock: Callable[[], datetime]
    stopping: Callable[[], bool]
    """Whether the agent is stopping."""


@dataclass
class TableWrite:
    """A table that was read, with the rows that wait for the last transaction of the poll."""

    events: Events
    mode: str
    started_at: datetime
    rows: pa.Table | None
    fields: Sequence[Field] = ()
    table_read: TableRead | None = None
    read: int = 0
    new: int = 0
    opened: int = 0
    reused: int = 0
    gone: pa.Table | None = None
    node: str = ""
    seconds: float = 0.0
    """How long the read took."""
    logged: tuple[int, int, int] = (0, 0, 0)
    """Which of read, new and opened are in the poll log already."""
    seen: int = 0
    """How many of the rows had never been read before."""
    inserted: int = 0
    """How many rows the server had counted into the table after the read."""

    @property
    def read_exactly(self) -> bool:
        """Whether all new rows were queried, as an exact read does and no other."""
        return self.mode == "exact" or (self.mode == "full" and self.table_read is None)

    def count(self, appended: Appended) -> None:
        """Add the counts of a batch."""
        self.read += appended.read
        self.new += appended.new
        self.opened += appended.open
        self.reused += appended.reused_ids
        self.seen += appended.seen

    def line(self, seconds: float) -> PollLogRow:
        """Return the row of the poll log for what is not in it yet."""
        before, self.logged = self.logged, (self.read, self.new, self.opened)
        read, new, opened = (now - then for now, then in zip(self.logged, before, strict=True))
        return PollLogRow(self.started_at, self.events.table, self.mode, seconds, read, new, opened, self.node)

    @property
    def plan(self) -> Plan:
        """How the table was read."""
        return self.table_read.plan if self.table_read else Plan("full" if self.mode == "full" else "fast")

    @property
    def _accounted(self) -> int | None:
        """How many of the rows that the server has counted were accounted for before; None where that is unknown."""
        if self.table_read is None or self.plan.waits:
            return None
        if self.plan.replaced:
            return 0
        return self.table_read.old.accounted if self.plan.comparable else None

    @property
    def _found(self) -> int:
        """How many of the rows counted since are here now; of another table each is, also one that was known."""
        return self.read if self.plan.replaced else self.seen

    @property
    def possibly_lost(self) -> int:
        """Upper bound of requests created and deleted between polls: by their ids, and by the server's statistics.

        Restarted ids prove nothing; the statistics go on through a TRUNCATE. Nor do known rows: an interrupted read
        has left them, or they were put back.
        """
        by_ids, accounted = self.plan.possibly_lost, self._accounted
        if self.table_read is None or accounted is None:
            return by_ids
        if not self.plan.doubtful and not (self.table_read.old.settling and self.mode != "fast"):
            return by_ids
        return max(by_ids, self.inserted - accounted - self._found)

    @property
    def position(self) -> Position | None:
        """The new position, once everything that was read is counted."""
        if self.table_read is None:
            return None
        new, accounted = self.table_read.new, self._accounted
        if accounted is None:
            return new
        if self.plan.doubtful:
            return replace(new, accounted=accounted + self._found + self.possibly_lost, settling=True)
        if self.mode == "fast":
            return replace(new, accounted=accounted + self.seen, settling=self.table_read.old.settling)
        return new

    def columns(self) -> dict[str, str]:
        """Return DuckDB's type of each column of the rows."""
        return {field.name: POSTGRES_TYPES[field.type].duckdb for field in self.fields}


def read_table(session: Session, events: Events, archive: ArchiveContext, *, exact_due: bool) -> TableWrite:
    """Read a table by snapshots; a large result is written in batches, each in a transaction of its own."""
    history = archive.history
    started_at = archive.clock()
    reader = TableReader(
        session,
        events,
        history.positions.get(events.table),
        history.open_keys if events.keeps_open else _no_keys(history.open_keys),
        partial(history.clean, events),
    )
    table_read, first, complete = reader.open(exact_due=exact_due)
    write = TableWrite(
        events,
        table_read.plan.mode,
        started_at,
        first,
        table_read.fields,
        table_read,
        gone=table_read.open_keys,
        node=table_read.node,
    )
    if complete:
        write.gone = missing_keys(table_read.open_keys, [first])
    else:
        write.rows = None
        with closing(reader.batches(table_read, first)) as batches, history.batch(), _fast_switching():
            _write_batches(batches, write, archive)
    later = table_read.plan.doubtful or table_read.old.settling
    write.inserted = session.inserted(events.source) if later else table_read.inserted
    if write.node.endswith(STANDBY_MARK):
        # A standby may lag behind what was read before: what it lacks is not gone.
        write.gone = _no_keys(table_read.open_keys)
    write.seconds = (archive.clock() - started_at).total_seconds()
    return write


def _write_batches(batches: Iterator[pa.Table], write: TableWrite, archive: ArchiveContext) -> None:
    for first in batches:
        with archive.history.transaction(archive.clock(), _request_columns(write)) as transaction:
            arriving = _of_one_transaction(chain([first], batches), write, archive)
            write.count(append_batches(transaction, write.events, arriving, archive))
            transaction.log_part(write.line((archive.clock() - write.started_at).total_seconds()))


def _of_one_transaction(batches: Iterator[pa.Table], write: TableWrite, archive: ArchiveContext) -> Iterator[pa.Table]:
    arrived_rows = arrived_bytes = 0
    while arrived_rows < TRANSACTION_ROWS and arrived_bytes < TRANSACTION_BYTES:
        rows = next(batches, None)
        if rows is None:
            return
        if archive.stopping():
            message = "stopped in the middle of a long poll; the next agent reads the rest"
            raise PollInterrupted(message)
        if write.gone is not None:
            write.gone = missing_keys(write.gone, [rows])
        arrived_rows += rows.num_rows
        arrived_bytes += rows.get_total_buffer_size()
        yield rows


@contextmanager
def _fast_switching() -> Iterator[None]:
    """Let the writing thread wait less for the reading one: at every batch it needs the interpreter's lock."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def append_batches(
    transaction: Transaction, events: Events, batches: Iterable[pa.Table], archive: ArchiveContext
) -> Appended:
    """Archive batches of a table's rows; they are counted after the last."""
    folds = archive.folds[events.table]
    if events.keeps_open:
        return transaction.append_requests(events, batches, archive.lookups, folds, count_people=archive.count_people)
    return transaction.append(events, batches, archive.lookups, folds)


def append_full_read(
    transaction: Transaction, events: Events, rows: pa.Table, archive: ArchiveContext, node: str
) -> None:
    """Archive the new ones of rows that are read whole at every poll; the poll log has a row where there were any."""
    appended = append_batches(transaction, events, [rows], archive)
    if appended.new:
        transaction.log_part(
            PollLogRow(archive.clock(), events.table, "full", 0.0, appended.read, appended.new, 0, node)
        )


def commit_table(transaction: Transaction, write: TableWrite, archive: ArchiveContext, seconds: float) -> None:
    """Write the last rows of a table with what moves with them: promotions, position, incidents, poll log."""
    events = write.events
    if write.rows is not None:
        write.count(append_batches(transaction, events, [write.rows], archive))
    if events.keeps_open and write.gone is not None:
        write.new += transaction.promote(events.table, write.gone, archive.lookups, archive.folds[events.table])
    position = write.position
    if write.table_read is not None and position is not None:
        new = replace(position, polled_at=naive(transaction.now))
        move(transaction.connection, write.table_read.old, new)
    _report(transaction, write)
    transaction.log(write.line(seconds), position)


def _report(transaction: Transaction, write: TableWrite) -> None:
    events = write.events
    incidents = list(write.plan.incidents)
    if write.reused:
        incidents.append(Incident("id_reuse", f"{write.reused} ids stand for other rows than before"))
    for incident in incidents:
        transaction.incident(incident.kind, f"{events.table}: {incident.detail}")
    if events.keeps_open and write.possibly_lost:
        add(transaction.connection, POSSIBLY_LOST.name, [], write.possibly_lost)


def _request_columns(write: TableWrite) -> dict[str, str]:
    return write.columns() if write.events.keeps_open else {}


def columns_to_fit(writes: Sequence[TableWrite]) -> dict[str, str]:
    """Return the columns that the table of requests needs for these rows."""
    return {name: kind for write in writes for name, kind in _request_columns(write).items()}


def _no_keys(keys: pa.Table) -> pa.Table:
    return keys.slice(0, 0)


def missing_keys(queried: pa.Table, results: Sequence[pa.Table]) -> pa.Table:
    """Return the keys that were queried and that no result has: the source no longer has them."""
    for rows in results:
        if not queried.num_rows:
            break
        keys = rows.select(["id", "created_at"])
        near = keys.filter(pc.is_in(keys.column("id"), value_set=queried.column("id").combine_chunks()))
        # The same id at another time is another request.
        there = set(_keys(near))
        queried = queried.filter(pa.array([key not in there for key in _keys(queried)], pa.bool_()))
    return queried


def _keys(rows: pa.Table) -> Iterator[tuple[int, int | None]]:
    created_at = rows.column("created_at").cast(pa.int64())  # also where Python has no word for the instant
    return zip(rows.column("id").to_pylist(), created_at.to_pylist(), strict=True)
