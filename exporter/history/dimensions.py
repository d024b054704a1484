"""Dimension tables (sites, users, workbooks, ...) by day.

A new version of a row is stored when it differs from the last, at most one a day. So a name can be resolved after its
asset is gone, and a history without changes does not grow. What the source no longer lists is noted in ``removals``
until it is listed again.
"""

from collections.abc import Sequence
from datetime import date

import duckdb
import pyarrow as pa

from exporter.collector import Column
from exporter.history.arrow import registered


def keep(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Column], rows: pa.Table, today: date
) -> int:
    """Store the rows that differ from their latest version; return how many."""
    compared = [column.name for column in columns if not column.volatile and column.name != "id"]
    differs = " OR ".join(f'latest."{name}" IS DISTINCT FROM current_rows."{name}"' for name in compared) or "false"
    with registered(connection, current_rows=rows):
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE changed AS
            SELECT current_rows.*
            FROM current_rows
            LEFT JOIN (
                SELECT * FROM "{table}" QUALIFY row_number() OVER (PARTITION BY id ORDER BY day DESC) = 1
            ) AS latest ON latest.id = current_rows.id
            WHERE latest.id IS NULL OR {differs}
            """
        )
        stored = connection.execute(
            f'DELETE FROM "{table}" USING changed WHERE "{table}".id = changed.id AND "{table}".day = DATE \'{today}\''
        )
        stored = connection.execute(f"INSERT INTO \"{table}\" BY NAME SELECT DATE '{today}' AS day, * FROM changed")
        count = int(stored.fetchall()[0][0])
        connection.execute("DROP TABLE changed")
        _note_removals(connection, table, today)
    return count


def _note_removals(connection: duckdb.DuckDBPyConnection, table: str, today: date) -> None:
    """Note which rows of a table are not among ``current_rows``, on the first day of that."""
    connection.execute(
        "DELETE FROM removals USING current_rows WHERE removals.source = ? AND removals.id = current_rows.id", [table]
    )
    connection.execute(
        f"""
        INSERT INTO removals BY NAME
        SELECT
            $source AS source,
            kept.id AS id,
            $today AS day
        FROM (SELECT DISTINCT id FROM "{table}") AS kept
        ANTI JOIN current_rows ON current_rows.id = kept.id
        ANTI JOIN (FROM removals WHERE source = $source) AS noted ON noted.id = kept.id
        """,
        {"source": table, "today": today},
    )


def site_label(namespace: str | None) -> str:
    """Return the label of a site from its content URL, which is empty for the Default site."""
    return namespace or "default"


def known_sites(connection: duckdb.DuckDBPyConnection) -> dict[int, str]:
    """Return the label of every site that was ever seen, by its id."""
    rows = connection.execute("SELECT id, url_namespace FROM latest_sites").fetchall()
    return {site: site_label(namespace) for site, namespace in rows}


def known_users(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return every user that was ever seen (id), and the person behind it (system_user_id)."""
    return connection.sql("SELECT id, system_user_id FROM latest_users").to_arrow_table()
