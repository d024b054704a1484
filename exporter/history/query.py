"""A query of the history and its answer, fetched whole before anything of it is passed on.

While somebody has the file open the agent cannot write. So it is open only while DuckDB works, and what is slow (a
terminal, a pipe, a disk) comes after it is closed.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from exporter.errors import QueryFailed
from exporter.history.sandbox import Statement, confine, described

VALUE, INSTANT, NESTED = "value", "instant", "nested"
# What JSON has as it is. Python needs another library for an instant with a zone, and has no year 0 and no infinity.
_VALUES = frozenset(
    {
        "null", "boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger",
        "ubigint", "uhugeint", "float", "double", "varchar",
    }
)  # fmt: skip
_INSTANTS = frozenset({"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"})
_NESTED = frozenset({"list", "array", "struct", "map", "union", "variant"})
_ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class ResultColumn:
    """A column of an answer; ``kind`` is how its values are encoded.

    ``value``: a number, a truth value or a text. ``instant``: a text as DuckDB writes it, in UTC. ``nested``: a list or
    an object, as JSON within a text.
    """

    name: str
    kind: str


@dataclass(frozen=True)
class QueryResult:
    """The rows of an answer, each as a JSON array; ``is_cut`` where there were more rows than requested."""

    columns: Sequence[ResultColumn]
    rows: Sequence[bytes]
    is_cut: bool

    def values(self) -> Iterator[list[Any]]:
        """Yield the values of each row."""
        return map(json.loads, self.rows)


def run_query(
    connection: duckdb.DuckDBPyConnection, statement: Statement, most_rows: int, most_bytes: int
) -> QueryResult:
    """Run a statement on a history that was just opened, and that nobody else uses. Raises QueryFailed."""
    try:
        confine(connection)
        return _fetched(connection, statement, most_rows, most_bytes)
    except duckdb.Error as error:
        raise QueryFailed(described(error)) from None


def _fetched(
    connection: duckdb.DuckDBPyConnection, statement: Statement, most_rows: int, most_bytes: int
) -> QueryResult:
    relation = _bound(connection, statement.text)
    forms = [_form(type_.id, str(type_)) for type_ in relation.types]
    columns = [ResultColumn(name, kind) for name, (kind, _) in zip(relation.columns, forms, strict=True)]
    sql = statement.text if statement.is_explain else _wrapped(statement.text, [form for _, form in forms], most_rows)
    rows = list(_lines(connection.execute(sql), most_bytes))
    return QueryResult(columns, rows[:most_rows], len(rows) > most_rows)


def _bound(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """Bind a statement, so that its columns are known before it runs. Raises what DuckDB raises."""
    try:
        return connection.sql(sql)
    except (duckdb.BinderException, duckdb.CatalogException):
        # Bound like this, what is wrong has its place within the statement.
        connection.execute(sql)
        raise


def _form(type_id: str, name: str) -> tuple[str, str]:
    """Return the kind of a type, and the expression that passes a value of it on."""
    if type_id in _NESTED or name == "JSON":
        return NESTED, "to_json({})::VARCHAR"
    if type_id in _VALUES:
        return VALUE, "{}"
    if type_id == "decimal":
        return VALUE, "{}::DOUBLE"
    return (INSTANT if type_id in _INSTANTS else VALUE), "{}::VARCHAR"


def _wrapped(sql: str, forms: Sequence[str], most_rows: int) -> str:
    """Return the statement with every value as it is passed on, and one row more than requested."""
    names = [f"c{number}" for number in range(len(forms))]
    values = ", ".join(form.format(name) for form, name in zip(forms, names, strict=True))
    return f"SELECT {values} FROM ({sql}\n) AS answer({', '.join(names)}) LIMIT {most_rows + 1}"


def _lines(answered: duckdb.DuckDBPyConnection, most_bytes: int) -> Iterator[bytes]:
    size = 0
    while rows := answered.fetchmany(_ROWS_AT_ONCE):
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode()
            size += len(line)
            if size > most_bytes:
                message = f"the answer is larger than {most_bytes // 1_000_000} MB: select fewer rows or columns"
                raise QueryFailed(f"{message}, or use 'history export'")
            yield line
