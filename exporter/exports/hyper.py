"""Hyper files for Tableau, with one table, ``"Extract"."Extract"``, the only one that every Tableau publishes.

A version of the file is made by hyperd, the database server of the library, in a copy beside the one that is there, and
replaces it when its rows were counted: on a full disk hyperd reports success, and its file is empty. So a reader
holds a whole file, and what breaks off leaves the old one. hyperd is a process of its own for as long as it writes, and
ends with this one. It reads the rows as Parquet, a slice at a time.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tableauhyperapi import (
    Connection,
    CreateMode,
    HyperException,
    HyperProcess,
    TableName,
    Telemetry,
    escape_name,
    escape_string_literal,
)

from exporter.errors import OutputUnwritable
from exporter.exports import ONE_OFF, ExportOptions, Rows
from exporter.exports.appending import Renewal, renewing
from exporter.exports.arguments import HYPER_SUFFIX
from exporter.exports.csv_files import json_texts
from exporter.exports.output_file import local_file, refusals
from exporter.texts import one_line

TABLE = TableName("Extract", "Extract")
SETTINGS = {
    # Its log would be a file in the current folder.
    "log_config": "",
    # Of its own allocations; what it keeps in temporary files is the operating system's to give back.
    "memory_limit": "512m",
    # Read by Tableau 2021.1 and newer.
    "default_database_version": "2",
}
_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE PRECISION",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
}
_TEXT = "TEXT"
# Names that no column of a table may have; it gets an underscore.
_SYSTEM_COLUMNS = frozenset({"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"})
_ROW_GROUP = 20_000


def export(rows: Rows, target: str, options: ExportOptions) -> int:
    """Bring a file, or the file of the table in a folder, up to date. Raises OutputUnwritable."""
    path = local_file(target, options.table, HYPER_SUFFIX)
    layout = {"until": options.until.isoformat() if options.until else None}
    replaced = options.kind.order is None
    with renewing(path, options.history, layout, whole=replaced, rewrite=options.rewrite) as renewal:
        if not renewal.is_new and (renewal.layout.get("until") or options.until):
            message = f"{path}: {ONE_OFF}; --rewrite begins it anew"
            raise OutputUnwritable(message)
        slices = [(None, rows.whole())] if replaced else rows.slices(renewal.position)
        table, reached = None, None
        with refusals(path), _refusals(path), contextlib.ExitStack() as opened:
            for end, part in slices:
                table = table or opened.enter_context(_table(path, renewal, rows.schema))
                table.append(part)
                reached = end
                del part  # before the next is read: there is room for one
        if table is None:
            return 0
        renewal.commit(reached)
    return table.written


class _Table:
    """The table of a file that is being written."""

    def __init__(self, connection: Connection, renewal: Renewal) -> None:
        self._connection = connection
        self._slice = renewal.work / "slice.parquet"
        self.written = 0

    def prepare(self, schema: pa.Schema) -> int:
        """Make the table where the file has none, add columns that it lacks, and return how many rows it has."""
        if not self._connection.catalog.has_table(TABLE):
            self._connection.catalog.create_schema_if_not_exists(TABLE.schema_name)
            self._connection.execute_command(f"CREATE TABLE {TABLE} ({', '.join(map(_declared, schema))})")
            return 0
        known = {column.name.unescaped for column in self._connection.catalog.get_table_definition(TABLE).columns}
        for field in schema:
            if _name(field.name) not in known:
                self._connection.execute_command(f"ALTER TABLE {TABLE} ADD COLUMN {_declared(field)}")
        return self.count()

    def append(self, rows: pa.Table) -> None:
        """Append rows."""
        plain = pa.table({_name(field.name): _column(rows[field.name]) for field in rows.schema})
        pq.write_table(plain, self._slice, row_group_size=_ROW_GROUP)
        columns = ", ".join(map(escape_name, plain.column_names))
        source = f"external({escape_string_literal(str(self._slice))}, FORMAT => 'parquet')"
        self._connection.execute_command(f"INSERT INTO {TABLE} ({columns}) SELECT {columns} FROM {source}")
        self.written += rows.num_rows

    def count(self) -> int:
        """Return how many rows it has."""
        return int(self._connection.execute_scalar_query(f"SELECT count(*) FROM {TABLE}"))


@contextlib.contextmanager
def _table(path: Path, renewal: Renewal, schema: pa.Schema) -> Iterator[_Table]:
    """Open the next version of a file for the block; at its end see that every row is in it."""
    renewal.begin()
    with hyperd(renewal.work) as server:
        mode = CreateMode.CREATE_AND_REPLACE if renewal.is_new else CreateMode.NONE
        with Connection(server.endpoint, renewal.path, mode) as connection:
            table = _Table(connection, renewal)
            expected = table.prepare(schema)
            yield table
        with Connection(server.endpoint, renewal.path) as connection:
            found = _Table(connection, renewal).count()
    if found != expected + table.written:
        lost = f"of {expected + table.written:,} rows hyperd wrote {found:,}"
        raise OutputUnwritable(f"{path}: {lost}; check whether the disk is full")


@contextlib.contextmanager
def hyperd(work: Path) -> Iterator[HyperProcess]:
    """Run hyperd for the block; what it puts aside is put into a folder."""
    settings = {**SETTINGS, "hyper_temp_directory_override": str(work)}
    with HyperProcess(Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, "tableau-exporter", parameters=settings) as server:
        yield server


def _declared(field: pa.Field) -> str:
    return f"{escape_name(_name(field.name))} {_TYPES.get(field.type, _TEXT)}"


def _name(name: str) -> str:
    return f"{name}_" if name in _SYSTEM_COLUMNS else name


def _column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column, as text where Hyper has no type for it."""
    if pa.types.is_nested(column.type):
        return json_texts(column)
    return column if column.type in _TYPES else column.cast(pa.string())


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except HyperException as error:
        raise OutputUnwritable(f"{path}: hyperd: {_message(error)}; check the disk and --output") from None


def _message(error: BaseException) -> str:
    """Return the first line of an error and of each of its causes."""
    text = getattr(error, "main_message", None) or str(error)
    first = one_line(str(text).partition("\n")[0])[:300]
    return f"{first} {_message(error.__cause__)}" if isinstance(error.__cause__, HyperException) else first
