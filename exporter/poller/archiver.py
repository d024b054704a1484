"""Archiving tables of events: much is written range by range, the rest waits for the poll's last transaction."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Events, Fold
from exporter.errors import PollInterrupted
from exporter.history.archive import Appended
from exporter.history.counting import Lookups
from exporter.history.history import History
from exporter.history.positions import Position
from exporter.history.schema import DUCKDB_TYPES
from exporter.history.writer import Poll, Writer
from exporter.poller.read_plan import Incident, Plan
from exporter.poller.table_reader import Reading, TableReader
from exporter.repository.copying import Field
from exporter.repository.session import STANDBY_MARK, Session

# A whole row group of DuckDB: rows that fill it go straight to the file, without passing through the log.
TRANSACTION_ROWS = 122_880
# What is counted of a transaction's rows waits in memory for its end.
TRANSACTION_BYTES = 250_000_000
# Python's own 5 ms would double the time of a long archiving.
TURN_SECONDS = 0.0005


@dataclass(frozen=True)
class Archiving:
    """What an archiving needs beside the rows."""

    history: History
    lookups: Lookups
    folds: Mapping[str, Sequence[Fold]]
    """The folds of each table: its own and those of other collectors."""
    count_people: bool
    clock: Callable[[], datetime]
    stopping: Callable[[], bool]
    """Whether the agent was told to end."""


@dataclass
class Pending:
    """A table that was read, with the rows that wait for the last transaction of the poll."""

    events: Events
    mode: str
    started_at: datetime
    rows: pa.Table | None
    fields: Sequence[Field] = ()
    reading: Reading | None = None
    read: int = 0
    new: int = 0
    opened: int = 0
    reused: int = 0
    gone: pa.Table | None = None
    node: str = ""
    seconds: float = 0.0
    """How long the reading took."""
    logged: tuple[int, int, int] = (0, 0, 0)
    """What of read, new and opened stands in the poll log already."""
    seen: int = 0
    """How many of the rows had never been read before."""
    inserted: int = 0
    """How many rows the server had counted into the table after the reading."""

    @property
    def read_exactly(self) -> bool:
        """Whether everything was asked for that is new, as an exact reading does and no other."""
        return self.mode == "exact" or (self.mode == "full" and self.reading is None)

    def count(self, appended: Appended) -> None:
        """Add what became of a batch."""
        self.read += appended.read
        self.new += appended.new
        self.opened += appended.open
        self.reused += appended.reused_ids
        self.seen += appended.seen

    def line(self, seconds: float) -> Poll:
        """Return the line of the poll log for what none tells of yet."""
        before, self.logged = self.logged, (self.read, self.new, self.opened)
        read, new, opened = (now - then for now, then in zip(self.logged, before, strict=True))
        return Poll(self.started_at, self.events.table, self.mode, seconds, read, new, opened, self.node)

    @property
    def plan(self) -> Plan:
        """How the table was read."""
        return self.reading.plan if self.reading else Plan("full" if self.mode == "full" else "fast")

    @property
    def _accounted(self) -> int | None:
        """How many of the rows that the server has counted were accounted for before; None where nothing tells."""
        if self.reading is None or self.plan.waits:
            return None
        if self.plan.replaced:
            return 0
        return self.reading.old.accounted if self.plan.comparable else None

    @property
    def _found(self) -> int:
        """How many of the rows counted since are here now; of another table each is, also one that was known."""
        return self.read if self.plan.replaced else self.seen

    @property
    def possibly_lost(self) -> int:
        """How many requests may have been made and removed unseen: by their ids, and by the server's statistics.

        Ids that have started again say nothing; the statistics go on through a TRUNCATE. Nor do rows that are known:
        a reading that broke off has left them, or they were put back.
        """
        by_ids, accounted = self.plan.possibly_lost, self._accounted
        if self.reading is None or accounted is None:
            return by_ids
        if not self.plan.doubtful and not (self.reading.old.settling and self.mode != "fast"):
            return by_ids
        return max(by_ids, self.inserted - accounted - self._found)

    @property
    def position(self) -> Position | None:
        """Where the position moves, once everything that was read is counted."""
        if self.reading is None:
            return None
        new, accounted = self.reading.new, self._accounted
        if accounted is None:
            return new
        if self.plan.doubtful:
            return replace(new, accounted=accounted + self._found + self.possibly_lost, settling=True)
        if self.mode == "fast":
            return replace(new, accounted=accounted + self.seen, settling=self.reading.old.settling)
        return new

    def columns(self) -> dict[str, str]:
        """Return DuckDB's type of each column of the rows."""
        return {field.name: DUCKDB_TYPES[field.type] for field in self.fields}


def read_table(session: Session, events: Events, archiving: Archiving, *, exact_due: bool) -> Pending:
    """Read a table by snapshots; a large answer is written range by range, each in a transaction of its own."""
    history = archiving.history
    started_at = archiving.clock()
    reader = TableReader(
        session,
        events,
        history.positions.get(events.table),
        history.open_keys if events.keeps_open else _no_keys(history.open_keys),
        partial(history.clean, events),
    )
    reading, first, complete = reader.open(exact_due=exact_due)
    pending = Pending(
        events, reading.plan.mode, started_at, first, reading.fields, reading, gone=reading.asked, node=reading.node
    )
    if complete:
        pending.gone = missing_keys(reading.asked, [first])
    else:
        pending.rows = None
        with closing(reader.ranges(reading, first)) as ranges, history.writing_much(), _taking_turns():
            _write_ranges(ranges, pending, archiving)
    later = reading.plan.doubtful or reading.old.settling
    pending.inserted = session.inserted(events.table) if later else reading.inserted
    if pending.node.endswith(STANDBY_MARK):
        # A standby may lag behind what was read before: what it lacks is not gone.
        pending.gone = _no_keys(reading.asked)
    pending.seconds = (archiving.clock() - started_at).total_seconds()
    return pending


def _write_ranges(ranges: Iterator[pa.Table], pending: Pending, archiving: Archiving) -> None:
    for first in ranges:
        with archiving.history.writing(archiving.clock(), _request_columns(pending)) as writer:
            arriving = _for_one_transaction(chain([first], ranges), pending, archiving)
            pending.count(append(writer, pending.events, arriving, archiving))
            writer.log_part(pending.line((archiving.clock() - pending.started_at).total_seconds()))


def _for_one_transaction(ranges: Iterator[pa.Table], pending: Pending, archiving: Archiving) -> Iterator[pa.Table]:
    arrived_rows = arrived_bytes = 0
    while arrived_rows < TRANSACTION_ROWS and arrived_bytes < TRANSACTION_BYTES:
        rows = next(ranges, None)
        if rows is None:
            return
        if archiving.stopping():
            message = "told to end in the middle of a long poll; the rest is read by the next agent"
            raise PollInterrupted(message)
        if pending.gone is not None:
            pending.gone = missing_keys(pending.gone, [rows])
        arrived_rows += rows.num_rows
        arrived_bytes += rows.get_total_buffer_size()
        yield rows


@contextmanager
def _taking_turns() -> Iterator[None]:
    """Let the thread that writes wait less for the one that reads: at every batch it needs the interpreter's lock."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def append(writer: Writer, events: Events, ranges: Iterable[pa.Table], archiving: Archiving) -> Appended:
    """Archive ranges of a table's rows; what is counted of them is counted after the last."""
    folds = archiving.folds[events.table]
    if events.keeps_open:
        return writer.append_requests(events, ranges, archiving.lookups, folds, count_people=archiving.count_people)
    return writer.append(events, ranges, archiving.lookups, folds)


def append_sightings(writer: Writer, events: Events, rows: pa.Table, archiving: Archiving, node: str) -> None:
    """Archive what is new of rows that are read whole at every poll; the poll log tells of it where there was any."""
    appended = append(writer, events, [rows], archiving)
    if appended.new:
        writer.log_part(Poll(archiving.clock(), events.table, "full", 0.0, appended.read, appended.new, 0, node))


def finish(writer: Writer, pending: Pending, archiving: Archiving, seconds: float) -> None:
    """Write the last rows of a table with everything that moves with them: promotions, position, incidents, log."""
    events = pending.events
    if pending.rows is not None:
        pending.count(append(writer, events, [pending.rows], archiving))
    if events.keeps_open and pending.gone is not None:
        pending.new += writer.promote(events.table, pending.gone, archiving.lookups, archiving.folds[events.table])
    position = pending.position
    if pending.reading is not None and position is not None:
        writer.move(pending.reading.old, position)
    _report(writer, pending)
    writer.log(pending.line(seconds), position)


def _report(writer: Writer, pending: Pending) -> None:
    events = pending.events
    incidents = list(pending.plan.incidents)
    if pending.reused:
        incidents.append(Incident("id_reuse", f"{pending.reused} ids stand for other rows than before"))
    for incident in incidents:
        writer.incident(incident.kind, f"{events.table}: {incident.detail}")
    if events.keeps_open and pending.possibly_lost:
        writer.lost(pending.possibly_lost)


def _request_columns(pending: Pending) -> dict[str, str]:
    return pending.columns() if pending.events.keeps_open else {}


def columns_to_fit(pendings: Sequence[Pending]) -> dict[str, str]:
    """Return the columns that the table of requests must have for these rows."""
    return {name: kind for pending in pendings for name, kind in _request_columns(pending).items()}


def _no_keys(keys: pa.Table) -> pa.Table:
    return keys.slice(0, 0)


def missing_keys(asked: pa.Table, answered: Sequence[pa.Table]) -> pa.Table:
    """Return the keys that were asked for and that no answer held: the source no longer has them."""
    for rows in answered:
        if not asked.num_rows:
            break
        keys = rows.select(["id", "created_at"])
        near = keys.filter(pc.is_in(keys.column("id"), value_set=asked.column("id").combine_chunks()))
        # The same id at another time is another request.
        there = set(_keys(near))
        asked = asked.filter(pa.array([key not in there for key in _keys(asked)], pa.bool_()))
    return asked


def _keys(rows: pa.Table) -> Iterator[tuple[int, int | None]]:
    created_at = rows.column("created_at").cast(pa.int64())  # also where Python has no word for the instant
    return zip(rows.column("id").to_pylist(), created_at.to_pylist(), strict=True)
