"""Parquet: a folder for each day of the rows' own time, as Hive names them; a table that is replaced is one file."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from exporter.exports import ExportOptions, Rows, datasets
from exporter.exports.stores import open_store

# How Hive, and all that read its partitions, name what has no value.
NO_DAY = "__HIVE_DEFAULT_PARTITION__"
# A dictionary is worth its room where a value comes again at least twice in this many rows.
_SAMPLE_ROWS = 5_000
_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_NULL = np.iinfo(np.int64).min
_NEVER = int(_NULL) // _DAY - 1


def export(rows: Rows, target: str, options: ExportOptions) -> int:
    """Bring a folder, local or in a store of objects, up to date. Raises OutputUnwritable."""
    form = datasets.DatasetFormat(".parquet", encode, lambda part: dict(by_day(part, options.kind.at)))
    return datasets.export(rows, open_store(target), options, form)


def encode(rows: pa.Table) -> memoryview:
    """Return rows as a Parquet file, compressed by zstd."""
    sink = pa.BufferOutputStream()
    sample = rows.slice(0, _SAMPLE_ROWS)
    repeated = [
        field.name
        for field in rows.schema
        if pa.types.is_string(field.type) and 2 * pc.count_distinct(sample[field.name]).as_py() <= sample.num_rows
    ]
    pq.write_table(rows, sink, compression="zstd", use_dictionary=repeated or False, coerce_timestamps="us")
    return memoryview(sink.getvalue())


def by_day(rows: pa.Table, at: str | None) -> Iterator[tuple[str, pa.Table]]:
    """Yield the folder of each day (UTC), and its rows in their order."""
    if not rows.num_rows:
        return
    instants = rows[at].cast(pa.timestamp("us")).cast(pa.int64()).fill_null(_NULL).to_numpy()
    days = np.floor_divide(instants, _DAY)
    days[instants == _NULL] = _NEVER
    order = np.argsort(days, kind="stable")
    begins = np.flatnonzero(np.diff(days[order], prepend=days[order[0]] - 1))
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        chosen = order[begin:end]
        part = rows if len(chosen) == len(order) else rows.take(chosen)
        yield f"day={_named(int(days[chosen[0]]))}/", part


def _named(day: int) -> str:
    return NO_DAY if day == _NEVER else (_EPOCH + timedelta(days=day)).isoformat()
