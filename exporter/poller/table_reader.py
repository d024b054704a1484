"""Reads a table of events: new rows in one short transaction, many rows in several."""

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
from exporter.repository.binary_copy import Field, arrow_schema
from exporter.repository.session import Session, Snapshot


@dataclass(frozen=True)
class TableRead:
    """What one poll reads of a table: the plan, the old and the new position."""

    events: Events
    plan: Plan
    old: Position
    new: Position
    fields: tuple[Field, ...]
    expressions: tuple[str, ...]
    open_keys: pa.Table
    """Keys of the requests that are open in the history."""
    oldest_at: datetime | None
    node: str
    table_bytes: int
    window_rows: int
    """How many rows of the table one statement may scan."""
    inserted: int
    """How many rows the server had counted into the table before the read."""


class TableReader:
    """Reads one table of events by snapshots."""

    def __init__(
        self,
        session: Session,
        events: Events,
        position: Position | None,
        open_keys: pa.Table,
        clean: Callable[[pa.Table], pa.Table],
    ) -> None:
        self._session = session
        self._clean = clean
        self._events = events
        self._position = position
        self._open_keys = open_keys

    def open(self, *, exact_due: bool) -> tuple[TableRead, pa.Table, bool]:
        """Plan, and read the first rows in the same snapshot; return with them whether these are all."""
        table_read: TableRead | None = None
        inserted = self._session.inserted(self._events.source)
        try:
            with self._session.snapshot(self._events.source) as snapshot:
                table_read = self._planned(snapshot, inserted, exact_due=exact_due)
                rows, complete = self._first(table_read, snapshot)
        except SourceTimedOut:
            if table_read is None or table_read.plan.mode == "fast":
                raise
            # A read that is too long for one statement is split.
            rows, complete = _empty(table_read), False
        return table_read, self._clean(rows), complete

    def _planned(self, snapshot: Snapshot, inserted: int, *, exact_due: bool) -> TableRead:
        kinds = columns_to_read(self._events, snapshot.columns, self._session.catalog)
        oldest_at, extent = self._extent(inserted)
        chosen = plan(self._position, snapshot, extent, kinds, exact_due=exact_due)
        return self._reading(chosen, snapshot, extent, kinds, oldest_at)

    def _first(self, table_read: TableRead, snapshot: Snapshot) -> tuple[pa.Table, bool]:
        if table_read.plan.mode == "full":
            return self._copy(table_read, None, batching.estimated_batch_rows(snapshot))
        if table_read.plan.mode == "exact" and snapshot.bytes > batching.WINDOW_BYTES:
            return _empty(table_read), False
        query = f"{self._select(table_read, self._new(table_read))} LIMIT {batching.BATCH_ROWS}"
        rows, whole = self._session.copy_some(query, table_read.fields, batching.MAX_BATCH_BYTES)
        return rows, whole and rows.num_rows < batching.BATCH_ROWS

    def batches(self, table_read: TableRead, first: pa.Table) -> Generator[pa.Table, None, None]:
        """Yield the rest in batches by id: while one is written, the next is cleaned, and the one after it read.

        Rows that were read without order, because few were expected, are read again from the start.
        """
        if table_read.plan.mode == "full":
            if first.num_rows:
                yield first
            rest = self._batches(table_read, _last_id(first), batching.batch_rows(first))
        elif table_read.plan.mode == "exact":
            rest = self._windows(table_read)
        else:
            rest = self._batches(table_read, None, batching.batch_rows(first))
        with closing(prefetch(rest)) as fetched, closing(prefetch(map(self._clean, fetched))) as cleaned:
            yield from cleaned

    def _batches(self, table_read: TableRead, after: int | None, limit: int) -> Iterator[pa.Table]:
        complete, most = False, batching.BATCH_ROWS
        while not complete:
            try:
                with self._same_table(table_read):
                    rows, complete = self._copy(table_read, after, min(limit, most))
            except SourceTimedOut:
                most = min(limit, most) // 2
                if most < batching.MIN_ROWS:
                    raise
                continue
            yield rows
            if rows.num_rows:
                after, limit = _last_id(rows), batching.batch_rows(rows)

    def _windows(self, table_read: TableRead) -> Iterator[pa.Table]:
        """Read new rows by windows of id, so that no statement scans more than a part of the table."""
        after, width, limit, end = None, table_read.window_rows, batching.BATCH_ROWS, False
        bound: int | None = None
        complete = True
        while not end:
            try:
                with self._same_table(table_read):
                    if complete:
                        bound = self._bound(after, width)
                    rows, complete = self._copy(table_read, after, limit, bound)
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
            f'SELECT id::bigint FROM public."{self._events.source}" {where} {self._by_id} OFFSET {width - 1} LIMIT 1'
        )
        return found[0] if found else None

    @property
    def _by_id(self) -> str:
        # The column itself, which is in order in an index; by its bare name it would be the converted one.
        return f'ORDER BY "{self._events.source}".id'

    @contextmanager
    def _same_table(self, table_read: TableRead) -> Iterator[None]:
        """Hold a snapshot of the planned table; another in its place is read at the next poll."""
        with self._session.snapshot(self._events.source) as snapshot:
            if asdict(snapshot.identity) != dict(table_read.new.identity):
                message = f"{self._events.source}: changed while it was being read; it is read again at the next poll"
                raise SourceError(message)
            yield

    def _copy(
        self, table_read: TableRead, after: int | None, limit: int, bound: int | None = None
    ) -> tuple[pa.Table, bool]:
        """Read the next rows by id, none behind ``bound``; return with them whether they are the last."""
        conditions = [f"id > {after}"] if after is not None else []
        if bound is not None:
            conditions.append(f"id <= {bound}")
        if table_read.plan.mode != "full":
            conditions.append(self._new(table_read))
        query = f"{self._select(table_read, *conditions)} {self._by_id} LIMIT {limit}"
        rows, whole = self._session.copy_some(query, table_read.fields, batching.MAX_BATCH_BYTES)
        return rows, whole and rows.num_rows < limit

    def _select(self, table_read: TableRead, *conditions: str) -> str:
        columns = ", ".join(table_read.expressions)
        if self._events.have_ends and not self._events.keeps_open:
            conditions = (*conditions, "completed_at IS NOT NULL")
        where = " AND ".join(f"({condition})" for condition in conditions) or "true"
        return f'SELECT {columns} FROM public."{self._events.source}" WHERE {where}'

    def _new(self, table_read: TableRead) -> str:
        """Return the condition of rows that may be new; requests that are open in the history are always among them."""
        horizon, max_id = table_read.old.horizon or 0, table_read.old.max_id or 0
        recent = (
            f"id > {max_id - OVERLAP}"
            if table_read.plan.mode == "fast"
            else f"age(xmin) <= age('{horizon_xid(horizon)}'::xid)"
        )
        ids = ", ".join(str(value) for value in self._open_keys.column("id").to_pylist())
        return f"{recent} OR id = ANY (ARRAY[{ids}]::bigint[])" if ids else recent

    def _extent(self, inserted: int) -> tuple[datetime | None, Extent]:
        """Return when the oldest request was made, and the extent of ids, by one statement."""
        table = f'public."{self._events.source}"'
        # Python has no datetime beyond year 9999.
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
    ) -> TableRead:
        old = self._position or Position(self._events.table)
        # A read that misses nothing also notices restarted ids.
        known = old.max_id if chosen.mode == "fast" else None
        ids = [value for value in (known, extent.max_id) if value is not None]
        new = replace(
            old,
            # Only a read that misses nothing may move the horizon.
            horizon=old.horizon if chosen.mode == "fast" else snapshot.xmin,
            xmax=snapshot.xmax,
            max_id=max(ids) if ids else old.max_id,
            identity=asdict(snapshot.identity),
            columns=dict(kinds),
            truncated=chosen.truncated,
            # Rows reported before a snapshot that misses nothing were read by it, or will never be.
            accounted=old.accounted if chosen.waits else extent.inserted,
            settling=False,
        )
        fields, expressions = selection(kinds, self._events, snapshot.columns)
        return TableRead(
            self._events,
            chosen,
            old,
            new,
            fields,
            expressions,
            self._open_keys,
            oldest_at,
            snapshot.identity.node,
            snapshot.bytes,
            batching.window_rows(snapshot),
            extent.inserted,
        )


def _empty(table_read: TableRead) -> pa.Table:
    return arrow_schema(table_read.fields).empty_table()


def _last_id(rows: pa.Table) -> int | None:
    return int(rows.column("id")[-1].as_py()) if rows.num_rows else None
