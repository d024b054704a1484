"""Refreshes of assets that the REST and Metadata APIs reported, and what is known of each asset because of them.

``asset_refreshes`` has each refresh once, with its job where one was fetched: it teaches how often an asset is
refreshed, and saves a second request for a job. ``asset_freshness`` has the last that is known of each asset,
as long as it is listed; ``freshness_sources`` has when each source of freshness was last read whole.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from exporter.history.arrow import registered
from exporter.inventory import FRESHNESS

TABLE = "asset_refreshes"
COLUMNS = "asset_type VARCHAR, asset_id VARCHAR, refreshed_at TIMESTAMP, job_id VARCHAR, noted_at TIMESTAMP"
# Tableau forgets its jobs long before.
REMEMBERED = "INTERVAL 31 DAY"
# What is no longer listed may come back: out of the recycle bin, or when a right is given again.
UNLISTED = "INTERVAL 30 DAY"


@dataclass(frozen=True)
class Remembered:
    """What is known of a site's assets after a poll (rows of AssetFreshness), and the keys of those it has now."""

    known: pa.Table
    listed: pa.Table


Read = dict[tuple[str, str], datetime]
"""When each source of freshness was last read whole: ``{(site, source): UTC}``."""


def create_refreshes(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table."""
    connection.execute(f"CREATE TABLE asset_refreshes ({COLUMNS})")


def note(connection: duckdb.DuckDBPyConnection, rows: pa.Table, at: datetime) -> int:
    """Store the refreshes (asset_type, asset_id, refreshed_at, job_id) that are not there yet; return how many.

    One that is yet to come, by a wrong clock, would make all the others old.
    """
    with registered(connection, reported=rows):
        stored = connection.execute(
            """
            INSERT INTO asset_refreshes
            SELECT DISTINCT asset_type, asset_id, refreshed_at, job_id, $1::TIMESTAMP
            FROM reported
            WHERE reported.refreshed_at <= $1::TIMESTAMP + INTERVAL 1 HOUR AND NOT EXISTS (
                SELECT 1
                FROM asset_refreshes AS known
                WHERE known.asset_id = reported.asset_id
                    AND known.asset_type = reported.asset_type
                    AND known.refreshed_at = reported.refreshed_at
                    AND known.job_id IS NOT DISTINCT FROM reported.job_id
                    AND known.refreshed_at >= (SELECT min(refreshed_at) FROM reported)
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
    """Return how many jobs were requested since an instant."""
    asked = "SELECT count(DISTINCT job_id) FROM asset_refreshes WHERE job_id IS NOT NULL AND noted_at >= ?"
    return int(connection.execute(asked, [since]).fetchall()[0][0])


def create_freshness(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables, and fill them from the refreshes and audits of an older file."""
    connection.execute(
        "CREATE TABLE asset_freshness (site VARCHAR, asset_type VARCHAR, asset_id VARCHAR, extracts BIGINT,"
        " has_live BOOLEAN, uses VARCHAR, refreshed_at TIMESTAMP, refreshed_by VARCHAR, made_at TIMESTAMP,"
        " listed_at TIMESTAMP)"
    )
    connection.execute("CREATE TABLE freshness_sources (site VARCHAR, source VARCHAR, read_at TIMESTAMP)")
    connection.execute(
        """
        INSERT INTO asset_freshness (site, asset_type, asset_id, refreshed_at, refreshed_by, listed_at)
        SELECT audited.site, audited.asset_type, audited.asset_id, reported.refreshed_at, reported.refreshed_by,
            audited.listed_at
        FROM (
            SELECT asset_type, asset_id, arg_max(site, audit_timestamp) AS site, max(audit_timestamp) AS listed_at
            FROM freshness_audit
            GROUP BY asset_type, asset_id
        ) AS audited
        JOIN (
            SELECT
                asset_type,
                asset_id,
                max(refreshed_at) AS refreshed_at,
                CASE
                    WHEN asset_type = 'flow' OR arg_max(coalesce(job_id, ''), refreshed_at) <> '' THEN 'job'
                    ELSE 'metadata'
                END AS refreshed_by
            FROM asset_refreshes
            GROUP BY asset_type, asset_id
        ) AS reported USING (asset_type, asset_id)
        """
    )


def freshness(connection: duckdb.DuckDBPyConnection) -> dict[str, pa.Table]:
    """Return the rows of AssetFreshness by site; none where an older program made the file."""
    if not _exists(connection, "asset_freshness"):
        return {}
    columns = ", ".join(FRESHNESS.names)
    rows = connection.sql(f"SELECT site, {columns} FROM asset_freshness ORDER BY site").to_arrow_table()
    sites = rows.column("site").to_pylist()
    bounds = [place for place, site in enumerate(sites) if not place or site != sites[place - 1]] + [len(sites)]
    found = rows.select(FRESHNESS.names).cast(FRESHNESS)
    return {sites[start]: found.slice(start, end - start) for start, end in itertools.pairwise(bounds)}


def store_freshness(
    connection: duckdb.DuckDBPyConnection, sites: Mapping[str, Remembered], read_at: Read, at: datetime
) -> dict[str, pa.Table]:
    """Store the freshness of the assets of some sites, and when sources were read; return the freshness of all."""
    for site, found in sites.items():
        _store_site(connection, site, found, at)
    if sites:
        _delete_unlisted(connection, at)
    _store_sources(connection, read_at)
    return freshness(connection)


def _store_site(connection: duckdb.DuckDBPyConnection, site: str, found: Remembered, at: datetime) -> None:
    """Store the rows of AssetFreshness that changed."""
    columns = ", ".join(f"known.{name}" for name in FRESHNESS.names)
    differs = " OR ".join(f"known.{name} IS DISTINCT FROM stored.{name}" for name in FRESHNESS.names[2:])
    with registered(connection, known=found.known, listed=found.listed):
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE changed AS
            SELECT $1 AS site, {columns}, CASE WHEN listed.asset_id IS NULL THEN stored.listed_at ELSE $2 END::TIMESTAMP
                AS listed_at
            FROM known
            LEFT JOIN asset_freshness AS stored USING (asset_type, asset_id)
            LEFT JOIN listed USING (asset_type, asset_id)
            WHERE (known.extracts IS NOT NULL OR known.refreshed_at IS NOT NULL OR known.uses IS NOT NULL)
                AND (listed.asset_id IS NOT NULL OR stored.site = $1)
                AND (stored.asset_id IS NULL OR stored.site <> $1 OR {differs}
                    OR (listed.asset_id IS NOT NULL AND stored.listed_at < $2::TIMESTAMP - INTERVAL 1 DAY))
            """,
            [site, at],
        )
    connection.execute(
        "DELETE FROM asset_freshness WHERE (asset_type, asset_id) IN (SELECT (asset_type, asset_id) FROM changed)"
    )
    connection.execute("INSERT INTO asset_freshness SELECT * FROM changed")
    connection.execute("DROP TABLE changed")


def _delete_unlisted(connection: duckdb.DuckDBPyConnection, at: datetime) -> None:
    """Remove what has not been listed for long, but for the sources that a listed workbook uses."""
    connection.execute(
        f"""
        DELETE FROM asset_freshness
        WHERE listed_at < $1::TIMESTAMP - {UNLISTED}
            AND asset_id NOT IN (
                SELECT unnest(string_split(uses, chr(31)))
                FROM asset_freshness
                WHERE uses IS NOT NULL AND listed_at >= $1::TIMESTAMP - {UNLISTED}
            )
        """,
        [at],
    )


def sources(connection: duckdb.DuckDBPyConnection) -> Read:
    """Return when each source of freshness was last read whole."""
    if not _exists(connection, "freshness_sources"):
        return {}
    rows = connection.execute("SELECT site, source, read_at FROM freshness_sources").fetchall()
    return {(site, source): read_at for site, source, read_at in rows}


def _store_sources(connection: duckdb.DuckDBPyConnection, read: Read) -> None:
    """Replace when each source of freshness was last read whole."""
    connection.execute("DELETE FROM freshness_sources")
    if read:
        rows = [(site, source, at) for (site, source), at in sorted(read.items())]
        columns = dict(zip(("site", "source", "read_at"), zip(*rows, strict=True), strict=True))
        with registered(connection, read=pa.table(columns)):
            connection.execute("INSERT INTO freshness_sources SELECT * FROM read")


def _exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]).fetchall())
