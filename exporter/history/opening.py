"""How DuckDB is opened: it reads and writes the history's own files, and runs no SQL that another program left there.

A view or a macro is SQL that is stored in the file. Who gives the agent a history could let it read its user's files:
a view over ``read_text('/etc/...')`` in the place of a table, or a macro with the name of a function that we call.
"""

import os
from pathlib import Path
from typing import TypeAlias

import duckdb

from exporter.errors import HistoryError, HistoryUnwritable

Settings: TypeAlias = dict[str, str | bool | int | float | list[str]]
Version: TypeAlias = tuple[int, ...]
"""Device, inode, size and the times of the last change of a file: another process cannot write it and keep them."""

# The suffixes of DuckDB's write-ahead log: two more while a checkpoint runs beside writers.
LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
NAMED = ("sites", "users", "projects", "workbooks", "views", "datasources", "extracts", "data_connections")
"""The tables of names kept by day that have a view of the latest, ``latest_<table>``."""
OUR_VIEWS = frozenset({"usage", "archived_requests", "workbook_datasources", *(f"latest_{table}" for table in NAMED)})
# Tables of DuckDB's own catalog by their whole names, and without an operator or a function: a macro may have any name.
_STORED_SQL = {
    "view": "SELECT view_name, schema_name, internal FROM system.main.duckdb_views()",
    "macro": "SELECT function_name, schema_name, internal, function_type FROM system.main.duckdb_functions()",
    "trigger": "SELECT trigger_name FROM system.main.duckdb_triggers()",
}
_LONGEST_NAME = 60


CONFINED: Settings = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
}
"""Reaches no file but the one that is opened, and what DuckDB has beside it."""


def confine(connection: duckdb.DuckDBPyConnection, *databases: Path) -> None:
    """Let a connection that has opened nothing reach these databases alone, to attach them."""
    paths = [str(path) + suffix for path in databases for suffix in ("", *LOGS)]
    connection.execute(f"SET allowed_paths = [{', '.join(map(text, paths))}]")
    for name, value in CONFINED.items():
        connection.execute(f"SET {name} = {value}")


def text(value: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def refuse_foreign_sql(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise HistoryUnwritable where the file holds a view, a macro or a trigger that is not the agent's."""
    has_triggers = True
    for kind, query in _STORED_SQL.items():
        if kind == "trigger" and not has_triggers:
            continue
        stored = connection.execute(query).fetchall()
        if kind == "macro":
            # DuckDB has triggers, and the function that lists them, since 2.0.
            has_triggers = any(name == "duckdb_triggers" and internal for name, _, internal, _ in stored)
        for name, *where in stored:
            if _is_foreign(kind, name, where):
                shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
                message = (
                    f"{path}: holds the {kind} {shown!r}, which is not the agent's; remove it with DuckDB"
                    f" (keep your own in a file that attaches this one), or set history.path to a new file"
                )
                raise HistoryUnwritable(message)


def _is_foreign(kind: str, name: str, where: list[object]) -> bool:
    if kind == "trigger":
        return True
    schema, internal, *function = where
    if internal or (function and "macro" not in str(function[0])):
        return False
    return kind == "macro" or schema != "main" or name not in OUR_VIEWS


def checked(
    connection: duckdb.DuckDBPyConnection, path: Path, trusted: Version | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection in UTC to a file without foreign SQL. Raises HistoryUnwritable, or what DuckDB raises.

    The ``trusted`` version is not searched for foreign SQL again: that costs as much as the rest of an opening.
    """
    try:
        connection.execute("SET TimeZone = 'UTC'")
        if trusted is None or version(path) != trusted:
            refuse_foreign_sql(connection, path)
    except (duckdb.Error, HistoryError):
        connection.close()
        raise
    return connection


def version(path: Path) -> Version | None:
    """Return the version of a file that has no log; None if it has one.

    It identifies the content only while DuckDB has the file open, and with it the lock that keeps other processes out.
    """
    if any(os.path.lexists(str(path) + suffix) for suffix in LOGS):
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def last_version(connection: duckdb.DuckDBPyConnection, path: Path) -> Version | None:
    """Write everything to the file, and return the version that closing the connection leaves; None if unknown."""
    try:
        if any(os.path.lexists(str(path) + suffix) for suffix in LOGS):
            connection.execute("CHECKPOINT")
    except duckdb.Error:
        return None
    return version(path)


def refuse_other_bytes(path: Path) -> None:
    """Raise HistoryUnwritable for a path that DuckDB cannot be given."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = str(path).encode(errors="backslashreplace").decode()
        message = f"{shown}: is not UTF-8, which DuckDB needs; rename the file or folder, or set history.path"
        raise HistoryUnwritable(message) from None
