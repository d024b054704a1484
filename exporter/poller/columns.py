"""Columns of a table that are read, their types, and their names in the history."""

from collections.abc import Iterable, Mapping

from exporter.collector import Events, columns_of
from exporter.errors import SourceIncomplete
from exporter.history.redaction import PARSED_COLUMNS
from exporter.history.tables import REQUEST_COLUMNS
from exporter.repository.binary_copy import Field
from exporter.repository.catalog import archivable, read_as

_KEY_TYPES = {
    "id": "bigint",
    "created_at": "timestamp without time zone",
    "completed_at": "timestamp without time zone",
}
# The history's own columns, and the names its statements use beside those of the rows.
_RESERVED = frozenset({*PARSED_COLUMNS, "first_part", "second_part", "first_seen_at", "site", "row_number", "fresh"})


def selection(columns: Mapping[str, str]) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Return the fields and the SQL expressions of columns, which are PostgreSQL types by name."""
    fields, expressions = [], []
    names = kept_names(columns)
    for name, kind in columns.items():
        # The key and the end of a request have fixed types, regardless of the types in this version.
        needed = _KEY_TYPES.get(name, kind) if kind != "timestamp with time zone" else kind
        expression, read = read_as(name, needed)
        expressions.append(expression)
        fields.append(Field(names[name], read))
    return tuple(fields), tuple(expressions)


def kept_names(columns: Iterable[str]) -> Mapping[str, str]:
    """Return the name of each column in the history, which has reserved names and ignores case."""
    used = set(_RESERVED)
    kept = {}
    for name in sorted(columns, key=lambda name: name not in REQUEST_COLUMNS):
        kept[name] = name
        while kept[name].lower() in used:
            kept[name] += "_"
        used.add(kept[name].lower())
    return kept


def columns_to_read(events: Events, present: Mapping[str, str]) -> Mapping[str, str]:
    """Return the columns to read with their PostgreSQL types. Raises SourceIncomplete when one is missing."""
    readable = archivable(present)
    if missing := sorted(events.reads[0].required - readable.keys()):
        names = ", ".join(f"{events.table}.{name}" for name in missing)
        message = f"{names}: no such column, or no right to read it"
        raise SourceIncomplete(message)
    if events.row is None:
        return readable
    return {column.name: readable[column.name] for column in columns_of(events.row) if column.name in readable}
