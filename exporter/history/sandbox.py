"""What SQL of a user may do: read tables of the history, and nothing else.

Three layers, each of which is enough for what the next would stop: a statement is parsed before the file is opened and
refused unless it only reads, by functions of a closed list; DuckDB has no file system, no extension and no setting that
can be changed; the process (``query_process``) can write no file and has limits of time and memory.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from exporter.errors import QueryFailed
from exporter.history.opening import CONFINED

TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_functions", "duckdb_indexes",
        "duckdb_keywords", "duckdb_schemas", "duckdb_tables", "duckdb_types", "duckdb_views", "generate_series",
        "histogram", "histogram_values", "icu_calendar_names", "json_each", "json_tree", "pg_timezone_names",
        "pragma_collations", "pragma_database_size", "pragma_show", "pragma_storage_info", "pragma_table_info",
        "pragma_version", "range", "repeat", "repeat_row", "summary", "unnest",
    }
)  # fmt: skip
"""Table functions that reach nothing but the history and change nothing. What a later DuckDB adds is refused."""

LONGEST_SQL = 1_000_000
# A CTE that writes: DELETE_QUERY_NODE and its like.
_WRITING_NODE = "_QUERY_NODE"
_READING = "SELECT, FROM, WITH, VALUES, TABLE, DESCRIBE, SHOW, SUMMARIZE, PIVOT ... IN, UNPIVOT, and EXPLAIN of these"
_LONGEST_HINT = 40

# After these no setting can be changed and no file opened; the history's own is open already.
_CONFINING = ("SET disabled_filesystems = 'LocalFileSystem'", "SET lock_configuration = true")


@dataclass(frozen=True)
class Statement:
    """One statement that only reads, without the semicolon at its end."""

    text: str
    is_explain: bool


def confine(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave an open connection nothing but its database."""
    for statement in _CONFINING:
        connection.execute(statement)


def parse(sql: str) -> Statement:
    """Return the statement of a text. Raises QueryFailed unless it is one, and only reads."""
    if len(sql) > LONGEST_SQL:
        raise QueryFailed(f"the SQL is longer than {LONGEST_SQL:,} characters")
    if "\0" in sql or sql.encode(errors="replace") != sql.encode(errors="surrogatepass"):
        raise QueryFailed("the SQL is no text: it has a zero byte, or is not UTF-8")
    with duckdb.connect(config={**CONFINED, "threads": 1}) as parser:
        try:
            count = len(parser.extract_statements(sql))
            if count != 1:
                raise QueryFailed(f"{count or 'no'} statements: give one, such as 'FROM usage LIMIT 5'")
            text = _without_semicolon(sql)
            explained = _explained(text)
            _check(parser, explained or text)
        except duckdb.Error as error:
            raise QueryFailed(described(error)) from None
    return Statement(text, explained is not None)


def described(error: duckdb.Error) -> str:
    """Return DuckDB's message as one line, with the place that it points at."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return (
            "the query needs more memory than history.memory_limit allows: select fewer rows or columns, sort less,"
            " or raise it"
        )
    message, _, place = str(error).partition("\n\nLINE ")
    number, _, shown = place.partition(": ")
    line, _, marker = shown.partition("\n")
    column = marker.find("^") - len(f"LINE {number}: ")
    hint = line[column : column + _LONGEST_HINT].strip() if marker and column >= 0 else ""
    return " ".join(message.split()) + (f" (line {number}, at {hint!r})" if hint else "")


def _check(parser: duckdb.DuckDBPyConnection, text: str) -> None:
    """Refuse what does not only read: DuckDB serializes no other statement than SELECT, in all of its forms."""
    rows = parser.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchall()
    try:
        tree = json.loads(rows[0][0])
    except RecursionError:
        raise QueryFailed("the SQL is nested too deeply") from None
    if tree["error"] or len(tree["statements"]) != 1:
        raise QueryFailed(f"only a statement that reads is run: {_READING}")
    for node in _nodes(tree):
        kind = node.get("type")
        if kind == "TABLE_FUNCTION" and (name := node["function"]["function_name"].lower()) not in TABLE_FUNCTIONS:
            raise QueryFailed(f"the table function {name} is not available: it may reach beyond the history")
        if isinstance(kind, str) and kind.endswith(_WRITING_NODE):
            raise QueryFailed(f"only a statement that reads is run, also within WITH: {_READING}")


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Yield every object of a tree, at any depth."""
    left: list[Any] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
            left += node.values()
        elif isinstance(node, list):
            left += node


def _without_semicolon(sql: str) -> str:
    """Cut what ends a statement: it is put into another one."""
    written = sql.encode()
    ends = [at for at, _ in duckdb.tokenize(sql) if written[at : at + 1] == b";"]
    return (written[: ends[0]] if ends else written).decode()


def _explained(text: str) -> str | None:
    """Return the statement that is explained; None where none is."""
    written = text.encode()
    words = [(at, written[at:]) for at, kind in duckdb.tokenize(text) if kind != _COMMENT]
    if not words or not words[0][1].upper().startswith(b"EXPLAIN"):
        return None
    depth = 0
    for at, rest in words[1:]:
        depth += rest.startswith(b"(") - rest.startswith(b")")
        is_option = depth or rest.startswith(b")") or rest.upper().startswith((b"ANALYZE", b"VERBOSE"))
        if not is_option:
            return written[at:].decode()
    return ""


_COMMENT = getattr(duckdb.token_type, "comment", None)
