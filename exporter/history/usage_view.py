"""The view ``usage``: each request with the names of its site, user, workbook, view, project and owner.

To find the newest of many thousand names costs more than to read some rows: an export finds them once for all of its
slices, and joins them as the view does.
"""

from collections.abc import Mapping

import duckdb

VIEW = "usage"
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
        requests.*,
        sites.name AS site_name,
        sites.site AS site,
        people.name AS user_name,
        people.friendly_name AS user_friendly_name,
        workbooks.name AS workbook_name,
        sheets.name AS view_name,
        projects.path AS project_name,
        owners.name AS owner_name,
        owners.friendly_name AS owner_friendly_name
    FROM {requests} AS requests
    LEFT JOIN site_names AS sites ON sites.id = requests.site_id
    LEFT JOIN person_names AS people ON people.id = requests.user_id
    LEFT JOIN sheet_names AS sheets
        ON sheets.site_id = requests.site_id AND sheets.view_url = requests.workbook || '/' || requests.view
    LEFT JOIN book_ids AS books ON books.site_id = requests.site_id AND books.repository_url = requests.workbook
    LEFT JOIN workbook_names AS workbooks ON workbooks.id = coalesce(sheets.workbook_id, books.id)
    LEFT JOIN project_names AS projects ON projects.id = workbooks.project_id
    LEFT JOIN person_names AS owners ON owners.id = workbooks.owner_id
"""


def named(requests: str) -> str:
    """Return the query that joins requests with relations of the names above."""
    return _NAMED.format(requests=requests)


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the view anew."""
    parts = ", ".join(f"{name} AS ({query})" for name, query in NAMES.items())
    connection.execute(f"CREATE OR REPLACE VIEW {VIEW} AS WITH {parts} {named('http_requests')}")
