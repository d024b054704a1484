"""Data sources, extracts, flows, and the connections of content to databases. Passwords are never read."""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import personal, relation, volatile
from exporter.collectors._projects import PLACES


@dataclass(frozen=True)
class Datasource:
    """A data source, ``published`` for all or inside of one workbook (``parent_workbook_id``). The size is in bytes."""

    id: int
    luid: str | None
    site_id: int | None
    name: str | None
    repository_url: str | None
    owner_id: int | None
    project_id: int | None
    published: bool
    parent_workbook_id: int | None
    state: str | None
    db_class: str | None
    db_name: str | None
    is_certified: bool | None
    data_engine_extracts: bool | None
    incrementable_extracts: bool | None
    refreshable_extracts: bool | None
    is_hierarchical: bool | None
    table_name: str | None
    description: str | None
    document_version: str | None
    revision: str | None
    created_at: datetime | None
    first_published_at: datetime | None
    last_published_at: datetime | None = volatile()
    updated_at: datetime | None = volatile()
    extracts_refreshed_at: datetime | None = volatile()
    extracts_incremented_at: datetime | None = volatile()
    size: int | None = volatile()
    content_version: int | None = volatile()
    lock_version: int | None = volatile()


DATASOURCES = relation(
    "datasources",
    "id bigint, name text, site_id bigint",
    "luid text, repository_url text, owner_id bigint, project_id bigint, connectable boolean,"
    " parent_workbook_id bigint, state text, db_class text, db_name text, is_certified boolean,"
    " data_engine_extracts boolean, created_at timestamp, first_published_at timestamp, last_published_at timestamp,"
    " updated_at timestamp, extracts_refreshed_at timestamp, extracts_incremented_at timestamp, size bigint,"
    " incrementable_extracts boolean, refreshable_extracts boolean, is_hierarchical boolean, table_name text,"
    " description text, document_version text, revision text, content_version bigint, lock_version bigint",
)
# The view _datasources has the published ones alone, and a row for each of their connections.
DATASOURCES_SQL = f"""
    WITH {PLACES}
    SELECT DISTINCT ON (datasources.id)
        datasources.id AS id,
        datasources.luid AS luid,
        datasources.site_id AS site_id,
        datasources.name AS name,
        datasources.repository_url AS repository_url,
        datasources.owner_id AS owner_id,
        coalesce(places.project_id, datasources.project_id) AS project_id,
        coalesce(datasources.connectable, datasources.parent_workbook_id IS NULL) AS published,
        datasources.parent_workbook_id AS parent_workbook_id,
        datasources.state AS state,
        datasources.db_class AS db_class,
        datasources.db_name AS db_name,
        datasources.is_certified AS is_certified,
        datasources.data_engine_extracts AS data_engine_extracts,
        datasources.incrementable_extracts AS incrementable_extracts,
        datasources.refreshable_extracts AS refreshable_extracts,
        datasources.is_hierarchical AS is_hierarchical,
        datasources.table_name AS table_name,
        datasources.description AS description,
        datasources.document_version AS document_version,
        datasources.revision AS revision,
        datasources.created_at AS created_at,
        datasources.first_published_at AS first_published_at,
        datasources.last_published_at AS last_published_at,
        datasources.updated_at AS updated_at,
        datasources.extracts_refreshed_at AS extracts_refreshed_at,
        datasources.extracts_incremented_at AS extracts_incremented_at,
        datasources.size AS size,
        datasources.content_version AS content_version,
        datasources.lock_version AS lock_version
    FROM datasources
    LEFT JOIN places ON places.content_type = 'datasource' AND places.content_id = datasources.id
    ORDER BY datasources.id, datasources.db_class, datasources.db_name
"""


@dataclass(frozen=True)
class Extract:
    """An extract of a workbook or of a data source. The size is in bytes."""

    id: int
    site_id: int | None
    workbook_id: int | None
    datasource_id: int | None
    descriptor: str | None
    created_at: datetime | None
    updated_at: datetime | None = volatile()
    size: int | None = volatile()


EXTRACTS = relation(
    "extracts",
    "id bigint, workbook_id bigint, datasource_id bigint",
    "descriptor text, created_at timestamp, updated_at timestamp",
    newer={"2021.2": "site_id bigint, size bigint"},
)
EXTRACT_OWNERS = (
    relation("workbooks", "id bigint, site_id bigint", optional=True),
    relation("datasources", "id bigint, site_id bigint", optional=True),
)
# Before 2021.2 an extract has no site.
EXTRACTS_SQL = """
    SELECT
        extracts.id AS id,
        coalesce(extracts.site_id, workbooks.site_id, datasources.site_id) AS site_id,
        extracts.workbook_id AS workbook_id,
        extracts.datasource_id AS datasource_id,
        extracts.descriptor AS descriptor,
        extracts.created_at AS created_at,
        extracts.updated_at AS updated_at,
        extracts.size AS size
    FROM extracts
    LEFT JOIN workbooks ON workbooks.id = extracts.workbook_id
    LEFT JOIN datasources ON datasources.id = extracts.datasource_id
"""


@dataclass(frozen=True)
class Flow:
    """A flow of Tableau Prep. The size is in bytes."""

    id: int
    site_id: int | None
    is_deleted: bool | None
    state: str | None
    size: int | None


FLOWS = relation(
    "flows", "id bigint, site_id bigint", "is_deleted boolean, size bigint", newer={"2025.3": "state text"}
)
FLOWS_SQL = """
    SELECT
        flows.id AS id,
        flows.site_id AS site_id,
        flows.is_deleted AS is_deleted,
        flows.state AS state,
        flows.size AS size
    FROM flows
"""


@dataclass(frozen=True)
class DataConnection:
    """A connection of a workbook or a data source; ``sqlproxy`` names a published source by its ``repository_url``."""

    id: int
    luid: str | None
    site_id: int | None
    owner_type: str | None
    owner_id: int | None
    datasource_id: int | None
    caption: str | None
    name: str | None
    dbclass: str | None
    dbname: str | None
    server: str | None
    port: int | None
    tablename: str | None
    has_extract: bool | None
    created_at: datetime | None
    username: str | None = personal()
    updated_at: datetime | None = volatile()


DATA_CONNECTIONS = relation(
    "data_connections",
    "id bigint, owner_type text, owner_id bigint, dbclass text, dbname text",
    "luid text, site_id bigint, datasource_id bigint, caption text, name text, server text, port bigint,"
    " tablename text, username text, has_extract boolean, created_at timestamp, updated_at timestamp",
)
# A server may be a URL. All up to its last @ may be of a password, and all from the first mark of parameters on.
DATA_CONNECTIONS_SQL = r"""
    SELECT
        data_connections.id AS id,
        data_connections.luid AS luid,
        data_connections.site_id AS site_id,
        data_connections.owner_type AS owner_type,
        data_connections.owner_id AS owner_id,
        data_connections.datasource_id AS datasource_id,
        data_connections.caption AS caption,
        data_connections.name AS name,
        data_connections.dbclass AS dbclass,
        data_connections.dbname AS dbname,
        regexp_replace(
            regexp_replace(data_connections.server, '^(\s*([A-Za-z][A-Za-z0-9+.:-]*:)?//)?.*@', '\1'),
            '[?#;].*$',
            ''
        ) AS server,
        data_connections.port AS port,
        data_connections.tablename AS tablename,
        data_connections.has_extract AS has_extract,
        data_connections.created_at AS created_at,
        data_connections.username AS username,
        data_connections.updated_at AS updated_at
    FROM data_connections
"""
