"""Names and columns of the tables of the history, and the SQL conditions that several modules share."""

from collections.abc import Mapping

import duckdb

# The columns of http_requests since Tableau 2020.2, without user_cookie; others are added as they are met.
REQUEST_COLUMNS: Mapping[str, str] = {
    "id": "BIGINT",
    "controller": "VARCHAR",
    "action": "VARCHAR",
    "http_referer": "VARCHAR",
    "http_user_agent": "VARCHAR",
    "http_request_uri": "VARCHAR",
    "remote_ip": "VARCHAR",
    "created_at": "TIMESTAMP",
    "session_id": "VARCHAR",
    "completed_at": "TIMESTAMP",
    "port": "BIGINT",
    "user_id": "BIGINT",
    "worker": "VARCHAR",
    "status": "BIGINT",
    "user_ip": "VARCHAR",
    "vizql_session": "VARCHAR",
    "site_id": "BIGINT",
    "currentsheet": "VARCHAR",
    "flags_used": "BIGINT",
    "asset_type": "VARCHAR",
    "workbook": "VARCHAR",
    "view": "VARCHAR",
}

AUDIT = "freshness_audit"

REQUESTS = "http_requests"
ARCHIVED_AT = "archived_at"
"""The instant of the transaction that archived an event; each transaction's is later than all before it."""
IMPORTED = f"{ARCHIVED_AT} IN (SELECT {ARCHIVED_AT} FROM imports)"
NOT_COUNTED = f"{ARCHIVED_AT} IN (SELECT {ARCHIVED_AT} FROM imports WHERE NOT counted)"
"""The conditions that a request was imported, and that it is in no counter."""


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def all_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return the columns and types of every table: one query costs as much for all of them as for one."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    ).fetchall():
        found.setdefault(table, {})[column] = kind
    return found


def table_columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns and types of a table; empty when there is no such table."""
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE table_name = ? AND NOT internal ORDER BY column_index",
        [table],
    ).fetchall()
    return dict(rows)
