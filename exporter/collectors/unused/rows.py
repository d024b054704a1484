"""Rows of content with its last opening by Tableau's own statistics."""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import personal, relation
from exporter.collectors._projects import PROJECTS, PROJECTS_CONTENTS


@dataclass(frozen=True)
class OpenedContent:
    """A workbook, a published data source or a flow, neither deleted nor archived; ``asset_id`` is its LUID.

    ``opened_at`` is the last opening by Tableau's statistics: of a data source also that of the workbooks on it, of a
    flow also its last run. ``covered`` is whether Tableau has such statistics. ``content_url`` is a workbook's name in
    addresses, ``workbook_ids`` the workbooks on a data source (``12,13``), as ``task_ids`` its tasks. ``bytes`` is the
    size of its extracts where it is known, else its own. ``suspend_after_days`` is after how many days without an
    opening Tableau suspends the refreshes of the workbook; NULL where it does not, or where nothing is scheduled.
    """

    id: int
    site_id: int | None
    asset_type: str
    asset_id: str | None
    asset_name: str | None
    project: str | None
    content_url: str | None
    workbook_ids: str | None
    created_at: datetime | None
    opened_at: datetime | None
    covered: bool
    bytes: int | None
    task_ids: str | None
    suspend_after_days: int | None
    content_owner: str | None = personal()


_CONTENT = "id bigint, name text, site_id bigint"
_MORE = "luid text, owner_id bigint, project_id bigint, created_at timestamp, size bigint"

READS = (
    relation(
        "workbooks",
        _CONTENT,
        f"{_MORE}, repository_url text",
        newer={"2021.2": "is_deleted boolean, is_private boolean"},
    ),
    relation(
        "datasources",
        f"{_CONTENT}, repository_url text",
        f"{_MORE}, connectable boolean, parent_workbook_id bigint, state text",
    ),
    relation("flows", _CONTENT, f"{_MORE}, is_deleted boolean", optional=True, newer={"2025.3": "state text"}),
    relation("data_connections", "owner_id bigint, owner_type text, dbclass text, dbname text"),
    relation("views", "id bigint, workbook_id bigint"),
    relation("views_stats", "view_id bigint, time timestamp", optional=True),
    # From 2020.3 on.
    relation(
        "content_usage",
        "content_type bigint, content_id bigint, last_recorded_at timestamp",
        optional=True,
        reported=False,
    ),
    relation("flow_runs", "flow_id bigint, completed_at timestamp", optional=True),
    relation(
        "extracts",
        "workbook_id bigint, datasource_id bigint",
        optional=True,
        reported=False,
        newer={"2021.2": "size bigint"},
    ),
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
    relation(
        "sites",
        "id bigint",
        optional=True,
        newer={
            "2021.2": "auto_suspend_refresh_enabled boolean, auto_suspend_refresh_inactivity_window bigint",
        },
    ),
    relation("users", "id bigint, system_user_id bigint", optional=True),
    relation("system_users", "id bigint, name text", optional=True),
    PROJECTS,
    PROJECTS_CONTENTS,
)
