"""Arrow tables of rows, a page at a time, so that a large site costs its columns and one page; parsing of values."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import columns_of


def schema(row: type) -> pa.Schema:
    """Return the schema of a row of exporter.inventory."""
    return pa.schema([(column.name, column.type.arrow) for column in columns_of(row)])


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class TableBuilder:
    """Builds a table from pages of rows."""

    def __init__(self, row: type) -> None:
        self._schema = schema(row)
        self._batches: list[pa.RecordBatch] = []

    def add(self, rows: Sequence[tuple[object, ...]]) -> None:
        """Add rows, each with its fields in their order."""
        if rows:
            values = zip(*rows, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(values, self._schema.types, strict=True)]
            self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def table(self) -> pa.Table:
        """Return the table of all rows."""
        return pa.Table.from_batches(self._batches, schema=self._schema).combine_chunks()


def table(row: type, rows: Iterable[tuple[object, ...]]) -> pa.Table:
    """Return a table of rows."""
    builder = TableBuilder(row)
    builder.add(list(rows))
    return builder.table()


def first_of_each(rows: pa.Table, row: type) -> pa.Table:
    """Return each entry once, as it stands first; the first column is its key."""
    key = schema(row).names[0]
    seen = dict.fromkeys(rows.column(key).to_pylist())
    return rows.take(pc.index_in(pa.array(seen, pa.string()), rows.column(key).combine_chunks()))


def parse_instant(text: object) -> datetime | None:
    """Return an ISO 8601 instant, with or without a fraction, as UTC without a zone; None for anything else."""
    if not isinstance(text, str) or not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is UTC or parsed.tzinfo is None:
            return parsed.replace(tzinfo=None)
        return parsed.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def boolean(text: str | None) -> bool | None:
    """Return a boolean of XML, None where it is missing or invalid."""
    return _BOOLEANS.get((text or "").strip().lower())


def to_luid(value: object) -> str | None:
    """Return a LUID, None for what cannot be one."""
    return value if isinstance(value, str) and value.isascii() and 0 < len(value) <= 64 else None
