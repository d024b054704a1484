"""Columns of a table that are read, their types, and their names in the history."""

from collections.abc import Collection, Iterable, Mapping

from exporter.collector import Events, LookedUp, columns_of
from exporter.errors import SourceIncomplete
from exporter.history.redaction import PARSED_COLUMNS
from exporter.history.tables import REQUEST_COLUMNS
from exporter.repository.binary_copy import Field
from exporter.repository.catalog import Catalog, archivable, read_as

_KEY_TYPES = {
    "id": "bigint",
    "created_at": "timestamp without time zone",
    "completed_at": "timestamp without time zone",
}
# The history's own columns, and the names its statements use beside those of the rows.
_RESERVED = frozenset({*PARSED_COLUMNS, "first_part", "second_part", "first_seen_at", "site", "row_number", "fresh"})


def selection(
    columns: Mapping[str, str], events: Events | None = None, present: Collection[str] = ()
) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Return the fields and the SQL expressions of columns, which are PostgreSQL types by name.

    ``present`` are all columns of the table, with the numbers by which values of other tables are found.
    """
    fields, expressions = [], []
    names = kept_names(columns) if events is None or events.row is None else dict(zip(columns, columns, strict=True))
    for name, kind in columns.items():
        # The key and the end of a request have fixed types, regardless of the types in this version.
        needed = _KEY_TYPES.get(name, kind) if kind != "timestamp with time zone" else kind
        expression, read = read_as(name, needed)
        if events and name in events.looked_up:
            expression = f"({_looked_up(events.looked_up[name], events.source, present)})::{read}"
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


def _looked_up(column: LookedUp, source: str, present: Collection[str]) -> str:
    """Return the query of one value. No join: the condition and the order of a read name the columns of one table."""
    numbers = ", ".join(f'"{source}"."{name}"' for name in column.by if name in present)
    name, by = f'found."{column.column}"', f"coalesce({numbers})"
    relation = f'public."{column.relation}" AS found'
    if column.small:
        # Evaluated once for a statement, whatever number of rows it reads; of a key that stands twice one counts.
        key = f'found."{column.key}"'
        return f"(SELECT jsonb_object_agg({key}, {name}) FROM {relation} WHERE {key} IS NOT NULL) ->> {by}::text"
    return f'SELECT {name} FROM {relation} WHERE found."{column.key}" = {by} LIMIT 1'


def columns_to_read(events: Events, present: Mapping[str, str], catalog: Catalog) -> Mapping[str, str]:
    """Return the columns to read with their PostgreSQL types. Raises SourceIncomplete when one is missing."""
    readable = archivable(present)
    if missing := sorted(events.reads[0].required - readable.keys()):
        names = ", ".join(f"{events.source}.{name}" for name in missing)
        message = f"{names}: no such column, or no right to read it"
        raise SourceIncomplete(message)
    if events.row is None:
        return readable
    readable |= {name: kind for name, column in events.looked_up.items() if (kind := _kind(column, readable, catalog))}
    return {column.name: readable[column.name] for column in columns_of(events.row) if column.name in readable}


def _kind(column: LookedUp, readable: Mapping[str, str], catalog: Catalog) -> str | None:
    """Return the type of a column of another table; None where it, its key or the number may not be read."""
    there = catalog.relations.get(column.relation, {})
    return there.get(column.column) if column.key in there and not readable.keys().isdisjoint(column.by) else None
