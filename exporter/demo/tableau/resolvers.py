"""Resolvers of the Metadata API's schema: one function for each field, by type and name."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from exporter.demo.tableau.facts import Content, Person, Site, Source, VirtualConnection
from exporter.demo.tableau.failure_modes import FailureModes

NAMESPACE = uuid.UUID("5b0e7a46-9d5c-4f5e-8a2e-2f1f6d1f3c77")
BACKFILL: Mapping[str, list[None] | None] = {"empty": [], "null": None, "null_items": [None]}

# A workbook's own data source, and the workbook; a table of a virtual connection, and that.
Embedded = tuple[Source, Content, int]
Table = tuple[str, datetime | None, VirtualConnection]


class Graph:
    """The state of one query on one site; counts the objects of the lists of its answer."""

    def __init__(self, site: Site, failure_modes: FailureModes) -> None:
        self.site = site
        self.failure_modes = failure_modes
        self.errors: list[dict[str, object]] = []
        self.limited = False
        self._left = failure_modes.metadata_node_limit
        self._published = {item.luid: item for item in site.datasources}
        self._people = {person.luid: person for person in site.users}
        self._connections = {connection.luid: connection for connection in site.virtual_connections}

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield items while the limit of nodes lasts; the nodes below one are counted before the next."""
        for item in items:
            self._left -= 1
            if self._left < 0:
                self.limited = True
                return
            yield item

    def owner(self, item: Content) -> Person | None:
        """Return an owner, None where the user may not see who it is."""
        return self._people.get(item.owner or "")

    def embedded(self, item: Content) -> Iterator[Embedded] | list[None] | None:
        """Return a workbook's own data sources."""
        if self.failure_modes.metadata_backfill:
            return BACKFILL[self.failure_modes.metadata_backfill]
        return self.counted([(source, item, number) for number, source in enumerate(item.sources)])

    def upstream(self, sources: Iterable[Source]) -> Iterator[Content]:
        """Yield the published data sources that data sources read."""
        luids = dict.fromkeys(source.published for source in sources if source.published in self._published)
        return self.counted([self._published[str(luid)] for luid in luids])

    def downstream(self, item: Content) -> Iterator[Content]:
        """Yield the workbooks that read a published data source."""
        return self.counted(
            [book for book in self.site.workbooks if any(source.published == item.luid for source in book.sources)]
        )

    def virtual(self, item: Content) -> Iterator[VirtualConnection]:
        """Yield the virtual connections that content uses."""
        return self.counted([self._connections[luid] for luid in item.virtual])

    def virtual_tables(self, item: Content) -> Iterator[Table]:
        """Yield the tables of the virtual connections that content uses."""
        return self.counted([table for luid in item.virtual for table in tables(self._connections[luid])])


def tables(connection: VirtualConnection) -> list[Table]:
    """Return the tables of a virtual connection."""
    return [(name, refreshed_at, connection) for name, refreshed_at in connection.tables]


def instant(at: datetime | None) -> str | None:
    """Write an instant as the Metadata API does."""
    return at.isoformat(timespec="seconds") + "Z" if at else None


def identity(luid: str) -> str:
    """Return the id that the Metadata API has for what the REST API calls by a LUID: another one."""
    return str(uuid.uuid5(NAMESPACE, luid))


def _latest(source: Source) -> str | None:
    instants = (source.refreshed_at, source.incremented_at, source.made_at)
    return instant(max((at for at in instants if at), default=None))


def _extract(source_of: Callable[[Any], Source]) -> Mapping[str, "Field"]:
    return {
        "hasExtracts": lambda _, item: source_of(item).has_extracts,
        "extractLastRefreshTime": lambda _, item: instant(source_of(item).refreshed_at),
        "extractLastIncrementalUpdateTime": lambda _, item: instant(source_of(item).incremented_at),
        "extractLastUpdateTime": lambda _, item: _latest(source_of(item)),
    }


Field = Callable[[Graph, Any], Any]
CONTENT: Mapping[str, Field] = {
    "id": lambda _, item: identity(item.luid),
    "luid": lambda _, item: item.luid,
    "name": lambda _, item: item.name,
    "projectName": lambda _, item: item.project_name,
    "projectLuid": lambda _, item: item.project,
    "containerType": lambda _, item: "personalSpace" if item.personal else "project",
    "containerName": lambda _, item: "Personal Space" if item.personal else item.project_name,
    "owner": lambda graph, item: (item.owner or item.luid, graph.owner(item)),
    "createdAt": lambda _, item: instant(item.created_at or item.published_at),
    "updatedAt": lambda _, item: instant(item.updated_at),
    "upstreamVirtualConnections": Graph.virtual,
    "upstreamVirtualConnectionTables": Graph.virtual_tables,
}
FIELDS: Mapping[str, Mapping[str, Field]] = {
    "Workbook": {
        **CONTENT,
        "embeddedDatasources": Graph.embedded,
        "upstreamDatasources": lambda graph, item: graph.upstream(item.sources),
    },
    "PublishedDatasource": {
        **CONTENT,
        **_extract(lambda item: item.sources[0]),
        "downstreamWorkbooks": Graph.downstream,
    },
    "EmbeddedDatasource": {
        **_extract(lambda item: item[0]),
        "id": lambda _, item: identity(f"{item[1].luid} {item[2]}"),
        "name": lambda _, item: item[0].name,
        "createdAt": lambda _, item: instant(item[1].created_at or item[1].published_at),
        "updatedAt": lambda _, item: instant(item[1].updated_at),
        "upstreamDatasources": lambda graph, item: graph.upstream([item[0]]),
        "parentPublishedDatasources": lambda graph, item: graph.upstream([item[0]]),
        "workbook": lambda _, item: item[1],
    },
    "Flow": CONTENT,
    "TableauUser": {
        "id": lambda _, owner: identity(owner[0]),
        "luid": lambda _, owner: owner[0],
        "username": lambda _, owner: owner[1] and owner[1].name,
        "name": lambda _, owner: owner[1] and owner[1].full_name,
        "email": lambda _, owner: owner[1] and owner[1].email,
    },
    "VirtualConnection": {
        "id": lambda _, item: identity(item.luid),
        "luid": lambda _, item: item.luid,
        "name": lambda _, item: item.name,
        "createdAt": lambda _, item: instant(item.created_at),
        "updatedAt": lambda _, item: instant(item.updated_at),
        "tables": lambda graph, item: graph.counted(tables(item)),
    },
    "VirtualConnectionTable": {
        "id": lambda _, table: identity(f"{table[2].luid} {table[0]}"),
        "luid": lambda _, table: identity(f"luid of {table[2].luid} {table[0]}"),
        "name": lambda _, table: table[0],
        "isExtracted": lambda _, table: table[1] is not None,
        "extractLastRefreshedAt": lambda _, table: instant(table[1]),
        "extractLastRefreshType": lambda _, table: "FULL" if table[1] else None,
        "virtualConnection": lambda _, table: table[2],
    },
}
