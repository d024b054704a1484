"""The assets of one site as its REST and Metadata APIs know them, each with the best that is known of its freshness.

The order is that of :data:`exporter.collectors.assets.rows.SOURCES`: the extracts that the Metadata API describes, else
the last refresh job that ended with success, else the last change of anything, which is named ``updated_at``.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.inventory import TAG_SEPARATOR, Inventory

PERSONAL_SPACE = "Personal Space"
KEY = ["asset_type", "asset_id"]


def assets_of(inventory: Inventory) -> pa.Table:
    """Return the site's assets as rows of Asset."""
    rows = inventory.content
    for more in (
        _described(inventory.described),
        _uses(inventory.described),
        _refreshed(inventory.refreshes),
        _planned(inventory.tasks),
    ):
        rows = rows.join(more, KEY, join_type="left outer", use_threads=False)
    rows = rows.sort_by([(name, "ascending") for name in KEY])
    columns = _freshness(rows) | {
        "site": pa.array([inventory.site] * rows.num_rows, pa.string()),
        "asset_type": rows.column("asset_type"),
        "asset_id": rows.column("asset_id"),
        "asset_name": rows.column("asset_name"),
        "project": _projects(rows, inventory.projects),
        "owner_id": rows.column("owner_id"),
        "tags": rows.column("tags"),
        "next_refresh_at": rows.column("next_run_at"),
        "last_success_at": pc.coalesce(rows.column("completed_at"), rows.column("ran_well_at")),
        "consecutive_failures": rows.column("failures"),
        "suspended": rows.column("suspended"),
        "tasks_told": pa.array([inventory.tasks is not None] * rows.num_rows, pa.bool_()),
        "uses": rows.column("uses"),
        **_owners(rows.column("owner_id"), inventory.people),
    }
    empty = pa.nulls(rows.num_rows)
    return pa.table({name: columns.get(name, empty) for name in ARROW_SCHEMA.names}).cast(ARROW_SCHEMA)


def _freshness(rows: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Choose for each asset what its freshness is taken from."""
    extract, live = rows.column("extract"), rows.column("live")
    refreshed, made = rows.column("refreshed_at"), rows.column("made_at")
    described_at = pc.min_element_wise(refreshed, made, skip_nulls=True)
    from_metadata = pc.if_else(
        pc.fill_null(pc.less_equal(refreshed, made), pc.is_valid(refreshed)), "metadata", "created"
    )
    run_at, changed_at = rows.column("completed_at"), rows.column("updated_at")
    is_flow = pc.equal(rows.column("asset_type"), "flow")
    # Where nothing is described, a source's entry tells whether it has an extract; a refresh tells that there is one.
    was_refreshed = pc.if_else(pc.is_valid(run_at), True, pa.scalar(None, pa.bool_()))  # noqa: FBT003 - the value
    extracted = pc.coalesce(extract, rows.column("has_extracts"), was_refreshed)
    connection = pc.case_when(
        pc.make_struct(
            _true(is_flow), _true(pc.and_kleene(extracted, live)), _true(extracted), _true(pc.invert(extracted))
        ),
        pa.scalar(None, pa.string()),
        "mixed",
        "extract",
        "live",
    )
    is_live = _true(pc.equal(connection, "live"))
    conditions = (
        is_live,
        _true(pc.is_valid(described_at)),
        _true(pc.is_valid(run_at)),
        _true(pc.and_(pc.invert(is_flow), pc.is_valid(changed_at))),
    )
    nothing, no_text = pa.scalar(None, pa.timestamp("us")), pa.scalar(None, pa.string())
    return {
        "connection": connection,
        "last_refresh_at": pc.case_when(pc.make_struct(*conditions), nothing, described_at, run_at, changed_at),
        "freshness_source": pc.case_when(
            pc.make_struct(*conditions), no_text, from_metadata, pa.scalar("job"), pa.scalar("updated_at")
        ),
    }


def _true(condition: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(condition, False)  # noqa: FBT003 - the value


def _described(described: pa.Table | None) -> pa.Table:
    """Return what the data sources of each asset come to: an asset is as fresh as the stalest of its extracts."""
    if described is None:
        described = pa.table({name: pa.array([], kind) for name, kind in _DESCRIBED.items()})
    has_extracts = described.column("has_extracts")
    refreshed, made = described.column("refreshed_at"), described.column("made_at")
    extracts, nothing = _true(has_extracts), pa.scalar(None, pa.timestamp("us"))
    rows = pa.table(
        {
            **{name: described.column(name) for name in KEY},
            "extract": has_extracts,
            "live": pc.invert(has_extracts),
            "refreshed_at": pc.if_else(extracts, refreshed, nothing),
            "made_at": pc.if_else(pc.and_(extracts, pc.is_null(refreshed)), made, nothing),
        }
    )
    found = rows.group_by(KEY, use_threads=False).aggregate(
        [
            # One source of which it is not known whether it has an extract leaves the asset unknown.
            ("extract", "any", pc.ScalarAggregateOptions(skip_nulls=False)),
            ("live", "any"),
            ("refreshed_at", "min"),
            ("made_at", "min"),
        ]
    )
    return found.rename_columns([*KEY, "extract", "live", "refreshed_at", "made_at"])


_DESCRIBED = {
    **dict.fromkeys(KEY, pa.string()),
    "has_extracts": pa.bool_(),
    "refreshed_at": pa.timestamp("us"),
    "made_at": pa.timestamp("us"),
}


def _uses(described: pa.Table | None) -> pa.Table:
    """Return the published data sources that each workbook uses, as one text."""
    if described is None:
        return pa.table({name: pa.array([], pa.string()) for name in (*KEY, "uses")})
    named = [*KEY, "source_id"]
    rows = described.filter(pc.is_valid(described.column("source_id"))).select(named)
    once = rows.group_by(named, use_threads=False).aggregate([]).sort_by([(name, "ascending") for name in named])
    found = once.group_by(KEY, use_threads=False).aggregate([("source_id", "list")]).combine_chunks()
    texts = pc.binary_join(found.column("source_id_list"), TAG_SEPARATOR)
    return found.select(KEY).append_column("uses", texts)


def _refreshed(refreshes: pa.Table | None) -> pa.Table:
    """Return when a refresh of each asset last ended with success."""
    if refreshes is None:
        refreshes = pa.table(
            {**dict.fromkeys(KEY, pa.array([], pa.string())), "completed_at": pa.array([], pa.timestamp("us"))}
        )
    found = refreshes.group_by(KEY, use_threads=False).aggregate([("completed_at", "max")])
    return found.rename_columns([*KEY, "completed_at"])


def _planned(tasks: pa.Table | None) -> pa.Table:
    """Return what the tasks of each asset come to: the next run, the worst failures, whether one is suspended."""
    instants = pa.array([], pa.timestamp("us"))
    if tasks is None:
        tasks = pa.table(
            {
                **dict.fromkeys(KEY, pa.array([], pa.string())),
                "next_run_at": instants,
                "last_run_at": instants,
                "consecutive_failures": pa.array([], pa.int64()),
                "suspended": pa.array([], pa.bool_()),
            }
        )
    # A run that was not followed by a failure was a success.
    well = _true(pc.equal(tasks.column("consecutive_failures"), 0))
    ran_well_at = pc.if_else(well, tasks.column("last_run_at"), pa.scalar(None, pa.timestamp("us")))
    found = (
        tasks.append_column("ran_well_at", ran_well_at)
        .group_by(KEY, use_threads=False)
        .aggregate(
            [("next_run_at", "min"), ("ran_well_at", "max"), ("consecutive_failures", "max"), ("suspended", "any")]
        )
    )
    return found.rename_columns([*KEY, "next_run_at", "ran_well_at", "failures", "suspended"])


def _projects(rows: pa.Table, projects: pa.Table | None) -> pa.Array:
    """Return the full path of each asset's project."""
    paths = _paths(projects) if projects is not None else {}
    columns = (rows.column(name).to_pylist() for name in ("project_id", "project_name"))
    return pa.array(
        [
            paths.get(number, name or number) if number else PERSONAL_SPACE
            for number, name in zip(*columns, strict=True)
        ],
        pa.string(),
    )


def _paths(projects: pa.Table) -> Mapping[str, str]:
    columns: Sequence[list[str]] = [projects.column(name).to_pylist() for name in ("project_id", "name", "parent_id")]
    known = {number: (name or number, parent) for number, name, parent in zip(*columns, strict=True)}
    return {number: "/".join(reversed(_walk(number, known))) for number in known}


def _walk(number: str, known: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the names from a project up to its root; a circle of parents ends where it began."""
    names: list[str] = []
    passed: set[str] = set()
    while number in known and number not in passed:
        passed.add(number)
        name, number = known[number]
        names.append(name)
    return names


def _owners(owner_ids: pa.ChunkedArray, people: pa.Table | None) -> dict[str, pa.ChunkedArray]:
    """Return what is told of the owners; whoever is not listed is not known."""
    columns = {"content_owner": "name", "owner_name": "full_name", "owner_email": "email"}
    if people is None:
        return {}
    places = pc.index_in(owner_ids, value_set=people.column("owner_id").combine_chunks())
    return {name: people.column(told).take(places) for name, told in columns.items()}
