"""The company while it is being invented: tables that grow row by row from one source of randomness."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from exporter.demo.rows import Row

SLUG = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Scale:
    """How big the company is. Every special case exists at any scale."""

    people: int = 400
    workbooks: int = 120
    datasources: int = 60
    flows: int = 15


SMALL = Scale(people=60, workbooks=48, datasources=24, flows=8)


class AssetDraft(NamedTuple):
    """A workbook, data source or flow, and its ``kind`` (see ``content.py``)."""

    kind: str
    table: str
    row: Row


@dataclass
class Draft:
    """Rows so far; all instants are naive UTC, as in the repository."""

    random: Random
    now: datetime
    scale: Scale
    tables: dict[str, list[Row]] = field(default_factory=dict)
    assets: list[AssetDraft] = field(default_factory=list)

    def add(self, table: str, values: Mapping[str, object]) -> Row:
        """Append a row under the next free id; all rows of a table must have the same columns."""
        rows = self.tables.setdefault(table, [])
        row: Row = {"id": len(rows) + 1, **values}
        rows.append(row)
        return row

    def luid(self) -> str:
        """Invent a LUID."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def ago(self, least: float, most: float) -> datetime:
        """Pick an instant between so many days ago."""
        days = self.random.uniform(least, most)
        return (self.now - timedelta(days=days)).replace(microsecond=self.random.randrange(1_000_000))

    def of_site(self, table: str, site_id: object) -> list[Row]:
        """Return the rows of one site."""
        return [row for row in self.tables[table] if row["site_id"] == site_id]


def slug(name: str, used: set[str]) -> str:
    """Make the URL part that Tableau would make of a name, unlike those already ``used``, and add it to them."""
    stem = SLUG.sub("", name)[:80] or "_"
    result = stem
    number = 0
    while result in used:
        number += 1
        result = f"{stem}_{number}"
    used.add(result)
    return result
