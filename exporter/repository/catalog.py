"""The catalog: relations and columns of this repository, and statements that run on every version of Tableau.

A statement names relations by their base names. They are put in front of it as common table expressions with exactly
the columns that the statement may use: those that this version of Tableau lacks are NULL, and where only the underscore
view may be read, the view stands in for the table.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from exporter.collector import Relation
from exporter.errors import SourceIncomplete
from exporter.texts import SECRET_WORDS

# The underscore views that the `tableau` user may read, by the table they stand in for, with the columns whose names
# differ (Tableau's data dictionaries, 2019.3 to 2025.3).
VIEWS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "sites": ("_sites", {}),
    "users": ("_users", {}),
    "system_users": ("_system_users", {}),
    "workbooks": ("_workbooks", {"repository_url": "workbook_url"}),
    "datasources": ("_datasources", {"repository_url": "datasource_url", "db_class": "dbclass", "db_name": "dbname"}),
    "views": ("_views", {"view_url": "view_url"}),
    "projects": ("_projects", {}),
    "schedules": ("_schedules", {}),
    "background_jobs": ("_background_tasks", {}),
    "http_requests": ("_http_requests", {}),
}

# Columns that show which version of Tableau this is at least (its data dictionaries of 2021.2, 2023.3 and 2025.3).
LANDMARKS = (("2023.3", "flows", "hidden"), ("2025.3", "flows", "state"))

_COLUMNS = """
    SELECT
        c.relname AS relation,
        a.attname AS name,
        format_type(a.atttypid, NULL) AS type,
        has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = 'public'
        AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
        AND c.relname = ANY(%s)
        AND a.attnum > 0
        AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""


@dataclass(frozen=True)
class Catalog:
    """The readable relations of schema public with their columns and PostgreSQL types.

    ``forbidden`` are the columns that exist there and may not be read, by their relation.
    """

    relations: Mapping[str, Mapping[str, str]]
    forbidden: Mapping[str, Collection[str]] = field(default_factory=dict)

    def resolve(self, relation: Relation) -> tuple[str, Mapping[str, str]]:
        """Return the name that is read for a relation, and for each of its columns there the column's name in it.

        Raises SourceIncomplete, with the names, when neither table nor view has the required columns.
        """
        view, renamed = VIEWS.get(relation.name, ("", {}))
        for name, names in ((relation.name, {}), (view, renamed)):
            there = self.relations.get(name)
            if there is None:
                continue
            found = {
                column: names.get(column, column) for column in relation.columns if names.get(column, column) in there
            }
            if relation.required <= found.keys():
                return name, found
            lacking = sorted(relation.required - found.keys())
            raise SourceIncomplete(
                ", ".join(f"{name}.{column}" for column in lacking) + ": no such column, or no right to read it"
            )
        if relation.optional:
            return "", {}
        message = f"{relation.name}: no such table, or no right to read it"
        raise SourceIncomplete(message)

    def view_of(self, relation: str) -> str:
        """Return the name of the view that could stand in for a table."""
        return VIEWS[relation][0]

    def stand_in(self, relation: str) -> str:
        """Return the view that stands in for a table; raises SourceIncomplete when there is none."""
        view, _ = VIEWS.get(relation, ("", {}))
        if view not in self.relations:
            message = f"{relation}: no such table, or no right to read it"
            raise SourceIncomplete(message)
        return view

    def missing(self, relations: Iterable[Relation]) -> list[str]:
        """Name every column that should be there and is not, as ``table.column``, or such a relation, as ``table``.

        A right was revoked, or the column has gone. Those that a version of Tableau never had are in ``never_had``.
        """
        return [name for name, expected in self._lacks(relations) if expected]

    def never_had(self, relations: Iterable[Relation]) -> list[str]:
        """Name the columns and relations that this version of Tableau never had, as ``missing`` does."""
        return [name for name, expected in self._lacks(relations) if not expected]

    def _lacks(self, relations: Iterable[Relation]) -> Iterator[tuple[str, bool]]:
        """Name the missing columns and relations, and whether each should be there."""
        for relation in relations:
            try:
                name, found = self.resolve(relation)
            except SourceIncomplete:
                yield from ((lacking, True) for lacking in self._lacking(relation))
                continue
            if not name:
                yield relation.name, relation.reported or relation.name in self.forbidden
                continue
            # Columns of the view alone are not missing where the table is read.
            wanted = relation.columns.keys() - (relation.only_in_view if name == relation.name else frozenset())
            for column in relation.columns:
                if column in wanted - found.keys():
                    yield f"{relation.name}.{column}", self._expected(relation, column)

    def _expected(self, relation: Relation, column: str) -> bool:
        """Whether a column that cannot be read should be there: it exists, or every version from long before has it."""
        since = relation.newer.get(column)
        return (
            since is None
            or self._has(relation.name, column)
            or any(self._has(table, landmark) for version, table, landmark in LANDMARKS if version > since)
        )

    def _has(self, relation: str, column: str) -> bool:
        return column in self.relations.get(relation, {}) or column in self.forbidden.get(relation, ())

    def _lacking(self, relation: Relation) -> list[str]:
        """Name the required columns that neither the table nor its view has, or the relation when there is neither."""
        view, renamed = VIEWS.get(relation.name, ("", {}))
        if relation.name in self.relations:
            view, renamed = relation.name, {}
        there = self.relations.get(view)
        if there is None:
            return [relation.name]
        return [f"{view}.{column}" for column in sorted(relation.required) if renamed.get(column, column) not in there]

    def with_clause(self, relations: Iterable[Relation], *, inline: bool) -> str:
        """Return the common table expressions for a statement; ``inline`` where PostgreSQL knows NOT MATERIALIZED."""
        hint = "NOT MATERIALIZED " if inline else ""
        parts = []
        for relation in relations:
            name, found = self.resolve(relation)
            columns = ", ".join(
                f'"{found[column]}"::{kind} AS "{column}"' if column in found else f'NULL::{kind} AS "{column}"'
                for column, kind in relation.columns.items()
            )
            source = f'FROM public."{name}"' if name else "WHERE false"
            parts.append(f'"{relation.name}" AS {hint}(SELECT {columns} {source})')
        # RECURSIVE allows a statement's own recursion and changes nothing for the others.
        return "WITH RECURSIVE " + ", ".join(parts)


def read_catalog(connection: Connection[Any], relations: Collection[str]) -> Catalog:
    """Read which of these relations, or the views that stand in for them, this user may read."""
    names = {*relations, *(VIEWS[name][0] for name in relations if name in VIEWS)}
    found: dict[str, dict[str, str]] = {}
    forbidden: dict[str, set[str]] = {}
    for relation, column, kind, readable in connection.execute(_COLUMNS, [sorted(names)]):
        if readable:
            found.setdefault(relation, {})[column] = kind
        else:
            forbidden.setdefault(relation, set()).add(column)
    return Catalog(found, forbidden)


def archivable(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a table that is archived whole, without those that hold secrets."""
    return {name: kind for name, kind in columns.items() if not any(word in name.lower() for word in SECRET_WORDS)}


_READ_AS = {
    "smallint": "bigint",
    "integer": "bigint",
    "bigint": "bigint",
    "boolean": "boolean",
    "real": "double precision",
    "double precision": "double precision",
    "timestamp without time zone": "timestamp",
}


def read_as(name: str, kind: str) -> tuple[str, str]:
    """Return the expression that reads a column of any type, and the PostgreSQL type it is read as."""
    quoted = '"' + name.replace('"', '""') + '"'
    if kind == "timestamp with time zone":
        return f"({quoted} AT TIME ZONE 'UTC')", "timestamp"
    target = _READ_AS.get(kind, "text")
    return f"{quoted}::{target}", target
