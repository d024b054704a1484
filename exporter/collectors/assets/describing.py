"""Assets as the rules of freshness see them, and what these promise."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from exporter.collectors._columns import texts
from exporter.freshness import SlaLookup
from exporter.inventory import TAG_SEPARATOR

if TYPE_CHECKING:
    import pyarrow as pa

Tiers = tuple[float | None, float | None]


def promised(rows: "pa.Table", sites: Iterable[str], sla: SlaLookup) -> Sequence[Tiers]:
    """Return the hours of warning and critical of each asset; nothing is promised of what is live."""
    live = [connection == "live" for connection in texts(rows, "connection")]
    described = _described(rows, sites)
    return [(None, None) if skipped else sla(asset) for skipped, asset in zip(live, described, strict=True)]


def _described(rows: "pa.Table", sites: Iterable[str]) -> Iterator[dict[str, str | list[str]]]:
    """Yield each asset as the rules know it."""
    columns = (texts(rows, name) for name in ("project", "asset_type", "asset_name", "content_owner", "tags"))
    for site, project, asset_type, name, owner, tags in zip(sites, *columns, strict=True):
        yield {
            "site": site,
            "project": project,
            "asset_type": asset_type,
            "name": name,
            "content_owner": owner,
            "tags": tags.split(TAG_SEPARATOR) if tags else [],
        }
