"""Reading a table of events: one short transaction for what is new, several for what is much."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import pyarrow as pa

from exporter.collector import Events
from exporter.errors import SourceError, SourceTimedOut
from exporter.history.positions import Position
from exporter.poller import batching
from exporter.poller.batching import prefetch
from exporter.poller.columns import columns_to_read, selection
from exporter.poller.read_plan import OVERLAP, Extent, Plan, horizon_xid, plan
from exporter.repository.copying import ARROW_TYPES, Field
from exporter.repository.session import Session, Snapshot


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
    table_bytes: int
    window_rows: int
    """How many rows of the table one statement may scan."""
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
        reading: Reading | None = None
        inserted = self._session.inserted(self._events.table)
        try:
            with self._session.snapshot(self._events.table) as snapshot:
                reading = self._planned(snapshot, inserted, exact_due=exact_due)
                rows, complete = self._first(reading, snapshot)
        except SourceTimedOut:
            if reading is None or reading.plan.mode == "fast":
                raise
            # What is too much for one statement is read by several.
            rows, complete = _empty(reading), False
        return reading, self._clean(rows), complete

    def _planned(self, snapshot: Snapshot, inserted: int, *, exact_due: bool) -> Reading:
        kinds = columns_to_read(self._events, snapshot.columns)
        oldest_at, extent = self._extent(inserted)
        chosen = plan(self._position, snapshot, extent, kinds, exact_due=exact_due)
        return self._reading(chosen, snapshot, extent, kinds, oldest_at)

    def _first(self, reading: Reading, snapshot: Snapshot) -> tuple[pa.Table, bool]:
        if reading.plan.mode == "full":
            return self._copy(reading, None, batching.estimated_batch_rows(snapshot))
        if reading.plan.mode == "exact" and snapshot.bytes > batching.WINDOW_BYTES:
            return _empty(reading), False
        query = f"{self._select(reading, self._new(reading))} LIMIT {batching.BATCH_ROWS}"
        rows, whole = self._session.copy_some(query, reading.fields, batching.MAX_BATCH_BYTES)
        return rows, whole and rows.num_rows < batching.BATCH_ROWS

    def ranges(self, reading: Reading, first: pa.Table) -> Generator[pa.Table, None, None]:
        """Yield the rest by ranges of id: while one is written, the next is cleaned, and the one after it read.

        What a poll took without order because it seemed little is read again from its start.
        """
        if reading.plan.mode == "full":
            if first.num_rows:
                yield first
            rest = self._ranges(reading, _last_id(first), batching.batch_rows(first))
        elif reading.plan.mode == "exact":
            rest = self._windows(reading)
        else:
            rest = self._ranges(reading, None, batching.batch_rows(first))
        with closing(prefetch(rest)) as arriving, closing(prefetch(map(self._clean, arriving))) as cleaned:
            yield from cleaned

    def _ranges(self, reading: Reading, after: int | None, limit: int) -> Iterator[pa.Table]:
        complete, most = False, batching.BATCH_ROWS
        while not complete:
            try:
                with self._same_table(reading):
                    rows, complete = self._copy(reading, after, min(limit, most))
            except SourceTimedOut:
                most = min(limit, most) // 2
                if most < batching.MIN_ROWS:
                    raise
                continue
            yield rows
            if rows.num_rows:
                after, limit = _last_id(rows), batching.batch_rows(rows)

    def _windows(self, reading: Reading) -> Iterator[pa.Table]:
        """Read what is new by windows of id, so that no statement scans more than a part of the table."""
        after, width, limit, end = None, reading.window_rows, batching.BATCH_ROWS, False
        bound: int | None = None
        complete = True
        while not end:
            try:
                with self._same_table(reading):
                    if complete:
                        bound = self._bound(after, width)
                    rows, complete = self._copy(reading, after, limit, bound)
            except SourceTimedOut:
                complete, width = True, width // 2
                if width < batching.MIN_ROWS:
                    raise
                continue
            if rows.num_rows:
                yield rows
                limit = batching.batch_rows(rows)
            end = complete and bound is None
            after = bound if complete else _last_id(rows)

    def _bound(self, after: int | None, width: int) -> int | None:
        """Return the last id of the window behind ``after``; None when the rest of the table is no more than that."""
        where = f"WHERE id > {after}" if after is not None else ""
        found = self._session.first(
            f'SELECT id::bigint FROM public."{self._events.table}" {where} {self._by_id} OFFSET {width - 1} LIMIT 1'
        )
        return found[0] if found else None

    @property
    def _by_id(self) -> str:
        # The column itself, which is in order in an index; by its bare name it would be the converted one.
        return f'ORDER BY "{self._events.table}".id'

    @contextmanager
    def _same_table(self, reading: Reading) -> Iterator[None]:
        """Hold a snapshot of the table that was planned for; another in its place is read at the next poll."""
        with self._session.snapshot(self._events.table) as snapshot:
            if asdict(snapshot.identity) != dict(reading.new.identity):
                message = f"{self._events.table}: changed while it was being read; it is read again at the next poll"
                raise SourceError(message)
            yield

    def _copy(self, reading: Reading, after: int | None, limit: int, bound: int | None = None) -> tuple[pa.Table, bool]:
        """Read the next rows by id, none behind ``bound``; return with them whether they are the last."""
        conditions = [f"id > {after}"] if after is not None else []
        if bound is not None:
            conditions.append(f"id <= {bound}")
        if reading.plan.mode != "full":
            conditions.append(self._new(reading))
        query = f"{self._select(reading, *conditions)} {self._by_id} LIMIT {limit}"
        rows, whole = self._session.copy_some(query, reading.fields, batching.MAX_BATCH_BYTES)
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

    def _extent(self, inserted: int) -> tuple[datetime | None, Extent]:
        """Return when the oldest request was made, and which ids there are, by one statement."""
        table = f'public."{self._events.table}"'
        # Beyond year 9999 lies what Python has no word for.
        known = "created_at::timestamp BETWEEN '0001-01-01' AND '9999-12-31'"
        newest = self._position.max_id if self._position else None
        held = "false" if newest is None else f"EXISTS (SELECT 1 FROM {table} WHERE id = {newest})"
        found = self._session.first(
            f"""
            SELECT oldest.id, oldest.created_at, newest.id, {held}
            FROM (SELECT 1) AS once
            LEFT JOIN (
                SELECT id::bigint AS id, CASE WHEN {known} THEN created_at::timestamp END AS created_at
                FROM {table}
                {self._by_id}
                LIMIT 1
            ) AS oldest ON true
            LEFT JOIN (SELECT id::bigint AS id FROM {table} {self._by_id} DESC LIMIT 1) AS newest ON true
            """
        )
        oldest_id, oldest_at, newest_id, holds_newest = found or (None, None, None, False)
        return oldest_at, Extent(oldest_id, newest_id, holds_newest, inserted)

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
            snapshot.bytes,
            batching.window_rows(snapshot),
            extent.inserted,
        )


def _empty(reading: Reading) -> pa.Table:
    return pa.schema([(field.name, ARROW_TYPES[field.type]) for field in reading.fields]).empty_table()


def _last_id(rows: pa.Table) -> int | None:
    return int(rows.column("id")[-1].as_py()) if rows.num_rows else None
