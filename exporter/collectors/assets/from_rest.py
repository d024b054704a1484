"""The assets of one site from its REST and Metadata APIs, each with the best source of its freshness.

The order of sources is :data:`exporter.collectors.assets.rows.SOURCES`; refreshes are combined in
:mod:`exporter.collectors.assets.refreshes`.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors.assets.refreshes import freshness_of, known_refreshes
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.inventory import Inventory

KEY = ["asset_type", "asset_id"]
# The API's reference has "the size in megabytes", and no word on which (decision 25).
MEGABYTE = 2**20


def assets_of(inventory: Inventory) -> pa.Table:
    """Return the site's assets as rows of Asset."""
    known = known_refreshes(inventory) if inventory.known is None else inventory.known
    order = pa.array(range(inventory.content.num_rows), pa.int64())
    rows = inventory.content.append_column("order", order)
    for more in (known.select([*KEY, "uses"]), _last_successes(inventory.refreshes), _planned(inventory)):
        rows = rows.join(more, KEY, join_type="left outer", use_threads=False)
    rows = rows.sort_by("order")
    columns = _freshness(inventory, known) | {
        "site": pa.array([inventory.site] * rows.num_rows, pa.string()),
        "asset_type": rows.column("asset_type"),
        "asset_id": rows.column("asset_id"),
        "asset_name": rows.column("asset_name"),
        "project": _projects(rows, inventory.projects),
        "owner_id": rows.column("owner_id"),
        "tags": rows.column("tags"),
        "next_refresh_at": rows.column("next_run_at"),
        "last_success_at": pc.max_element_wise(rows.column("completed_at"), rows.column("ran_well_at")),
        "consecutive_failures": rows.column("failures"),
        "suspended": rows.column("suspended"),
        "tasks_known": _have_tasks_read(rows.column("asset_type"), inventory),
        "uses": rows.column("uses"),
        "url_id": rows.column("url_id"),
        "content_url": rows.column("content_url"),
        "bytes": pc.multiply(rows.column("megabytes"), MEGABYTE),
        **_owners(rows.column("owner_id"), inventory.people),
    }
    empty = pa.nulls(rows.num_rows)
    assets = pa.table({name: columns.get(name, empty) for name in ARROW_SCHEMA.names}).cast(ARROW_SCHEMA)
    return assets.sort_by([(name, "ascending") for name in KEY])


def _freshness(inventory: Inventory, known: pa.Table) -> dict[str, pa.Array]:
    found = list(freshness_of(inventory, known))
    instants, texts = pa.timestamp("us"), pa.string()
    return {
        "connection": pa.array([one.connection for one in found], texts),
        "last_refresh_at": pa.array([one.at for one in found], instants),
        "freshness_source": pa.array([one.source for one in found], texts),
        "own_refresh_at": pa.array([one.own_at for one in found], instants),
        "own_source": pa.array([one.own_source for one in found], texts),
    }


def _last_successes(refreshes: pa.Table | None) -> pa.Table:
    """Return when a refresh of each asset last ended with success."""
    if refreshes is None:
        return pa.table(
            {**dict.fromkeys(KEY, pa.array([], pa.string())), "completed_at": pa.array([], pa.timestamp("us"))}
        )
    found = refreshes.group_by(KEY, use_threads=False).aggregate([("completed_at", "max")])
    return found.rename_columns([*KEY, "completed_at"])


def _true(condition: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(condition, False)  # noqa: FBT003 - the value


def _planned(inventory: Inventory) -> pa.Table:
    """Return a row for the tasks of each asset: the next run, the most failures, whether one is suspended.

    The next run is unknown for tasks that were read in an earlier poll.
    """
    tasks, instants = inventory.tasks, pa.array([], pa.timestamp("us"))
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
    found = found.rename_columns([*KEY, "next_run_at", "ran_well_at", "failures", "suspended"])
    of_now = _have_tasks_read(found.column("asset_type"), inventory)
    next_run_at = pc.if_else(of_now, found.column("next_run_at"), pa.scalar(None, pa.timestamp("us")))
    return found.set_column(2, "next_run_at", next_run_at)


def _have_tasks_read(asset_types: pa.ChunkedArray, inventory: Inventory) -> pa.ChunkedArray:
    """Return whether the tasks of each type of asset were read in this poll."""
    return pc.is_in(asset_types, pa.array(() if inventory.tasks is None else sorted(inventory.tasks_read), pa.string()))


def _projects(rows: pa.Table, projects: pa.Table | None) -> pa.Array:
    """Return the full path of each asset's project; where projects are not listed, the name in the asset's entry."""
    paths = project_paths(projects) if projects is not None else {}
    columns = (rows.column(name).to_pylist() for name in ("project_id", "project_name"))
    return pa.array(
        [paths.get(number, name or number) if number else name for number, name in zip(*columns, strict=True)],
        pa.string(),
    )


def project_paths(projects: pa.Table) -> Mapping[str, str]:
    """Return the full path of each project by its id."""
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
    """Return the columns of the owners; NULL for an owner that is not listed."""
    columns = {"content_owner": "name", "owner_name": "full_name", "owner_email": "email"}
    if people is None:
        return {}
    places = pc.index_in(owner_ids, value_set=people.column("owner_id").combine_chunks())
    return {name: people.column(source).take(places) for name, source in columns.items()}
