"""CSV as RFC 4180 quotes it: one file of a table that is appended to, or replaced; in a store one object a slice.

NULL is nothing between two delimiters, an empty text is ``""``. Instants are ISO 8601 in UTC. Cells are as they are:
a text that a spreadsheet may read as a formula is not changed, for programs read this.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from exporter.errors import OutputUnwritable
from exporter.exports import ONE_OFF, ExportOptions, Rows, datasets
from exporter.exports.appending import appending
from exporter.exports.output_file import file_of
from exporter.exports.stores import local_path, open_store

SUFFIX = ".csv"
_ISO = "%Y-%m-%dT%H:%M:%SZ"


def export(rows: Rows, target: str, options: ExportOptions) -> int:
    """Bring a file, or the file of the table in a folder, up to date. Raises OutputUnwritable."""
    path = local_path(target)
    if path is None:
        form = datasets.DatasetFormat(SUFFIX, encode, lambda part: {"": part} if part.num_rows else {})
        return datasets.export(rows, open_store(target), options, form)
    return _append(rows, file_of(path, options.table, SUFFIX), options)


def _append(rows: Rows, path: Path, options: ExportOptions) -> int:
    """Append what is new, or write a table anew that has no order."""
    layout = {"columns": rows.schema.names, "until": options.until.isoformat() if options.until else None}
    written = 0
    replaced = options.kind.order is None
    with appending(path, options.history, layout, whole=replaced, rewrite=options.rewrite) as file:
        columns: Sequence[str] = file.layout["columns"]
        if file.is_new:
            file.append(encode(rows.schema.empty_table()))
            file.commit(None)
        elif file.layout.get("until") or options.until:
            message = f"{path}: {ONE_OFF}; --rewrite begins it anew"
            raise OutputUnwritable(message)
        if replaced:
            whole = rows.whole()
            file.append(encode(whole, header=False))
            file.commit(None)
            return len(whole)
        for slice_ in rows.slices(file.position):
            file.append(encode(_arranged(slice_.rows, columns), header=False))
            file.commit(slice_.end)
            written += len(slice_.rows)
            del slice_  # before the next is read: there is room for one
    return written


def encode(rows: pa.Table, *, header: bool = True) -> memoryview:
    """Return rows as lines, under the names of the columns."""
    sink = pa.BufferOutputStream()
    texts = pa.table({field.name: _text(rows[field.name]) for field in rows.schema})
    csv.write_csv(texts, sink, csv.WriteOptions(include_header=header, quoting_style="needed"))
    return memoryview(sink.getvalue())


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as CSV can have it."""
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format=_ISO)
    return json_texts(column) if pa.types.is_nested(column.type) else column


def _arranged(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return the columns that the file was begun with: one that was added since is in a file that is begun anew."""
    nothing = pa.nulls(rows.num_rows, pa.string())
    return pa.table({name: rows[name] if name in rows.column_names else nothing for name in columns})


def json_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists or maps as JSON, for formats that have texts and numbers alone."""
    maps = "strict" if pa.types.is_map(column.type) else None
    listed = column.to_pylist(maps_as_pydicts=maps)
    texts = [None if value is None else json.dumps(value, default=str) for value in listed]
    return pa.chunked_array([pa.array(texts, pa.string())])
