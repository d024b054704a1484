"""The page of one asset: its SLA, its freshness, its schedule, and the workbooks downstream."""

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.collectors.assets.sizes import UNUSUAL_FACTOR
from exporter.collectors.assets.usage import usage_text
from exporter.pagedata.asset_table import AssetTable, Judged
from exporter.pagedata.builder import PageData, Refresh, Size
from exporter.status import Status
from exporter.texts import span
from exporter.web.asset_list import Row, known, next_use_text, only, row_of
from exporter.web.charts import strip
from exporter.web.templating import minute

MEGABYTE = 1e6
LISTED = 200
"""How many workbooks downstream are listed."""

OUTCOMES = {0: "success", 1: "failure", 2: "cancelled"}
SOURCES = {
    "repository": "extract refresh time in the repository",
    "metadata": "extract refresh time in the Metadata API",
    "job": "last successful refresh job or flow run",
    "created": "published with data, never refreshed since",
    "updated_at": "last change; the refresh time is unknown",
}


def described(pages: PageData, table: AssetTable, place: int, status: Status) -> Mapping[str, Any]:
    """Return the template values of the page."""
    judged = table.at(status.now)
    row = row_of(table, judged, place)
    refreshes, asked_at = pages.refreshes_of(row.asset_id)
    suspended = known(table.suspended[place])
    return {
        "asset": row,
        "is_at_least": bool(table.unsure[place]),
        "suspended": None if suspended is None else bool(suspended),
        "interval": known(table.interval[place]),
        "source_text": SOURCES.get(row.freshness_source, row.freshness_source),
        "uses": _sources(table, judged, place),
        "downstream": _downstream(table, judged, row),
        "downstream_count": len(table.downstream.get(row.asset_id, ())) if row.asset_type == "datasource" else 0,
        "refreshes": [(refresh, OUTCOMES.get(refresh.outcome, "unknown")) for refresh in reversed(refreshes)],
        "bars": _strip(refreshes),
        "used": usage_text(row.users, next_use_text(row, pages.timezone, status.now)),
        "monthly_users": pages.monthly_users.get((row.asset_type, row.asset_id)),
        "sizes": list(reversed(sizes := pages.sizes[row.asset_id])),
        "size_bars": _size_strip(sizes),
        "asked_at": asked_at,
        "freshness_sources": [source for source in status.freshness_sources if source.site == row.site],
        "firing": None if pages.firing is None else pages.firing_of.get((row.asset_type, row.asset_id), ()),
        "only": only,
    }


def _sources(table: AssetTable, judged: Judged, place: int) -> list[Row | str]:
    """Return the published data sources that an asset uses; the LUID of one that is not listed."""
    places = [(luid, table.places.get(("datasource", luid))) for luid in table.sources_of(place)]
    return [luid if found is None else row_of(table, judged, found) for luid, found in places]


def _downstream(table: AssetTable, judged: Judged, row: Row) -> Sequence[Row]:
    if row.asset_type != "datasource":
        return []
    return [row_of(table, judged, place) for place in table.downstream.get(row.asset_id, ())[:LISTED]]


def _size_strip(sizes: Sequence[Size]) -> Sequence[Any]:
    titles = [f"{minute(size.refreshed_at)} UTC: {size.bytes / MEGABYTE:,.1f} MB" for size in sizes]
    kinds = ["failure" if _is_unusual(size) else "success" for size in sizes]
    return strip([float(size.bytes) for size in sizes], kinds, titles)


def _is_unusual(size: Size) -> bool:
    usual = size.usual_bytes
    return usual is not None and not usual / UNUSUAL_FACTOR <= size.bytes <= usual * UNUSUAL_FACTOR


def _strip(refreshes: Sequence[Refresh]) -> Sequence[Any]:
    kinds = [OUTCOMES.get(refresh.outcome, "unknown") for refresh in refreshes]
    titles = [
        f"{minute(refresh.ended_at)} UTC: {kind}" + (f", {span(refresh.seconds)}" if refresh.seconds else "")
        for refresh, kind in zip(refreshes, kinds, strict=True)
    ]
    return strip([refresh.seconds for refresh in refreshes], kinds, titles)
