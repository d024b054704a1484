"""Workbooks and their views."""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import relation, volatile
from exporter.collectors._projects import PLACES


@dataclass(frozen=True)
class Workbook:
    """A workbook; ``repository_url`` is unique on its site only. The size is in bytes."""

    id: int
    luid: str | None
    site_id: int | None
    name: str | None
    repository_url: str | None
    owner_id: int | None
    project_id: int | None
    is_deleted: bool | None
    is_private: bool | None
    data_engine_extracts: bool | None
    created_at: datetime | None
    first_published_at: datetime | None
    last_published_at: datetime | None = volatile()
    updated_at: datetime | None = volatile()
    extracts_refreshed_at: datetime | None = volatile()
    extracts_incremented_at: datetime | None = volatile()
    size: int | None = volatile()
    view_count: int | None = volatile()


WORKBOOKS = relation(
    "workbooks",
    "id bigint, name text, site_id bigint",
    "luid text, repository_url text, owner_id bigint, project_id bigint,"
    " data_engine_extracts boolean, created_at timestamp, first_published_at timestamp, last_published_at timestamp,"
    " updated_at timestamp, extracts_refreshed_at timestamp, extracts_incremented_at timestamp, size bigint,"
    " view_count bigint",
    newer={"2021.2": "is_deleted boolean, is_private boolean"},
)
WORKBOOKS_SQL = f"""
    WITH {PLACES}
    SELECT
        workbooks.id AS id,
        workbooks.luid AS luid,
        workbooks.site_id AS site_id,
        workbooks.name AS name,
        workbooks.repository_url AS repository_url,
        workbooks.owner_id AS owner_id,
        coalesce(places.project_id, workbooks.project_id) AS project_id,
        workbooks.is_deleted AS is_deleted,
        workbooks.is_private AS is_private,
        workbooks.data_engine_extracts AS data_engine_extracts,
        workbooks.created_at AS created_at,
        workbooks.first_published_at AS first_published_at,
        workbooks.last_published_at AS last_published_at,
        workbooks.updated_at AS updated_at,
        workbooks.extracts_refreshed_at AS extracts_refreshed_at,
        workbooks.extracts_incremented_at AS extracts_incremented_at,
        workbooks.size AS size,
        workbooks.view_count AS view_count
    FROM workbooks
    LEFT JOIN places ON places.content_type = 'workbook' AND places.content_id = workbooks.id
"""


@dataclass(frozen=True)
class View:
    """A sheet; its ``view_url``, ``<workbook>/<sheet>``, is what requests call currentsheet, unique on its site."""

    id: int
    luid: str | None
    site_id: int | None
    workbook_id: int | None
    name: str | None
    view_url: str | None
    repository_url: str | None
    owner_id: int | None
    index: int | None
    title: str | None
    caption: str | None
    sheettype: str | None
    state: str | None
    is_deleted: bool | None
    created_at: datetime | None
    first_published_at: datetime | None
    updated_at: datetime | None = volatile()


# The table has <workbook>/sheets/<sheet>; in the view _views the column is view_url.
VIEWS = relation(
    "views",
    "id bigint, name text, site_id bigint, workbook_id bigint",
    "luid text, repository_url text, owner_id bigint, index bigint, title text, caption text,"
    " sheettype text, state text, is_deleted boolean, created_at timestamp, first_published_at timestamp,"
    " updated_at timestamp",
    only_in_view="view_url text",
)
VIEWS_SQL = """
    SELECT
        views.id AS id,
        views.luid AS luid,
        views.site_id AS site_id,
        views.workbook_id AS workbook_id,
        views.name AS name,
        regexp_replace(coalesce(views.repository_url, views.view_url), '/sheets/', '/') AS view_url,
        views.repository_url AS repository_url,
        views.owner_id AS owner_id,
        views.index AS index,
        views.title AS title,
        views.caption AS caption,
        views.sheettype AS sheettype,
        views.state AS state,
        views.is_deleted AS is_deleted,
        views.created_at AS created_at,
        views.first_published_at AS first_published_at,
        views.updated_at AS updated_at
    FROM views
"""
