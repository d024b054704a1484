"""Connections: which database, or which published data source, content reads. Passwords are never read."""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import personal, relation, volatile


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
