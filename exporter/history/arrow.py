"""Arrow tables read by DuckDB under a name, for as long as a statement needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa


class Stream:
    """A table as a stream of its batches, which a prepared statement reads anew each time, and may be exchanged."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:  # noqa: ANN401 - Arrow's protocol
        """Begin the stream."""
        return self.table.to_reader().__arrow_c_stream__(requested_schema)


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Make Arrow tables readable by name for the length of the block."""
    for name, table in tables.items():
        connection.register(name, table)
    yield
    # Not after an error: the transaction is void, and a second error would hide the first.
    for name in tables:
        connection.unregister(name)
