"""The views of the history: ``latest_...``, ``workbook_datasources``, ``archived_requests`` and ``usage``.

``archived_requests`` has the requests to Server and to Cloud, ``usage`` each of them with the names of its site, user,
workbook, view, project and owner.

To find the newest of many thousand names costs more than to read some rows: an export finds them once for all of its
slices, and joins them as the view does.
"""

from collections.abc import Mapping

import duckdb

from exporter.history.opening import NAMED
from exporter.history.tables import quoted, table_columns

VIEW = "usage"
REQUESTS = "archived_requests"
_OF_REQUESTS = ("named_user_id", "view_title", "workbook_title")
"""What it has beside the columns of http_requests: numbers of users that have names, and names that came with it."""
# A sheet's address is unique only within its site, and may be given again after its view was removed: the newest holds.
NAMES: Mapping[str, str] = {
    "site_names": """
        SELECT id, name, coalesce(nullif(url_namespace, ''), CASE WHEN id IS NOT NULL THEN 'default' END) AS site
        FROM latest_sites
    """,
    "person_names": "SELECT id, name, friendly_name FROM latest_users",
    "sheet_names": """
        SELECT site_id, view_url, max_by(name, (day, id)) AS name, max_by(workbook_id, (day, id)) AS workbook_id
        FROM latest_views
        GROUP BY site_id, view_url
    """,
    "book_ids": """
        SELECT site_id, repository_url, max_by(id, (day, id)) AS id
        FROM latest_workbooks
        GROUP BY site_id, repository_url
    """,
    "workbook_names": "SELECT id, name, project_id, owner_id FROM latest_workbooks",
    "project_names": "SELECT id, path FROM latest_projects",
}
"""What requests are joined with."""

_NAMED = """
    SELECT
        requests.* EXCLUDE ({own}),
        sites.name AS site_name,
        sites.site AS site,
        people.name AS user_name,
        people.friendly_name AS user_friendly_name,
        coalesce(workbooks.name, requests.workbook_title) AS workbook_name,
        coalesce(sheets.name, requests.view_title) AS view_name,
        projects.path AS project_name,
        owners.name AS owner_name,
        owners.friendly_name AS owner_friendly_name
    FROM {requests} AS requests
    LEFT JOIN site_names AS sites ON sites.id = requests.site_id
    LEFT JOIN person_names AS people ON people.id = requests.named_user_id
    LEFT JOIN sheet_names AS sheets
        ON sheets.site_id = requests.site_id AND sheets.view_url = requests.workbook || '/' || requests.view
    LEFT JOIN book_ids AS books ON books.site_id = requests.site_id AND books.repository_url = requests.workbook
    LEFT JOIN workbook_names AS workbooks ON workbooks.id = coalesce(sheets.workbook_id, books.id)
    LEFT JOIN project_names AS projects ON projects.id = workbooks.project_id
    LEFT JOIN person_names AS owners ON owners.id = workbooks.owner_id
"""


def named(requests: str) -> str:
    """Return the query that joins the requests of such a view with relations of the names above."""
    return _NAMED.format(requests=requests, own=", ".join(_OF_REQUESTS))


def _create_usage(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the view anew."""
    parts = ", ".join(f"{name} AS ({query})" for name, query in NAMES.items())
    connection.execute(f"CREATE OR REPLACE VIEW {VIEW} AS WITH {parts} {named(REQUESTS)}")


# Users of Cloud have numbers of their own, which are no numbers of Server's.
_ALL_REQUESTS = """
    CREATE OR REPLACE VIEW {view} AS
    SELECT
        *,
        user_id AS named_user_id,
        NULL::VARCHAR AS view_title,
        NULL::VARCHAR AS workbook_title
    FROM http_requests
    UNION ALL BY NAME
    SELECT {columns}
    FROM cloud_requests
"""
_CLOUD = "cloud_requests"


def _create_archived_requests(connection: duckdb.DuckDBPyConnection) -> None:
    server, cloud = table_columns(connection, "http_requests"), table_columns(connection, _CLOUD)
    shared = [quoted(name) for name in cloud if name in server or name in _OF_REQUESTS]
    connection.execute(_ALL_REQUESTS.format(view=REQUESTS, columns=", ".join(shared)))


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views anew: DuckDB refuses one whose table has gained a column since."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables.issuperset({*NAMED, "removals", _CLOUD}):
        return
    for table in NAMED:
        connection.execute(_LATEST.format(table=table))
    connection.execute(WORKBOOK_DATASOURCES)
    _create_archived_requests(connection)
    _create_usage(connection)


_LATEST = """
    CREATE OR REPLACE VIEW latest_{table} AS
    SELECT
        versions.*,
        removals.day AS removed_on
    FROM {table} AS versions
    LEFT JOIN removals ON removals.source = '{table}' AND removals.id = versions.id
    QUALIFY row_number() OVER (PARTITION BY versions.id ORDER BY versions.day DESC) = 1
"""


# A published source is named by its repository_url, which is unique on its site only, and may be given again. A version
# holds from its day until that of the next, or until its row is no longer listed.
WORKBOOK_DATASOURCES = """
    CREATE OR REPLACE VIEW workbook_datasources AS
    WITH
        links AS (
            SELECT
                versions.owner_id AS workbook_id,
                versions.owner_type AS owner_type,
                versions.dbclass AS dbclass,
                versions.dbname AS dbname,
                versions.day AS since,
                coalesce(lead(versions.day) OVER of_row, removals.day) AS until
            FROM data_connections AS versions
            LEFT JOIN removals ON removals.source = 'data_connections' AND removals.id = versions.id
            WINDOW of_row AS (PARTITION BY versions.id ORDER BY versions.day)
        ),
        sources AS (
            SELECT
                versions.id AS datasource_id,
                versions.site_id AS site_id,
                versions.repository_url AS repository_url,
                versions.published AS published,
                versions.day AS since,
                coalesce(lead(versions.day) OVER of_row, removals.day) AS until
            FROM datasources AS versions
            LEFT JOIN removals ON removals.source = 'datasources' AND removals.id = versions.id
            WINDOW of_row AS (PARTITION BY versions.id ORDER BY versions.day)
        ),
        uses AS (
            SELECT
                books.site_id AS site_id,
                books.id AS workbook_id,
                sources.datasource_id AS datasource_id,
                greatest(links.since, sources.since) AS since,
                least(
                    coalesce(links.until, 'infinity'),
                    coalesce(sources.until, 'infinity'),
                    coalesce(books.removed_on, 'infinity')
                ) AS until
            FROM links
            JOIN latest_workbooks AS books ON books.id = links.workbook_id
            JOIN sources ON sources.site_id = books.site_id AND sources.repository_url = links.dbname
            WHERE lower(links.owner_type) = 'workbook' AND lower(links.dbclass) = 'sqlproxy' AND sources.published
        )
    SELECT
        min(since) AS day,
        site_id,
        workbook_id,
        datasource_id,
        nullif(max(until), 'infinity') AS removed_on
    FROM uses
    WHERE since < until
    GROUP BY site_id, workbook_id, datasource_id
"""
