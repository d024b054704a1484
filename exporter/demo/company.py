"""A believable company on a Tableau Server: all of the repository but its traffic, the same for the same seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from exporter.demo import disks
from exporter.demo.audit_log import audit_log
from exporter.demo.content import content
from exporter.demo.draft import AssetDraft, Draft, Scale
from exporter.demo.governance import CANARY_SECRET, governance
from exporter.demo.opening import content_usage, views_stats
from exporter.demo.refreshing import refreshing
from exporter.demo.rows import Row, copy
from exporter.demo.users import add_users
from exporter.demo.workgroup import schema
from exporter.repository.connection import Connection


@dataclass(frozen=True)
class Company:
    """Rows by table, and the assets with the kind of each (see ``content.py``)."""

    now: datetime
    tables: Mapping[str, Sequence[Row]]
    assets: Sequence[AssetDraft]

    @classmethod
    def build(cls, seed: int, now: datetime, scale: Scale | None = None) -> "Company":
        """Invent a company as it is at ``now`` (naive UTC)."""
        draft = Draft(Random(seed), now, scale or Scale())
        add_users(draft)
        content(draft)
        refreshing(draft)
        extras(draft)
        governance(draft)
        audit_log(draft)
        return cls(now, draft.tables, tuple(draft.assets))

    def of_kind(self, table: str, kind: str) -> list[Row]:
        """Return the workbooks, datasources or flows of one kind."""
        return [asset.row for asset in self.assets if asset.table == table and asset.kind == kind]

    def insert(self, connection: Connection, version: str) -> None:
        """Load the company into the tables of one version, as far as that version knows them."""
        hidden = _unknown(self.tables, version)
        for table in schema(version):
            rows = self.tables.get(table, ())
            copy(connection, version, table, (row for row in rows if not _belongs(table, row, hidden)))
        for table in ("background_jobs", "historical_disk_usage", "historical_events"):
            connection.execute(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))".encode())


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
        (table, row.get("id")),
        ("workbooks", row.get("workbook_id")),
        ("flows", row.get("flow_id")),
        (f"{row.get('owner_type', '')}s".lower(), row.get("owner_id")),
        (f"{row.get('content_type', '')}s", row.get("content_id")),
        (f"{row.get('taggable_type', '')}s".lower(), row.get("taggable_id")),
    ]
    return any(owner in hidden for owner in owners)


TAGS = ("no-sla", "finance", "certified", 'Q3 "final"', "emoji 🏷️")


def extras(draft: Draft) -> None:
    """Fill the remaining tables; users and content must exist."""
    for site in draft.tables["sites"]:
        _tags(draft, site["id"])
        views_stats(draft, site["id"])
        _custom_views(draft, site["id"])
    content_usage(draft)
    _secrets(draft)
    for row in disks.past(draft.now):
        draft.add("historical_disk_usage", row)


def _tags(draft: Draft, site_id: object) -> None:
    assets = [asset for asset in draft.assets if asset.row["site_id"] == site_id and asset.table != "flows"]
    for name in TAGS:
        tag = draft.add(
            "tags",
            {"name": name, "created_at": draft.ago(30, 900), "updated_at": draft.ago(0, 30), "site_id": site_id},
        )
        for asset in draft.random.sample(assets, min(3, len(assets))):
            draft.add(
                "taggings",
                {
                    "tag_id": tag["id"],
                    "taggable_id": asset.row["id"],
                    "taggable_type": asset.table.removesuffix("s").capitalize(),
                    "user_id": asset.row["owner_id"],
                    "site_id": site_id,
                },
            )


def _custom_views(draft: Draft, site_id: object) -> None:
    views = draft.of_site("views", site_id)
    for number, view in enumerate(draft.random.sample(views, min(8, len(views)))):
        draft.add(
            "customized_views",
            {
                "name": f"My view {number} <mine>",
                "view_id": view["id"],
                "created_at": draft.ago(10, 300),
                "updated_at": draft.ago(0, 10),
                "creator_id": view["owner_id"],
                "public": number % 2 == 0,
                "size": 2048,
                "site_id": site_id,
                "url_id": f"Myview{number}",
                "luid": draft.luid(),
            },
        )


def _secrets(draft: Draft) -> None:
    for user in draft.random.sample(draft.tables["users"], 10):
        draft.add(
            "sessions",
            {
                "session_id": draft.luid().replace("-", "").upper(),
                "updated_at": draft.ago(0, 0.1),
                "user_id": user["id"],
                "site_id": user["site_id"],
                "created_at": draft.ago(0.1, 1),
                "salt": CANARY_SECRET,
                "hashed_secret": CANARY_SECRET,
            },
        )
        draft.add("api_tokens", {"token_id": CANARY_SECRET, "hashed_secret": CANARY_SECRET, "user_id": user["id"]})
        draft.add(
            "trusted_tickets",
            {"username": "embed", "ticket": CANARY_SECRET, "hashed_ticket": CANARY_SECRET, "user_id": user["id"]},
        )
