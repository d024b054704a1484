"""One row for each asset out of the rows of several sources: the best source of each fact wins, asset by asset.

Assets are the same that have the same type and LUID. Every successful refresh that Tableau reports is equally good: of
each extract the latest counts, by whichever source; a workbook is as fresh as the stalest of its own extracts and of
the published sources it uses. The connection of an asset is the repository's: it is the database itself. Tasks are
taken together from the first source that knows one, the owner from the first that knows it; the number of its page from
the APIs before the repository, as they report it themselves; all other columns from the first source that has a value,
the repository before the APIs.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors.assets.rows import ARROW_SCHEMA, REFRESHES, SOURCES
from exporter.inventory import TAG_SEPARATOR

KEY = ["asset_type", "asset_id"]
FRESHNESS = ("connection", "freshness_source", "last_refresh_at")
OWN = ("own_source", "own_refresh_at")
# NULL means that nothing is scheduled: an instant of another source would be that of another task.
TASKS = (
    "next_refresh_at",
    "last_success_at",
    "consecutive_failures",
    "suspended",
    "task_ids",
    "tasks_known",
)
# A name and an address are those of the login name beside them.
OWNER = ("content_owner", "owner_name", "owner_email")
URL_ID = "url_id"
_KNOWING = ("next_refresh_at", "consecutive_failures", "suspended", "task_ids")
_AS_IT_IS = pc.ScalarAggregateOptions(skip_nulls=False)
# After every source with a value.
_SILENT = 2 * len(SOURCES)


def merge(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the assets of all tables, each once; of equal rank the earlier table wins."""
    tables = [table.cast(ARROW_SCHEMA) for table in tables]
    if len(tables) == 1:
        return tables[0]
    rows = pa.concat_tables(tables) if tables else ARROW_SCHEMA.empty_table()
    places = [place for place, table in enumerate(tables) for _ in range(table.num_rows)]
    rows = rows.append_column("place", pa.array(places, pa.int64()))
    known = rows.filter(pc.is_valid(rows.column("asset_id")))
    nameless = rows.filter(pc.is_null(rows.column("asset_id"))).select(ARROW_SCHEMA.names)
    rest = [name for name in ARROW_SCHEMA.names if name not in {*KEY, *FRESHNESS, *OWN, *TASKS, *OWNER, URL_ID}]
    merged = known.group_by(KEY, use_threads=False).aggregate(
        [*((name, "first") for name in rest), (URL_ID, "last"), ("place", "count")]
    )
    placed = known.append_column("order", pa.array(range(known.num_rows), pa.int64()))
    by_rank, latest = [("rank", "ascending"), ("order", "ascending")], ("latest", "descending")
    for names, ranks, instants in (
        (FRESHNESS, _ranks(known), _of_one_extract(known)),
        (OWN, _places_of(known.column("own_source")), known.column("own_refresh_at")),
        (TASKS, _task_ranks(known), None),
        (OWNER, pc.is_null(known.column("content_owner")), None),
    ):
        ranked = placed.append_column("rank", ranks)
        if instants is None:
            ranked = ranked.sort_by(by_rank)
        else:
            ranked = ranked.append_column("latest", instants).sort_by([by_rank[0], latest, by_rank[1]])
        best = ranked.group_by(KEY, use_threads=False).aggregate([(name, "first", _AS_IT_IS) for name in names])
        merged = merged.join(best, KEY, use_threads=False)
    merged = merged.rename_columns([name.removesuffix("_first").removesuffix("_last") for name in merged.column_names])
    merged = _with_later_extracts(merged.sort_by([(name, "ascending") for name in ("site", *KEY)]))
    return pa.concat_tables([merged.select(ARROW_SCHEMA.names).cast(ARROW_SCHEMA), nameless])


def _of_one_extract(rows: pa.Table) -> pa.ChunkedArray:
    """Return the refresh of assets with one extract: another source may not see all extracts of a workbook."""
    is_known_by_part = pc.or_(pc.is_valid(rows.column("own_source")), pc.is_valid(rows.column("uses")))
    has_parts = pc.and_(pc.equal(rows.column("asset_type"), "workbook"), is_known_by_part)
    return pc.if_else(has_parts, pa.scalar(None, pa.timestamp("us")), rows.column("last_refresh_at"))


def _with_later_extracts(rows: pa.Table) -> pa.Table:
    """Make each workbook that several sources know as fresh as the stalest of its extracts, each at its latest.

    The refresh that the sources report for the whole stays where an extract is not known by itself, or is no later.
    """
    columns = {name: rows.column(name).to_pylist() for name in ("asset_type", "asset_id", *FRESHNESS, *OWN, "uses")}
    instants, sources = columns["last_refresh_at"], columns["freshness_source"]
    at = {
        luid: (instant, source)
        for kind, luid, instant, source in zip(
            columns["asset_type"], columns["asset_id"], instants, sources, strict=True
        )
        if kind == "datasource"
    }
    several = pc.greater(rows.column("place_count"), 1).to_pylist()
    for row, kind in enumerate(columns["asset_type"]):
        if kind != "workbook" or not several[row] or sources[row] not in REFRESHES:
            continue
        own = columns["own_refresh_at"][row], columns["own_source"][row]
        used = [at.get(luid, (None, None)) for luid in (columns["uses"][row] or "").split(TAG_SEPARATOR) if luid]
        parts = [*([own] if own[1] else []), *used]
        if parts and all(source in REFRESHES and instant for instant, source in parts):
            instants[row], sources[row] = max((instants[row], sources[row]), min(parts))
    for name in ("last_refresh_at", "freshness_source"):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(columns[name], ARROW_SCHEMA.field(name).type))
    return rows


def _ranks(rows: pa.Table) -> pa.Array:
    """Return how good each row's source of freshness is, 0 the best.

    Live of the first source ranks first; live of a later one ranks after any extract.
    """
    columns = (rows.column(name).to_pylist() for name in ("freshness_source", "connection", "place"))
    return pa.array(
        [
            (-1 if not place else _LATER_LIVE) if connection == "live" else _RANKS.get(source, _SILENT)
            for source, connection, place in zip(*columns, strict=True)
        ],
        pa.int64(),
    )


def _places_of(sources: pa.ChunkedArray) -> pa.Array:
    return pa.array([_RANKS.get(source, _SILENT) for source in sources.to_pylist()], pa.int64())


# A refresh is a refresh, whichever source reports it.
_RANKS = {source: 0 if source in REFRESHES else 2 * place for place, source in enumerate(SOURCES)}
_LATER_LIVE = _RANKS["created"] + 1


def _task_ranks(rows: pa.Table) -> pa.Array:
    """Return which rows know a task (0), which know that there is none (1), and which know nothing of tasks (2)."""
    knows, known = pa.scalar(False), pc.fill_null(rows.column("tasks_known"), False)  # noqa: FBT003 - the values
    for name in _KNOWING:
        knows = pc.or_(knows, pc.is_valid(rows.column(name)))
    return pc.if_else(knows, 0, pc.if_else(known, 1, 2)).cast(pa.int64())
