"""Rows of assets: a workbook, a published data source or a flow, neither deleted nor archived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import columns_of, personal, relation
from exporter.collectors._projects import PROJECTS, PROJECTS_CONTENTS
from exporter.inventory import TAG_SEPARATOR

SOURCES = ("repository", "metadata", "job", "created", "updated_at")
"""The sources of freshness, the best first."""
REFRESHES = frozenset({"repository", "metadata", "job"})
"""Those of them that are a successful refresh: all equally good, the latest counts."""


@dataclass(frozen=True)
class Asset:
    """One asset. ``asset_id`` and ``owner_id`` are LUIDs, ``task_ids`` is ``12,13``, ``site`` is a label.

    ``connection`` is extract, live or mixed; ``freshness_source`` is the source of ``last_refresh_at``: the refresh of
    an extract as the repository or the Metadata API has it, the end of a job, its publishing because it was never
    refreshed (created), or, where nothing better is known, the last change of anything (updated_at). ``uses`` are the
    LUIDs of the published data sources that a workbook uses, each once, in order, between them
    :data:`exporter.inventory.TAG_SEPARATOR`; None where it uses none, or where that is unknown. ``content_owner`` is
    the login name; the other two facts of the owner are held in memory alone and are in no family. ``own_refresh_at``
    and ``own_source`` are the refresh of its own extracts alone, without the sources it uses. ``last_success_at`` is
    when a task of the asset last ended well, ``tasks_known`` whether tasks could be read at all. ``url_id`` is the
    number in the address of its page in Tableau, ``content_url`` a workbook's name in the addresses of its views.
    ``bytes`` is the size of its extracts where it is known, else of the asset: whole megabytes from the REST API, which
    knows no ``site_id``, no task ids, and not the ``time_zone`` of the site, an IANA name.
    """

    site_id: int | None
    site: str | None
    asset_type: str
    asset_id: str | None
    asset_name: str | None
    project: str | None
    owner_id: str | None
    tags: str | None
    connection: str | None
    freshness_source: str | None
    last_refresh_at: datetime | None
    next_refresh_at: datetime | None
    last_success_at: datetime | None
    consecutive_failures: int | None
    suspended: bool | None
    task_ids: str | None
    tasks_known: bool | None
    uses: str | None
    own_refresh_at: datetime | None
    own_source: str | None
    url_id: int | None
    content_url: str | None
    bytes: int | None
    time_zone: str | None
    content_owner: str | None = personal()
    owner_name: str | None = personal(pseudonymous=False)
    owner_email: str | None = personal(pseudonymous=False)


ARROW_SCHEMA = pa.schema([(column.name, column.type.arrow) for column in columns_of(Asset)])
"""The columns of assets as Arrow has them, wherever they come from."""

_NAMED = "id bigint, luid text, name text, site_id bigint"
_EXTRACTS = "data_engine_extracts boolean, extracts_refreshed_at timestamp"
_CONTENT = (
    "extracts_incremented_at timestamp, last_published_at timestamp, created_at timestamp, owner_id bigint,"
    " project_id bigint"
)

READS = (
    relation(
        "workbooks",
        f"{_NAMED}, {_EXTRACTS}",
        f"{_CONTENT}, repository_url text, size bigint",
        newer={"2021.2": "is_deleted boolean, is_private boolean"},
    ),
    relation(
        "datasources",
        f"{_NAMED}, repository_url text, {_EXTRACTS}",
        f"{_CONTENT}, connectable boolean, parent_workbook_id bigint, state text, size bigint",
    ),
    relation(
        "data_connections",
        "owner_id bigint, owner_type text, dbclass text, dbname text",
        "id bigint, has_extract boolean",
    ),
    relation(
        "flows",
        _NAMED,
        "owner_id bigint, project_id bigint, is_deleted boolean, size bigint",
        optional=True,
        newer={"2025.3": "state text"},
    ),
    relation(
        "extracts",
        "workbook_id bigint, datasource_id bigint",
        optional=True,
        reported=False,
        newer={"2021.2": "size bigint"},
    ),
    relation("flow_runs", "flow_id bigint, completed_at timestamp, finish_code bigint", optional=True),
    relation(
        "tasks",
        "id bigint, obj_id bigint, obj_type text",
        "schedule_id bigint, active boolean, consecutive_failure_count bigint",
        optional=True,
        newer={"2021.2": "state bigint, last_success_completed_at timestamp"},
    ),
    relation("flow_run_specs", "id bigint, flow_id bigint", optional=True),
    relation("linked_task_steps", "linked_task_id bigint, task_id bigint", optional=True, reported=False),
    relation("linked_task_triggers", "linked_task_id bigint, task_id bigint", optional=True, reported=False),
    relation("schedules", "id bigint, run_next_at timestamp", "active boolean", optional=True),
    relation("taggings", "tag_id bigint, taggable_id bigint, taggable_type text", optional=True),
    relation("tags", "id bigint, name text", optional=True),
    relation("sites", "id bigint, url_namespace text", optional=True, newer={"2021.2": "time_zone text"}),
    relation("users", "id bigint, system_user_id bigint", "luid text", optional=True),
    relation("system_users", "id bigint, name text", "friendly_name text, email text", optional=True),
    PROJECTS,
    PROJECTS_CONTENTS,
)


def downstream(rows: pa.Table) -> Mapping[str, Sequence[int]]:
    """Return for each data source, by its LUID, the positions of the rows that use it, in order."""
    uses = pc.split_pattern(rows.column("uses").combine_chunks(), TAG_SEPARATOR)
    sources = pc.list_flatten(uses).dictionary_encode()
    places = pc.list_parent_indices(uses).to_numpy()
    numbers = sources.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    found = places[order].tolist()
    ends = np.cumsum(np.bincount(numbers, minlength=len(sources.dictionary))).tolist()
    luids = sources.dictionary.to_pylist()
    return {luid: found[start:end] for luid, start, end in zip(luids, [0, *ends[:-1]], ends, strict=False)}


def page_url(server: str | None, site: str, asset_type: str, url_id: int | None) -> str:
    """Return the address of an asset's page in Tableau; empty where the server, the site or the number is unknown.

    ``server`` is the URL of Tableau without a closing slash, ``site`` a label.
    """
    if not server or not site or url_id is None:
        return ""
    place = "" if site == "default" else f"site/{quote(site.encode(errors='replace'), safe='')}/"
    return f"{server}/#/{place}{asset_type}s/{url_id}"
