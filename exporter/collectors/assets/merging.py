"""One row for each asset out of what several sources say of it: the better source of freshness wins, asset by asset.

Assets are the same that have the same type and LUID. Freshness, and the connection that it is about, are taken together
from one source, of two equal ones from that which tells of the newer refresh. What is known of tasks is taken together
from the first source that knows one, what is known of the owner from the first that knows who it is; everything else
from the first that says it, the repository before the APIs.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors.assets.rows import ARROW_SCHEMA, SOURCES

KEY = ["asset_type", "asset_id"]
FRESHNESS = ("connection", "freshness_source", "last_refresh_at")
# That nothing is scheduled is said by no instant: another source's would be another task's.
TASKS = (
    "next_refresh_at",
    "last_success_at",
    "consecutive_failures",
    "suspended",
    "task_ids",
    "tasks_told",
)
# A name and an address are those of the login name beside them.
OWNER = ("content_owner", "owner_name", "owner_email")
_KNOWING = ("next_refresh_at", "consecutive_failures", "suspended", "task_ids")
_AS_IT_IS = pc.ScalarAggregateOptions(skip_nulls=False)
# After every source that says something, before those that say nothing.
_LIVE_RANK, _SILENT = 0, len(SOURCES)


def merge(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the assets of all tables, each once; of equal worth the earlier table's word counts."""
    tables = [table.cast(ARROW_SCHEMA) for table in tables]
    if len(tables) == 1:
        return tables[0]
    rows = pa.concat_tables(tables) if tables else ARROW_SCHEMA.empty_table()
    known = rows.filter(pc.is_valid(rows.column("asset_id")))
    nameless = rows.filter(pc.is_null(rows.column("asset_id")))
    rest = [name for name in ARROW_SCHEMA.names if name not in {*KEY, *FRESHNESS, *TASKS, *OWNER}]
    merged = known.group_by(KEY, use_threads=False).aggregate([(name, "first") for name in rest])
    placed = known.append_column("order", pa.array(range(known.num_rows), pa.int64()))
    by_freshness = [("rank", "ascending"), ("last_refresh_at", "descending"), ("order", "ascending")]
    by_rank = [("rank", "ascending"), ("order", "ascending")]
    for names, ranks, order in (
        (FRESHNESS, _ranks(known), by_freshness),
        (TASKS, _task_ranks(known), by_rank),
        (OWNER, pc.is_null(known.column("content_owner")), by_rank),
    ):
        ranked = placed.append_column("rank", ranks).sort_by(order)
        best = ranked.group_by(KEY, use_threads=False).aggregate([(name, "first", _AS_IT_IS) for name in names])
        merged = merged.join(best, KEY, use_threads=False)
    merged = merged.rename_columns([name.removesuffix("_first") for name in merged.column_names])
    merged = merged.select(ARROW_SCHEMA.names).sort_by([(name, "ascending") for name in ("site", *KEY)])
    return pa.concat_tables([merged.cast(ARROW_SCHEMA), nameless])


def _ranks(rows: pa.Table) -> pa.Array:
    """Return how good each row's source of freshness is: 0 is the best. That an asset is live is as good as it gets."""
    places = {source: place for place, source in enumerate(SOURCES)}
    columns = (rows.column(name).to_pylist() for name in ("freshness_source", "connection"))
    return pa.array(
        [
            _LIVE_RANK if connection == "live" else places.get(source, _SILENT)
            for source, connection in zip(*columns, strict=True)
        ],
        pa.int64(),
    )


def _task_ranks(rows: pa.Table) -> pa.Array:
    """Return which rows know a task (0), which know that there is none (1), and which know nothing of tasks (2)."""
    knows, told = pa.scalar(False), pc.fill_null(rows.column("tasks_told"), False)  # noqa: FBT003 - the values
    for name in _KNOWING:
        knows = pc.or_(knows, pc.is_valid(rows.column(name)))
    return pc.if_else(knows, 0, pc.if_else(told, 1, 2)).cast(pa.int64())
