"""Refreshes of assets that the REST and Metadata APIs told of: each once, with the job where one was asked for.

They teach how often an asset is refreshed, and spare Tableau the second look-up of a job.
"""

from datetime import datetime

import duckdb
import pyarrow as pa

from exporter.history.registering import registered

TABLE = "asset_refreshes"
COLUMNS = "asset_type VARCHAR, asset_id VARCHAR, refreshed_at TIMESTAMP, job_id VARCHAR, noted_at TIMESTAMP"
# Tableau forgets its jobs long before.
REMEMBERED = "INTERVAL 31 DAY"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table."""
    connection.execute(f"CREATE TABLE asset_refreshes ({COLUMNS})")


def note(connection: duckdb.DuckDBPyConnection, rows: pa.Table, at: datetime) -> int:
    """Store the refreshes (asset_type, asset_id, refreshed_at, job_id) that are not there yet; return how many.

    One that is yet to come, by a wrong clock, would make all the others old.
    """
    with registered(connection, told=rows):
        stored = connection.execute(
            """
            INSERT INTO asset_refreshes
            SELECT DISTINCT told.asset_type, told.asset_id, told.refreshed_at, told.job_id, $1::TIMESTAMP
            FROM told
            WHERE told.refreshed_at <= $1::TIMESTAMP + INTERVAL 1 HOUR AND NOT EXISTS (
                SELECT 1
                FROM asset_refreshes AS known
                WHERE known.asset_id = told.asset_id
                    AND known.asset_type = told.asset_type
                    AND known.refreshed_at = told.refreshed_at
                    AND known.job_id IS NOT DISTINCT FROM told.job_id
                    AND known.refreshed_at >= (SELECT min(refreshed_at) FROM told)
            )
            """,
            [at],
        )
        return int(stored.fetchall()[0][0])


def looked_up(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the jobs whose assets are known (job_id, asset_type, asset_id, completed_at)."""
    return connection.sql(
        f"""
        SELECT job_id, asset_type, asset_id, refreshed_at AS completed_at
        FROM asset_refreshes
        WHERE job_id IS NOT NULL AND noted_at >= (SELECT max(noted_at) - {REMEMBERED} FROM asset_refreshes)
        """
    ).to_arrow_table()


def look_ups_since(connection: duckdb.DuckDBPyConnection, since: datetime) -> int:
    """Return how many jobs were asked for since an instant."""
    asked = "SELECT count(DISTINCT job_id) FROM asset_refreshes WHERE job_id IS NOT NULL AND noted_at >= ?"
    return int(connection.execute(asked, [since]).fetchall()[0][0])
