"""Total counts of views that the REST API reports, counted from one poll to the next: a counter never falls.

A total begins anew where a view is published again, and falls where a backup is restored: neither is counted down.
"""

import duckdb
import pyarrow as pa

from exporter.history.arrow import registered

TABLE = "view_totals"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (site VARCHAR, view_id VARCHAR, total BIGINT)")


def count(connection: duckdb.DuckDBPyConnection, family: str, site: str, rows: pa.Table) -> None:
    """Add what the totals of a site (columns view_id, workbook, view, total) have grown by to a counter."""
    with registered(connection, reported=rows):
        connection.execute(
            f"""
            MERGE INTO counters USING (
                SELECT
                    $1 AS family,
                    [$2, reported.workbook, reported.view] AS labels,
                    sum(greatest(reported.total - coalesce(known.total, 0), 0))::DOUBLE AS value
                FROM reported
                LEFT JOIN {TABLE} AS known ON known.site = $2 AND known.view_id = reported.view_id
                GROUP BY ALL
            ) AS grown ON counters.family = grown.family AND counters.labels = grown.labels
            WHEN MATCHED THEN UPDATE SET value = counters.value + grown.value
            WHEN NOT MATCHED THEN INSERT (family, labels, value) VALUES (grown.family, grown.labels, grown.value)
            """,
            [family, site],
        )
        connection.execute(
            f"""
            MERGE INTO {TABLE} USING reported ON {TABLE}.site = $1 AND {TABLE}.view_id = reported.view_id
            WHEN MATCHED AND {TABLE}.total <> reported.total THEN UPDATE SET total = reported.total
            WHEN NOT MATCHED THEN INSERT (site, view_id, total) VALUES ($1, reported.view_id, reported.total)
            """,
            [site],
        )
