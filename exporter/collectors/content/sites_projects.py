"""Sites and their projects."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from exporter.collector import columns_of, relation, volatile
from exporter.collectors._arrow import number_of
from exporter.collectors._projects import PATHS

DEFAULT_SITE = "default"


@dataclass(frozen=True)
class Site:
    """A site; the Default site's ``url_namespace`` is empty."""

    id: int
    luid: str | None
    name: str | None
    url_namespace: str | None
    status: str | None
    created_at: datetime | None
    updated_at: datetime | None = volatile()


SITES = relation(
    "sites",
    "id bigint, name text, url_namespace text",
    "luid text, status text, created_at timestamp, updated_at timestamp",
)
SITES_SQL = """
    SELECT
        sites.id AS id,
        sites.luid AS luid,
        sites.name AS name,
        sites.url_namespace AS url_namespace,
        sites.status AS status,
        sites.created_at AS created_at,
        sites.updated_at AS updated_at
    FROM sites
"""


def site_rows(names: Mapping[str, str]) -> pa.Table:
    """Return rows of Site where no repository has them; ``names`` are the labels of sites by LUID."""
    values = {
        "id": [number_of(luid) for luid in names],
        "luid": list(names),
        "name": list(names.values()),
        "url_namespace": ["" if name == DEFAULT_SITE else name for name in names.values()],
    }
    return pa.table(
        {
            column.name: pa.array(values.get(column.name, [None] * len(names)), column.type.arrow)
            for column in columns_of(Site)
        }
    )


@dataclass(frozen=True)
class Project:
    """A project; ``path`` names it and those above it: ``Finance/EMEA``."""

    id: int
    luid: str | None
    site_id: int | None
    name: str | None
    path: str | None
    parent_project_id: int | None
    owner_id: int | None
    description: str | None
    state: str | None
    created_at: datetime | None
    updated_at: datetime | None = volatile()


PROJECTS_SQL = f"""
    WITH RECURSIVE {PATHS}
    SELECT
        projects.id AS id,
        projects.luid AS luid,
        projects.site_id AS site_id,
        projects.name AS name,
        coalesce(paths.path, projects.name) AS path,
        projects.parent_project_id AS parent_project_id,
        projects.owner_id AS owner_id,
        projects.description AS description,
        projects.state AS state,
        projects.created_at AS created_at,
        projects.updated_at AS updated_at
    FROM projects
    LEFT JOIN paths ON paths.id = projects.id
"""
