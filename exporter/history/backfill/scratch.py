"""Temporary tables of a backfill, in a database beside the history: they spill to disk where memory is short."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from exporter.history.arrow import registered
from exporter.history.opening import CONFINED

# Beside the limit of the history itself; more spills to the disk.
_MEMORY = "128MB"
_TABLES = """
    CREATE TABLE increments (
        family VARCHAR, labels VARCHAR[], le DOUBLE, step BIGINT, observations DOUBLE, seconds DOUBLE
    );
    CREATE TABLE totals (family VARCHAR, labels VARCHAR[], le DOUBLE, observations DOUBLE, seconds DOUBLE);
    CREATE TABLE series (family VARCHAR, labels VARCHAR[], begins BIGINT);
    CREATE TABLE visits (whole BOOLEAN, site VARCHAR, person BIGINT, step BIGINT);
    CREATE TABLE audits (
        site VARCHAR, project VARCHAR, asset_type VARCHAR, asset_id VARCHAR, asset_name VARCHAR,
        refreshed_us BIGINT, sla_hours DOUBLE, audited_at TIMESTAMP
    );
"""


@contextmanager
def scratch(threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Make an empty one, which is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="tableau-exporter-") as folder:
        config = {**CONFINED, "memory_limit": _MEMORY, "threads": threads, "temp_directory": folder}
        with duckdb.connect(config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(_TABLES)
            yield connection


def put(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Add rows to a table."""
    with registered(connection, arriving=rows):
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM arriving")
