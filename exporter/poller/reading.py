"""Reading a table of events: one short transaction for what is new, several for what is much."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Events, columns_of
from exporter.errors import SourceError, SourceIncomplete
from exporter.history.positions import Position
from exporter.history.redaction import PARSED_COLUMNS
from exporter.history.schema import REQUEST_COLUMNS
from exporter.poller.ahead import ahead
from exporter.poller.planning import OVERLAP, Extent, Plan, horizon_xid, plan
from exporter.repository.catalog import archivable, read_as
from exporter.repository.copying import Field
from exporter.repository.session import Session, Snapshot

# Three of these are a whole row group of DuckDB; two of them are in memory at a time.
RANGE_ROWS = 40_960
# Where nothing is known of the rows.
FIRST_RANGE_ROWS = 8_192
# A row takes more room as columns than in the table, where long texts are compressed.
WIRE_FACTOR = 2
RANGE_BYTES = 60_000_000
# What arrives may be larger than was estimated; a range is cut there, and the next begins.
MOST_BYTES = 80_000_000

_KEY_TYPES = {
    "id": "bigint",
    "created_at": "timestamp without time zone",
    "completed_at": "timestamp without time zone",
}
# The history's own columns, and the names its statements use beside those of the rows.
_TAKEN_NAMES = frozenset({*PARSED_COLUMNS, "first_part", "second_part", "first_seen_at", "site", "row_number", "fresh"})


@dataclass(frozen=True)
class Reading:
    """What one poll reads of a table: the plan, and afterwards where the position moves."""

    events: Events
    plan: Plan
    old: Position
    new: Position
    fields: tuple[Field, ...]
    expressions: tuple[str, ...]
    asked: pa.Table
    """Keys of the requests that are open here."""
    oldest_at: datetime | None
    node: str
    inserted: int
    """How many rows the server had counted into the table before the reading."""


class TableReader:
    """Reads one table of events by snapshots."""

    def __init__(
        self,
        session: Session,
        events: Events,
        position: Position | None,
        asked: pa.Table,
        clean: Callable[[pa.Table], pa.Table],
    ) -> None:
        self._session = session
        self._clean = clean
        self._events = events
        self._position = position
        self._asked = asked

    def open(self, *, exact_due: bool) -> tuple[Reading, pa.Table, bool]:
        """Plan, and read the first rows in the same snapshot; return with them whether that was all."""
        inserted = self._session.inserted(self._events.table)
        with self._session.snapshot(self._events.table) as snapshot:
            kinds = self._kinds(snapshot)
            oldest_at, extent = self._extent(inserted)
            chosen = plan(self._position, snapshot, extent, kinds, exact_due=exact_due)
            reading = self._reading(chosen, snapshot, extent, kinds, oldest_at)
            if chosen.mode == "full":
                limit = _estimated(snapshot)
                rows, complete = self._copy(reading, None, limit)
            else:
                query = f"{self._select(reading, self._new(reading))} LIMIT {RANGE_ROWS}"
                rows, whole = self._session.copy_some(query, reading.fields, MOST_BYTES)
                complete = whole and rows.num_rows < RANGE_ROWS
        return reading, self._clean(rows), complete

    def ranges(self, reading: Reading, first: pa.Table) -> Generator[pa.Table, None, None]:
        """Yield the rest by ranges of id: while one is written, the next is read and cleaned.

        What a poll took without order because it seemed little is read again from its start.
        """
        after = None
        if reading.plan.mode == "full":
            yield first
            after = _last_id(first)
        with closing(ahead(map(self._clean, self._ranges(reading, after, _fitting(first))))) as upcoming:
            yield from upcoming

    def _ranges(self, reading: Reading, after: int | None, limit: int) -> Iterator[pa.Table]:
        complete = False
        while not complete:
            rows, complete = self._range(reading, after, limit)
            yield rows
            if rows.num_rows:
                after, limit = _last_id(rows), _fitting(rows)

    @property
    def _by_id(self) -> str:
        # The column itself, which is in order in an index; by its bare name it would be the converted one.
        return f'ORDER BY "{self._events.table}".id'

    def _range(self, reading: Reading, after: int | None, limit: int) -> tuple[pa.Table, bool]:
        with self._session.snapshot(self._events.table) as snapshot:
            if asdict(snapshot.identity) != dict(reading.new.identity):
                message = f"{self._events.table}: changed while it was being read; it is read again at the next poll"
                raise SourceError(message)
            return self._copy(reading, after, limit)

    def _copy(self, reading: Reading, after: int | None, limit: int) -> tuple[pa.Table, bool]:
        """Read the next rows by id; return with them whether they are the last."""
        conditions = [f"id > {after}"] if after is not None else []
        if reading.plan.mode != "full":
            conditions.append(self._new(reading))
        query = f"{self._select(reading, *conditions)} {self._by_id} LIMIT {limit}"
        rows, whole = self._session.copy_some(query, reading.fields, MOST_BYTES)
        return rows, whole and rows.num_rows < limit

    def _select(self, reading: Reading, *conditions: str) -> str:
        columns = ", ".join(reading.expressions)
        if not self._events.keeps_open:
            conditions = (*conditions, "completed_at IS NOT NULL")
        where = " AND ".join(f"({condition})" for condition in conditions) or "true"
        return f'SELECT {columns} FROM public."{self._events.table}" WHERE {where}'

    def _new(self, reading: Reading) -> str:
        """Return the condition of the rows that may be new; what is open here is always asked for."""
        horizon, max_id = reading.old.horizon or 0, reading.old.max_id or 0
        recent = (
            f"id > {max_id - OVERLAP}"
            if reading.plan.mode == "fast"
            else f"age(xmin) <= age('{horizon_xid(horizon)}'::xid)"
        )
        ids = ", ".join(str(value) for value in self._asked.column("id").to_pylist())
        return f"{recent} OR id = ANY (ARRAY[{ids}]::bigint[])" if ids else recent

    def _kinds(self, snapshot: Snapshot) -> Mapping[str, str]:
        """Return the columns to read with their types; raises SourceIncomplete when a necessary one is missing."""
        there = archivable(snapshot.columns)
        needed = self._events.reads[0].required
        if lacking := sorted(needed - there.keys()):
            names = ", ".join(f"{self._events.table}.{name}" for name in lacking)
            message = f"{names}: no such column, or no right to read it"
            raise SourceIncomplete(message)
        if self._events.row is None:
            return there
        return {column.name: there[column.name] for column in columns_of(self._events.row) if column.name in there}

    def _extent(self, inserted: int) -> tuple[datetime | None, Extent]:
        table = f'public."{self._events.table}"'
        # Beyond year 9999 lies what Python has no word for.
        known = "created_at::timestamp BETWEEN '0001-01-01' AND '9999-12-31'"
        first = self._session.first(
            f"SELECT id::bigint, CASE WHEN {known} THEN created_at::timestamp END FROM {table} ORDER BY id LIMIT 1"
        )
        last = self._session.first(f"SELECT id::bigint FROM {table} ORDER BY id DESC LIMIT 1")
        newest = self._position.max_id if self._position else None
        held = newest is not None and self._session.first(f"SELECT 1 FROM {table} WHERE id = {newest}") is not None
        extent = Extent(first[0] if first else None, last[0] if last else None, held, inserted)
        return (first[1] if first else None), extent

    def _reading(
        self, chosen: Plan, snapshot: Snapshot, extent: Extent, kinds: Mapping[str, str], oldest_at: datetime | None
    ) -> Reading:
        old = self._position or Position(self._events.table)
        # What misses nothing also knows when the ids have started again.
        known = old.max_id if chosen.mode == "fast" else None
        ids = [value for value in (known, extent.max_id) if value is not None]
        new = replace(
            old,
            # Only a reading that misses nothing may move the horizon.
            horizon=old.horizon if chosen.mode == "fast" else snapshot.xmin,
            xmax=snapshot.xmax,
            max_id=max(ids) if ids else old.max_id,
            identity=asdict(snapshot.identity),
            columns=dict(kinds),
            truncated=chosen.truncated,
            # What was reported before a snapshot that misses nothing was seen by it, or will never be.
            accounted=old.accounted if chosen.waits else extent.inserted,
            settling=False,
        )
        fields, expressions = selection(kinds)
        return Reading(
            self._events,
            chosen,
            old,
            new,
            fields,
            expressions,
            self._asked,
            oldest_at,
            snapshot.identity.node,
            extent.inserted,
        )


def selection(columns: Mapping[str, str]) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Return what the history keeps of a table's columns (their PostgreSQL types by name), and how each is read."""
    fields, expressions = [], []
    names = kept_names(columns)
    for name, kind in columns.items():
        # The key and the end of a request are needed as such, whatever this version made of them.
        needed = _KEY_TYPES.get(name, kind) if kind != "timestamp with time zone" else kind
        expression, read = read_as(name, needed)
        expressions.append(expression)
        fields.append(Field(names[name], read))
    return tuple(fields), tuple(expressions)


def kept_names(columns: Iterable[str]) -> Mapping[str, str]:
    """Return the name that each column has in the history, where some are taken and "Status" is status."""
    taken = set(_TAKEN_NAMES)
    kept = {}
    for name in sorted(columns, key=lambda name: name not in REQUEST_COLUMNS):
        kept[name] = name
        while kept[name].lower() in taken:
            kept[name] += "_"
        taken.add(kept[name].lower())
    return kept


def missing_keys(asked: pa.Table, answered: Sequence[pa.Table]) -> pa.Table:
    """Return the keys that were asked for and that no answer held: the source no longer has them."""
    for rows in answered:
        if not asked.num_rows:
            break
        found = pc.is_in(asked.column("id"), value_set=rows.column("id").combine_chunks())
        asked = asked.filter(pc.invert(found))
    return asked


def _last_id(rows: pa.Table) -> int:
    return int(rows.column("id")[-1].as_py())


def _fitting(rows: pa.Table) -> int:
    """Return how many rows like these fit into a range's bytes."""
    if not rows.num_rows:
        return FIRST_RANGE_ROWS
    return _limit(int(rows.get_total_buffer_size() // rows.num_rows))


def _estimated(snapshot: Snapshot) -> int:
    """Return how many rows fit into a range's bytes, as far as PostgreSQL's statistics tell."""
    if snapshot.rows <= 0:
        return FIRST_RANGE_ROWS
    return _limit(int(snapshot.bytes / snapshot.rows) * WIRE_FACTOR)


def _limit(average_bytes: int) -> int:
    return max(1_000, min(RANGE_ROWS, RANGE_BYTES // max(1, average_bytes)))
