"""The table ``freshness_audit``: what each asset was found to be, written when that changes and at least once a day.

``audit_timestamp`` is one instant a call and greater than every earlier one, also when the clock went back. What was
written last is remembered between polls: a poll costs the same however long the history is.
"""

from collections import Counter
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors.assets.status import SCHEMA
from exporter.history.arrow import registered
from exporter.history.pruning import prune_audits, prune_refreshes
from exporter.history.tables import AUDIT
from exporter.history.totals import mark, naive

# How long a row stands for its asset.
REPEATED_AFTER = timedelta(days=1)
# What is older is the last row of nothing that is still there.
LOOKED_BACK = timedelta(days=2)
# The retention is minded no more often, and each time no more than this goes: a clock may be wrong.
PRUNE_INTERVAL = timedelta(hours=1)
PRUNE_STEP = timedelta(days=1)

COMPARED = (
    "status",
    "last_refresh_utc",
    "asset_name",
    "project_name",
    "owner_id",
    "connection",
    "sla_hours",
    "freshness_source",
)
"""Whose change makes a row; hours alone go on by themselves."""

SEPARATOR = "\x1f"
"""What stands between the parts of a key: nobody types it."""

_MARK = "audited"
_MICROSECOND = timedelta(microseconds=1)
# What is written down of the rows that were written last.
_MEMORY = pa.schema(
    {"key": pa.string(), **{name: SCHEMA.field(name).type for name in COMPARED}, "written_at": pa.timestamp("us")}
)


class Auditor:
    """What was written last of each asset of one history."""

    def __init__(self, retention: timedelta | None = None) -> None:
        self._retention = retention
        self._last = _MEMORY.empty_table()
        self._last_at: datetime | None = None
        self._pruned_at: datetime | None = None

    def audit(self, connection: duckdb.DuckDBPyConnection, judged: pa.Table, now: datetime) -> int:
        """Write the rows whose status differs from the asset's last row, or whose last row is a day old.

        An asset that is gone gets no row. Returns how many rows were written.
        """
        self._remember(connection)
        last, rows = _not_ahead(self._last, now), _once(_keyed(judged.cast(SCHEMA)))
        due = rows.filter(_due(rows, last, now))
        if due.num_rows:
            at = naive(now) if self._last_at is None else max(naive(now), self._last_at + _MICROSECOND)
            _insert(connection, due, at)
            mark(connection, _MARK, at)
            self._last_at = at
        self._last = _replaced(last, due, now)
        return int(due.num_rows)

    def counts(self, connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], int]:
        """Return how many assets of each type each site had of late: ``{(site, asset_type): count}``."""
        self._remember(connection)
        keys = self._last.column("key").to_pylist()
        return dict(Counter((key.split(SEPARATOR)[0], key.split(SEPARATOR)[1]) for key in keys))

    def prune(self, connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
        """Remove some of what is older than the retention, refreshes that were noted among it."""
        recently = self._pruned_at is not None and timedelta() <= now - self._pruned_at < PRUNE_INTERVAL
        if self._retention is None or recently:
            return
        self._pruned_at = now
        prune_refreshes(connection, naive(now) - self._retention)
        # They stand in the order of their instants.
        oldest = connection.execute(f"SELECT audit_timestamp FROM {AUDIT} LIMIT 1").fetchall()
        if oldest:
            prune_audits(connection, min(naive(now) - self._retention, oldest[0][0] + PRUNE_STEP))

    def _remember(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read the last rows, unless the file is as it was left: a transaction may have come to nothing since."""
        marks = connection.execute("SELECT marked_at FROM marks WHERE name = ?", [_MARK]).fetchall()
        last_at = marks[0][0] if marks else None
        if last_at != self._last_at:
            self._last, self._last_at = _read_last(connection, last_at), last_at


def _read_last(connection: duckdb.DuckDBPyConnection, last_at: datetime | None) -> pa.Table:
    if last_at is None:
        return _MEMORY.empty_table()
    rows = connection.sql(
        f"""
        SELECT site, asset_type, asset_id, {", ".join(COMPARED)}, audit_timestamp AS written_at
        FROM {AUDIT}
        WHERE audit_timestamp >= ?
        QUALIFY row_number() OVER (
            PARTITION BY site, asset_type, coalesce(asset_id, asset_name) ORDER BY audit_timestamp DESC
        ) = 1
        """,
        params=[last_at - LOOKED_BACK],
    ).to_arrow_table()
    return _keyed(rows).select(_MEMORY.names).cast(_MEMORY)


def _keyed(rows: pa.Table) -> pa.Table:
    """Add the key of each asset; the name stands in for a missing LUID."""
    fields = (rows.column("site"), rows.column("asset_type"), pc.coalesce(rows["asset_id"], rows["asset_name"]))
    key = pc.binary_join_element_wise(*fields, SEPARATOR, null_handling="replace", null_replacement="")
    return rows.append_column("key", key)


def _once(rows: pa.Table) -> pa.Table:
    """Leave out what stands again: the first of an asset's rows counts."""
    keys = rows.column("key").combine_chunks()
    if pc.count_distinct(keys).as_py() == len(keys):
        return rows
    _, first = np.unique(pc.index_in(keys, keys).to_numpy(), return_index=True)
    return rows.take(pa.array(np.sort(first)))


def _not_ahead(last: pa.Table, now: datetime) -> pa.Table:
    """Bring what was written by a clock that was ahead down to this one: else its day would not end for years."""
    written_at = pc.min_element_wise(last.column("written_at"), pa.scalar(naive(now), pa.timestamp("us")))
    return last.set_column(last.num_columns - 1, "written_at", written_at)


def _due(rows: pa.Table, last: pa.Table, now: datetime) -> pa.Array:
    """Return of each row whether it is to be written."""
    places = pc.index_in(rows.column("key"), value_set=last.column("key").combine_chunks())
    before = last.take(places)
    since = pa.scalar(naive(now) - REPEATED_AFTER, pa.timestamp("us"))
    due = pc.fill_null(pc.less_equal(before.column("written_at"), since), fill_value=True)
    for name in COMPARED:
        due = pc.or_(due, _differ(rows.column(name), before.column(name)))
    return due


def _differ(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return where two columns differ; NULL is like NULL and nothing else."""
    one_null = pc.xor(pc.is_null(left), pc.is_null(right))
    return pc.or_(one_null, pc.fill_null(pc.not_equal(left, right), fill_value=False))


def _insert(connection: duckdb.DuckDBPyConnection, rows: pa.Table, at: datetime) -> None:
    stamps = pa.repeat(pa.scalar(at, pa.timestamp("us")), rows.num_rows)
    stamped = rows.set_column(rows.column_names.index("audit_timestamp"), "audit_timestamp", stamps)
    with registered(connection, judged=stamped.select(SCHEMA.names)):
        connection.execute(f"INSERT INTO {AUDIT} BY NAME SELECT * FROM judged")


def _replaced(last: pa.Table, written: pa.Table, now: datetime) -> pa.Table:
    """Return what is remembered after rows were written: of what is gone for long, nothing."""
    if not written.num_rows:
        return last
    stale = pc.less(last.column("written_at"), pa.scalar(naive(now) - LOOKED_BACK, pa.timestamp("us")))
    again = pc.is_in(last.column("key"), value_set=written.column("key").combine_chunks())
    kept = last.filter(pc.invert(pc.or_(stale, again)))
    stamps = pa.repeat(pa.scalar(naive(now), pa.timestamp("us")), written.num_rows)
    new = written.select(_MEMORY.names[:-1]).append_column("written_at", stamps)
    return pa.concat_tables([kept, new.cast(_MEMORY)]).combine_chunks()
