"""What is known of each asset: a workbook, a published data source or a flow, neither deleted nor archived."""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import personal, relation
from exporter.collectors._projects import PROJECTS, PROJECTS_CONTENTS

TAG_SEPARATOR = "\x1f"
"""What stands between the tags of an asset: nobody types it."""


@dataclass(frozen=True)
class Asset:
    """One asset. ``asset_id`` and ``owner_id`` are LUIDs, ``task_ids`` is ``12,13``.

    ``connection`` is extract, live or mixed; ``freshness_source`` says what ``last_refresh_at`` is: the refresh of an
    extract (repository), its publishing because it was never refreshed (created), or the run of a flow (job).
    """

    site_id: int | None
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
    consecutive_failures: int | None
    suspended: bool | None
    task_ids: str | None
    content_owner: str | None = personal()


_NAMED = "id bigint, luid text, name text, site_id bigint"
_EXTRACTS = "data_engine_extracts boolean, extracts_refreshed_at timestamp"
_CONTENT = (
    "extracts_incremented_at timestamp, last_published_at timestamp, created_at timestamp, owner_id bigint,"
    " project_id bigint"
)

READS = (
    relation("workbooks", f"{_NAMED}, {_EXTRACTS}", f"{_CONTENT}, is_deleted boolean, is_private boolean"),
    relation(
        "datasources",
        f"{_NAMED}, repository_url text, {_EXTRACTS}",
        f"{_CONTENT}, connectable boolean, parent_workbook_id bigint, state text",
    ),
    relation("data_connections", "owner_id bigint, owner_type text, dbclass text, dbname text", "has_extract boolean"),
    relation("flows", _NAMED, "owner_id bigint, project_id bigint, is_deleted boolean, state text", optional=True),
    relation("flow_runs", "flow_id bigint, completed_at timestamp, finish_code bigint", optional=True),
    relation(
        "tasks",
        "id bigint, obj_id bigint, obj_type text",
        "schedule_id bigint, active boolean, state bigint, consecutive_failure_count bigint",
        optional=True,
    ),
    relation("schedules", "id bigint, run_next_at timestamp", "active boolean", optional=True),
    relation("taggings", "tag_id bigint, taggable_id bigint, taggable_type text", optional=True),
    relation("tags", "id bigint, name text", optional=True),
    relation("users", "id bigint, system_user_id bigint", "luid text", optional=True),
    relation("system_users", "id bigint, name text", optional=True),
    PROJECTS,
    PROJECTS_CONTENTS,
)
