"""Arrow tables read by DuckDB under a name, for as long as a statement needs them."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Make Arrow tables readable by name for the length of the block."""
    for name, table in tables.items():
        connection.register(name, table)
    yield
    # Not after an error: the transaction is void, and a second error would hide the first.
    for name in tables:
        connection.unregister(name)
