"""The schema of Tableau's repository database, version by version, from the facts in ``workgroup.tsv``.

Keys, sequences, the index and the roles are this project's: Tableau publishes columns and types only.
"""

import functools
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

from exporter.repository.connection import Connection

VERSIONS = ("2019.3", "2021.2", "2023.3", "2025.3")

# Tables that Tableau fills while it runs; their ids come from a sequence, so that TRUNCATE ... RESTART IDENTITY works.
GENERATED = ("http_requests", "background_jobs", "historical_disk_usage", "historical_events")


class Column(NamedTuple):
    """One line of ``workgroup.tsv``; an empty ``last`` means that the newest version still has the column."""

    table: str
    name: str
    type: str
    first: str
    last: str


@functools.cache
def facts() -> tuple[Column, ...]:
    """Read every column of every version."""
    text = _read("workgroup.tsv")
    return tuple(Column(*line.split("\t")) for line in text.splitlines() if not line.startswith("#"))


@functools.cache
def schema(version: str) -> Mapping[str, Mapping[str, str]]:
    """Map each table of one version to its columns and their types, in order."""
    at = VERSIONS.index(version)
    tables: dict[str, dict[str, str]] = {}
    for column in facts():
        if VERSIONS.index(column.first) <= at <= VERSIONS.index(column.last or VERSIONS[-1]):
            tables.setdefault(column.table, {})[column.name] = column.type
    return tables


def ddl(version: str) -> str:
    """Write the CREATE TABLE statements of one version."""
    statements = []
    for table, columns in schema(version).items():
        lines = [f"    {quoted(name)} {kind}{' PRIMARY KEY' * (name == 'id')}" for name, kind in columns.items()]
        statements.append(f"CREATE TABLE {quoted(table)} (\n" + ",\n".join(lines) + "\n);\n")
    return "\n".join(statements)


def create(connection: Connection, version: str, *, readonly_password: str, tableau_password: str) -> None:
    """Create tables, underscore views and the two published roles in the connection's database."""
    _run(connection, ddl(version))
    for table in GENERATED:
        _number(connection, table, schema(version)[table]["id"])
    _run(connection, "CREATE INDEX http_requests_created_at ON http_requests (created_at)")
    _run(connection, _read("views.sql"))
    _role(connection, "readonly", readonly_password)
    _role(connection, "tableau", tableau_password)
    _run(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO readonly")
    for view in views(connection):
        _run(connection, f"GRANT SELECT ON {quoted(view)} TO tableau")


def views(connection: Connection) -> list[str]:
    """Name the underscore views of the connection's database."""
    found = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY viewname")
    return [name for (name,) in found]


def quoted(identifier: str) -> str:
    """Quote a name for SQL: ``index`` and ``groups`` are words of PostgreSQL too."""
    return '"' + identifier.replace('"', '""') + '"'


def _number(connection: Connection, table: str, kind: str) -> None:
    sequence = f"{table}_id_seq"
    _run(connection, f"CREATE SEQUENCE {sequence} AS {kind} OWNED BY {table}.id")
    _run(connection, f"ALTER TABLE {table} ALTER COLUMN id SET DEFAULT nextval('{sequence}')")


def _role(connection: Connection, role: str, password: str) -> None:
    # Roles belong to the whole server: a second database of the same server finds them there already.
    # Statements of this kind take no parameters; the server itself quotes the password.
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = "ALTER" if known else "CREATE"
    statements = connection.execute(
        """
        SELECT
            format('{verb} ROLE %%I LOGIN PASSWORD %%L', %(role)s::text, %(password)s::text),
            format('GRANT CONNECT ON DATABASE %%I TO %%I', current_database(), %(role)s::text),
            format('ALTER DATABASE %%I SET timezone TO %%L', current_database(), 'UTC')
        """.replace("{verb}", verb).encode(),
        {"role": role, "password": password},
    ).fetchone()
    for statement in statements or ():
        _run(connection, statement)


def _run(connection: Connection, statement: str) -> None:
    connection.execute(statement.encode())


def _read(name: str) -> str:
    return resources.files("exporter.demo").joinpath(name).read_text(encoding="utf-8")
