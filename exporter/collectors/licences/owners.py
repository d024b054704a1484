"""Content whose owner is unlicensed on the site, or was removed from it: nobody reads its notifications."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.collector import Context, personal, relation
from exporter.collectors._arrow import texts
from exporter.collectors._projects import PATHS, PLACES, PROJECTS, PROJECTS_CONTENTS
from exporter.metrics import Block, Family, Labels

if TYPE_CHECKING:
    import pyarrow as pa

ORPHANS = "orphaned content"
"""The page: ``StateHistory.page``."""


@dataclass(frozen=True)
class OwnedContent:
    """Content, neither deleted nor archived; ``owner_state`` is licensed, unlicensed, removed, or NULL if unknown.

    Only content of an owner who is unlicensed or removed has a name.
    """

    site_id: int | None
    project: str | None
    asset_type: str
    asset_name: str | None
    owner_state: str | None
    owner: str | None = personal()
    owner_name: str | None = personal(pseudonymous=False)


_OWNED = "id bigint, site_id bigint, owner_id bigint"
_MORE = "name text, project_id bigint"
OWNED_READS = (
    relation("workbooks", _OWNED, _MORE, optional=True, newer={"2021.2": "is_deleted boolean, is_private boolean"}),
    relation(
        "datasources",
        _OWNED,
        f"{_MORE}, connectable boolean, parent_workbook_id bigint, state text",
        optional=True,
    ),
    relation("flows", _OWNED, f"{_MORE}, is_deleted boolean", optional=True, newer={"2025.3": "state text"}),
    relation("users", "id bigint", "site_role_id bigint, system_user_id bigint", optional=True),
    relation("site_roles", "id bigint, name text", optional=True),
    relation("system_users", "id bigint, name text", "friendly_name text", optional=True),
    PROJECTS,
    PROJECTS_CONTENTS,
)
# Where no user can be read nobody was removed.
OWNED_SQL = f"""
    WITH RECURSIVE {PATHS}, {PLACES},
    content AS (
        SELECT
            'workbook' AS asset_type,
            id AS id,
            name AS name,
            site_id AS site_id,
            owner_id AS owner_id,
            project_id AS project_id,
            is_private AS is_private
        FROM workbooks
        WHERE is_deleted IS NOT TRUE
        UNION ALL
        SELECT
            'datasource',
            id,
            name,
            site_id,
            owner_id,
            project_id,
            false
        FROM datasources
        WHERE coalesce(connectable, parent_workbook_id IS NULL)
            AND lower(state) IS DISTINCT FROM 'archived'
        UNION ALL
        SELECT
            'flow',
            id,
            name,
            site_id,
            owner_id,
            project_id,
            false
        FROM flows
        WHERE is_deleted IS NOT TRUE
            AND lower(state) IS DISTINCT FROM 'archived'
    ),
    owned AS (
        SELECT
            content.*,
            CASE
                WHEN content.owner_id IS NULL THEN NULL
                WHEN users.id IS NULL THEN CASE WHEN EXISTS (SELECT FROM users) THEN 'removed' END
                WHEN lower(site_roles.name) = 'unlicensed' THEN 'unlicensed'
                WHEN site_roles.name IS NOT NULL THEN 'licensed'
            END AS owner_state,
            users.system_user_id AS system_user_id
        FROM content
        LEFT JOIN users ON users.id = content.owner_id
        LEFT JOIN site_roles ON site_roles.id = users.site_role_id
    )
    SELECT
        owned.site_id AS site_id,
        CASE WHEN owned.is_private THEN 'Personal Space' ELSE coalesce(paths.path, projects.name) END AS project,
        owned.asset_type AS asset_type,
        CASE WHEN owned.owner_state <> 'licensed' THEN owned.name END AS asset_name,
        owned.owner_state AS owner_state,
        system_users.name AS owner,
        nullif(system_users.friendly_name, '') AS owner_name
    FROM owned
    LEFT JOIN places ON places.content_type = owned.asset_type AND places.content_id = owned.id
    LEFT JOIN projects ON projects.id = coalesce(places.project_id, owned.project_id)
    LEFT JOIN paths ON paths.id = projects.id
    LEFT JOIN system_users ON system_users.id = owned.system_user_id AND owned.owner_state = 'unlicensed'
"""
ORPHANS_PAGE_SQL = """
    SELECT
        site_id AS site_id,
        project AS project,
        asset_type AS kind,
        asset_name AS name,
        owner_state AS reason,
        NULL::DOUBLE AS happens_at,
        NULL::DOUBLE AS used_at,
        owner AS "user",
        owner_name AS user_name
    FROM state
    WHERE owner_state IN ('unlicensed', 'removed')
    ORDER BY site_id, project, asset_type, asset_name
"""

ORPHANED = Family(
    "tableau_orphaned_assets",
    "gauge",
    "Workbooks, published data sources and flows of the project whose owner is unlicensed on the site or was removed"
    " from it; from the repository every hour.",
    ("site", "project", "asset_type"),
    "repository: workbooks, datasources, flows, users, site_roles",
)


def expose_orphans(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Count orphaned content by site, project and type; 0 where every known owner has a licence."""
    sites = [context.site(site_id) for site_id in rows.column("site_id").to_pylist()]
    places = zip(sites, texts(rows, "project"), texts(rows, "asset_type"), strict=True)
    counts: dict[tuple[str, str, str], int] = {}
    for place, state in zip(places, texts(rows, "owner_state"), strict=True):
        if state:
            counts[place] = counts.get(place, 0) + (state != "licensed")
    return [Block(ORPHANED, Labels.of(ORPHANED.labels, counts), list(counts.values()))]
