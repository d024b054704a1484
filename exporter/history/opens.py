"""The table ``workbook_opens``: when workbooks were opened, and by whom, for the last eight weeks.

An opening is the load of a view. Rows have five minutes each, a row for each user: those of one poll once, of several
polls maybe again. So storing them only adds rows, whatever is there already; nothing here may stop the archive.
"""

import duckdb

TABLE = "workbook_opens"
KEPT = "INTERVAL 57 DAY"
"""Eight weeks in every time zone."""

IS_OPENING = "action = 'bootstrapSession' AND workbook IS NOT NULL AND \"view\" IS NOT NULL"
_SLOT = "time_bucket(INTERVAL 5 MINUTE, created_at)"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table, and fill it from the requests of an older file."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {TABLE} (slot TIMESTAMP, site_id BIGINT, workbook VARCHAR, user_id BIGINT)"
    )
    newest = "(SELECT marked_at FROM marks WHERE name = 'newest')"
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    for source in sorted(tables & {"http_requests", "cloud_requests"}):
        connection.execute(
            f"""
            INSERT INTO {TABLE}
            SELECT DISTINCT {_SLOT}, TRY_CAST(site_id AS BIGINT), workbook, TRY_CAST(user_id AS BIGINT)
            FROM {source}
            WHERE isfinite(created_at)
                AND created_at >= {newest} - {KEPT}
                AND created_at <= {newest}
                AND {IS_OPENING}
            """
        )


def store(connection: duckdb.DuckDBPyConnection, relation: str, plausible: str, *, with_users: bool) -> None:
    """Store the openings among the requests of a relation that are ``plausible``, a condition."""
    user = "user_id" if with_users else "NULL"
    connection.execute(
        f"""
        INSERT INTO {TABLE}
        SELECT DISTINCT {_SLOT}, site_id, workbook, {user}
        FROM {relation} AS rows
        WHERE {plausible} AND {IS_OPENING}
        """
    )


def forget_users(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove who opened workbooks; when they were opened stays."""
    connection.execute(f"UPDATE {TABLE} SET user_id = NULL WHERE user_id IS NOT NULL")
