"""The SLA of each asset by the freshness rules of the configuration."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from exporter.collectors._arrow import texts
from exporter.freshness import SlaLookup
from exporter.inventory import TAG_SEPARATOR

if TYPE_CHECKING:
    import pyarrow as pa

Tiers = tuple[float | None, float | None]


def sla_hours(rows: "pa.Table", sites: Iterable[str], sla: SlaLookup) -> Sequence[Tiers]:
    """Return the hours of warning and critical of each asset; a live one has no SLA."""
    live = [connection == "live" for connection in texts(rows, "connection")]
    matched = _fields(rows, sites)
    return [(None, None) if skipped else sla(asset) for skipped, asset in zip(live, matched, strict=True)]


def _fields(rows: "pa.Table", sites: Iterable[str]) -> Iterator[dict[str, str | list[str]]]:
    """Yield the fields of each asset that rules match."""
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
