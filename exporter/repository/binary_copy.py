"""COPY in binary format from PostgreSQL into Arrow columns, without a Python object for any value.

``COPY ... (FORMAT binary)`` is the cheapest format that PostgreSQL can send, and the only one that keeps 'infinity' and
distinguishes NULL from ''. Each row is a count of fields, then for each field its length (-1 for NULL) and its bytes,
big-endian (PostgreSQL documentation, COPY, binary format). A chunk of rows is decoded column by column with numpy.
Arrow string views point at text, and Arrow itself copies it while the chunk is in the processor's cache.
"""

import io
import select
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg import Connection, OperationalError, pq
from psycopg.errors import error_from_result
from psycopg.generators import execute

from exporter.collector import POSTGRES_TYPES
from exporter.errors import SourceIncomplete

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

# Larger chunks leave the processor's cache and cost five times as much a value.
CHUNK_ROWS = 4096
# A request's URI may be a megabyte: memory is bounded by bytes as well as by rows.
CHUNK_BYTES = 32_000_000
SOME_ROWS = 64
CANCEL_SECONDS = 5.0
# PostgreSQL counts from 2000-01-01, Unix from 1970-01-01; in microseconds.
POSTGRES_EPOCH = 946_684_800_000_000
INT64_MAX = np.iinfo(np.int64).max
# The years 1 to 9999, since 2000-01-01.
FIRST_INSTANT, LAST_INSTANT = -63_082_281_600_000_000, 252_455_615_999_999_999
HEADER_BYTES = 19
INLINE_BYTES = 12
_BOOLEAN_BYTES, _NUMBER_BYTES = 1, 8
_PADDING = b"\0" * 16

# For each length of a short text the bits of its twelve bytes that belong to it.
INSIDE = (
    np.where(np.arange(INLINE_BYTES) < np.arange(INLINE_BYTES + 1)[:, None], 0xFF, 0).astype(np.uint8).view(np.uint32)
)


@dataclass(frozen=True)
class Field:
    """A column of the answer: its name and one of the ``POSTGRES_TYPES``."""

    name: str
    type: str


def arrow_schema(columns: Sequence[Field]) -> pa.Schema:
    """Return the Arrow schema of columns."""
    return pa.schema([(column.name, POSTGRES_TYPES[column.type].arrow) for column in columns])


def copy_out(
    connection: Connection[Any], query: str, columns: Sequence[Field]
) -> Generator[pa.RecordBatch, None, None]:
    """Run ``query`` and yield its rows in batches of at most ``CHUNK_ROWS``; columns must have the declared types."""
    schema = arrow_schema(columns)
    rows = _rows(connection, f"COPY ({query}) TO STDOUT (FORMAT binary)")
    valid_text = connection.info.parameter_status("server_encoding") != "SQL_ASCII"
    with closing(rows):
        yield from _batches(rows, schema, valid_text=valid_text)


def _batches(rows: Iterator[memoryview], schema: pa.Schema, *, valid_text: bool) -> Iterator[pa.RecordBatch]:
    skip = HEADER_BYTES
    while True:
        buffer = io.BytesIO()
        write = buffer.write
        lengths: list[int] = []
        while len(lengths) < CHUNK_ROWS and buffer.tell() < CHUNK_BYTES:
            some = [write(row) for row in islice(rows, SOME_ROWS)]
            lengths += some
            if len(some) < SOME_ROWS:
                break
        if not lengths:
            return
        # The padding lets a gather read past the last field without leaving the buffer.
        write(_PADDING)
        ends = np.cumsum(lengths, dtype=np.int64)
        starts = ends - np.array(lengths, dtype=np.int64)
        starts[0] += skip
        skip = 0
        batch = _decode(np.frombuffer(buffer.getbuffer(), np.uint8), starts, ends, schema)
        if batch.num_rows:
            yield batch if valid_text else _valid(batch)


def _rows(connection: Connection[Any], statement: str) -> Generator[memoryview, None, None]:
    """Yield COPY's messages, one a row.

    psycopg's own iterator passes three Python frames a row; at a million rows they cost more than the decoding.
    """
    wire = connection.pgconn
    wire.send_query(statement.encode())
    (answer,) = _wait(connection, execute(wire))
    if answer.status != pq.ExecStatus.COPY_OUT:
        raise error_from_result(answer, encoding=connection.info.encoding)
    receive = wire.get_copy_data
    # Made once: the answer arrives a few dozen rows at a time.
    arrivals = select.poll()
    arrivals.register(connection.fileno(), select.POLLIN)
    try:
        while True:
            size, row = receive(1)
            while size > 0:
                yield row
                size, row = receive(1)
            if size < 0:
                break
            arrivals.poll()
            wire.consume_input()
    except GeneratorExit:
        _cancel(connection)
        raise
    for result in _wait(connection, execute(wire)):
        if result.status not in {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}:
            raise error_from_result(result, encoding=connection.info.encoding)


def _cancel(connection: Connection[Any]) -> None:
    """Cancel a copy; the transaction is over, the connection stays usable."""
    connection.cancel_safe(timeout=CANCEL_SECONDS)
    while connection.pgconn.get_copy_data(0)[0] > 0:
        pass
    connection.wait(execute(connection.pgconn))


def _wait(connection: Connection[Any], steps: Any) -> list[Any]:  # noqa: ANN401 - psycopg's generator of wire steps
    results: list[Any] = connection.wait(steps)
    if not results:
        raise OperationalError("the server closed the connection in the middle of a copy")
    return results


def _decode(buffer: Bytes, starts: Positions, ends: Positions, schema: pa.Schema) -> pa.RecordBatch:
    """Decode the rows between ``starts`` and ``ends``. Raises SourceIncomplete where one has another form.

    Nothing else keeps numpy and Arrow from reading beyond the row, or beyond the buffer.
    """
    int16, int32, int64 = (_unaligned(buffer, kind) for kind in (">i2", "<i4", ">i8"))
    _require(starts + 2 <= ends)
    fields = int16[starts]
    # The trailer has -1 fields.
    if not (is_row := fields >= 0).all():
        starts, ends, fields = starts[is_row], ends[is_row], fields[is_row]
    _require(fields == len(schema))
    position = starts + 2
    arrow_buffer = pa.py_buffer(buffer)
    arrays = []
    for kind in schema.types:
        length = int32[position].byteswap().astype(np.int64)
        position = position + 4
        present = length >= 0
        bits, nulls = _validity(present)
        if nulls:
            length = np.maximum(length, 0)
        _require(position + length <= ends)
        if kind == pa.string():
            buffers = [bits, _views(buffer, position, length), arrow_buffer]
            views = pa.Array.from_buffers(pa.string_view(), len(position), buffers, null_count=nulls)
            arrays.append(views.cast(kind))
        else:
            _require(length == (_BOOLEAN_BYTES if kind == pa.bool_() else _NUMBER_BYTES) * present)
            buffers = [bits, _numbers(buffer, int64, np.where(present, position, 0) if nulls else position, kind)]
            arrays.append(pa.Array.from_buffers(kind, len(position), buffers, null_count=nulls))
        position = position + length
    _require(position == ends)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _require(holds: npt.NDArray[np.bool_]) -> None:
    if not holds.all():
        raise SourceIncomplete("the repository sent a row whose fields are not those of the query")


def _unaligned(buffer: Bytes, kind: str) -> npt.NDArray[Any]:
    """View the value of a type that starts at each byte of the buffer."""
    dtype = np.dtype(kind)
    return np.ndarray((len(buffer) - dtype.itemsize + 1,), dtype, buffer=buffer.data, strides=(1,))


def _validity(present: npt.NDArray[np.bool_]) -> tuple[pa.Buffer | None, int]:
    if present.all():
        return None, 0
    return pa.py_buffer(np.packbits(present, bitorder="little")), int(len(present) - np.count_nonzero(present))


def _numbers(buffer: Bytes, int64: npt.NDArray[Any], position: Positions, kind: pa.DataType) -> pa.Buffer:
    if kind == pa.bool_():
        return pa.py_buffer(np.packbits(buffer[position] != 0, bitorder="little"))
    if kind == pa.float64():
        return pa.py_buffer(int64[position].astype(np.int64))
    value = int64[position].astype(np.int64)
    if kind == pa.timestamp("us"):
        # Instants beyond the calendar are infinity, as PostgreSQL's own 'infinity' is; DuckDB's -infinity is the
        # negative of its infinity.
        value = np.where(value > LAST_INSTANT, INT64_MAX, np.where(value < FIRST_INSTANT, -INT64_MAX, value))
        value = np.where(np.abs(value) == INT64_MAX, value, value + POSTGRES_EPOCH)
    return pa.py_buffer(value)


def _views(buffer: Bytes, position: Positions, length: Positions) -> pa.Buffer:
    """Point at text by Arrow string views, four words each: the length, then up to 12 bytes, or prefix and place."""
    views = np.zeros((len(position), 4), np.uint32)
    views[:, 0] = length
    short = length <= INLINE_BYTES
    if short.all():
        views[:, 1:] = _inline(buffer, position, length)
        return pa.py_buffer(views)
    views[:, 1] = _unaligned(buffer, "<u4")[position]
    views[:, 3] = position
    if short.any():
        rows = np.flatnonzero(short)
        views[rows, 1:] = _inline(buffer, position[rows], length[rows])
    return pa.py_buffer(views)


def _inline(buffer: Bytes, position: Positions, length: Positions) -> npt.NDArray[np.uint32]:
    """Return the twelve bytes at each position as three words, those past the text's end as zeros."""
    words: npt.NDArray[np.uint32] = _unaligned(buffer, "V12")[position].view(np.uint32).reshape(-1, 3)
    words &= INSIDE.take(length, axis=0)
    return words


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Replace bytes that are not UTF-8: a database in SQL_ASCII guarantees no encoding."""
    arrays = [
        pa.array(
            [
                None if value is None else value.decode("utf-8", "replace")
                for value in column.view(pa.binary()).to_pylist()
            ],
            pa.string(),
        )
        if column.type == pa.string()
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)
