"""A believable company on a Tableau Server: all of the repository but its traffic, the same for the same seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from exporter.demo.content import content
from exporter.demo.draft import Asset, Draft, Scale
from exporter.demo.extras import extras
from exporter.demo.people import people
from exporter.demo.refreshing import refreshing
from exporter.demo.rows import Row, copy
from exporter.demo.workgroup import schema
from exporter.repository.connection import Connection


@dataclass(frozen=True)
class Company:
    """Rows by table, and the assets with the story that each of them tells (kinds: see ``content.py``)."""

    now: datetime
    tables: Mapping[str, Sequence[Row]]
    assets: Sequence[Asset]

    @classmethod
    def build(cls, seed: int, now: datetime, scale: Scale | None = None) -> "Company":
        """Invent a company as it is at ``now`` (naive UTC)."""
        draft = Draft(Random(seed), now, scale or Scale())
        people(draft)
        content(draft)
        refreshing(draft)
        extras(draft)
        return cls(now, draft.tables, tuple(draft.assets))

    def of_kind(self, table: str, kind: str) -> list[Row]:
        """Return the workbooks, datasources or flows that tell one story."""
        return [asset.row for asset in self.assets if asset.table == table and asset.kind == kind]

    def insert(self, connection: Connection, version: str) -> None:
        """Load the company into the tables of one version, as far as that version knows them."""
        hidden = _unknown(self.tables, version)
        for table in schema(version):
            rows = self.tables.get(table, ())
            copy(connection, version, table, (row for row in rows if not _belongs(table, row, hidden)))
        connection.execute("SELECT setval('background_jobs_id_seq', (SELECT max(id) FROM background_jobs))")


def _unknown(tables: Mapping[str, Sequence[Row]], version: str) -> set[tuple[str, object]]:
    """Find content in a state that this version does not have: there, it is not in the repository at all."""
    columns = schema(version)
    states = (("is_deleted", True), ("is_private", True), ("state", "archived"))
    return {
        (table, row["id"])
        for table in ("workbooks", "flows")
        for row in tables[table]
        for column, value in states
        if row.get(column) == value and column not in columns[table]
    }


def _belongs(table: str, row: Row, hidden: set[tuple[str, object]]) -> bool:
    owners = [
        (table, row["id"]),
        ("workbooks", row.get("workbook_id")),
        ("flows", row.get("flow_id")),
        (f"{row.get('owner_type', '')}s".lower(), row.get("owner_id")),
        (f"{row.get('content_type', '')}s", row.get("content_id")),
        (f"{row.get('taggable_type', '')}s".lower(), row.get("taggable_id")),
    ]
    return any(owner in hidden for owner in owners)
