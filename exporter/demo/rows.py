"""Rows for the simulated repository: a row may have more columns than one version of the schema."""

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from exporter.demo.workgroup import quoted, schema
from exporter.repository.connection import Connection

Row = dict[str, object]


class Written(Protocol):
    """Tables that the living server writes to."""

    def insert(self, table: str, row: Mapping[str, object]) -> int:
        """Insert a row and return its id."""
        ...

    def update(self, table: str, key: int, values: Mapping[str, object]) -> None:
        """Set columns of the row with this id."""
        ...


class RepositoryTables(NamedTuple):
    """The tables of a repository of one version."""

    connection: Connection
    version: str

    def insert(self, table: str, row: Mapping[str, object]) -> int:
        """Insert a row and return the id that the server gave it."""
        return insert(self.connection, self.version, table, row)

    def update(self, table: str, key: int, values: Mapping[str, object]) -> None:
        """Set columns of the row with this id."""
        update(self.connection, self.version, table, key, values)


def copy(connection: Connection, version: str, table: str, rows: Iterable[Row]) -> int:
    """Load rows with COPY and return how many; all of them have the columns of the first."""
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return 0
    names = [name for name in schema(version)[table] if name in first]
    statement = f"COPY {quoted(table)} ({', '.join(map(quoted, names))}) FROM STDIN"
    count = 0
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as stream:
        for row in itertools.chain([first], remaining):
            stream.write_row([row[name] for name in names])
            count += 1
    return count


def insert(connection: Connection, version: str, table: str, row: Mapping[str, object]) -> int:
    """Insert one row and return the id that the server gave it."""
    names = _known(version, table, row)
    statement = f"""
        INSERT INTO {quoted(table)} ({", ".join(map(quoted, names))})
        VALUES ({", ".join(["%s"] * len(names))})
        RETURNING id
    """
    found = connection.execute(statement.encode(), [row[name] for name in names]).fetchone()
    assert found is not None  # noqa: S101 - an INSERT ... RETURNING that succeeds returns its row
    return int(found[0])


def update(connection: Connection, version: str, table: str, key: int, values: Mapping[str, object]) -> None:
    """Set columns of the row with this id; columns that the version lacks are left out."""
    names = _known(version, table, values)
    if not names:
        return
    assignments = ", ".join(f"{quoted(name)} = %s" for name in names)
    statement = f"UPDATE {quoted(table)} SET {assignments} WHERE id = %s"
    connection.execute(statement.encode(), [*(values[name] for name in names), key])


def _known(version: str, table: str, row: Mapping[str, object]) -> list[str]:
    return [name for name in schema(version)[table] if name in row]
