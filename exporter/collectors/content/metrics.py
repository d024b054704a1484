"""Metrics of content: counts and bytes by site and type, without deleted, archived and unpublished rows."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from exporter.collector import Context, Expose
from exporter.inventory import Inventory
from exporter.metrics import Block, Family, Labels, Value

if TYPE_CHECKING:
    import pyarrow as pa

CONTENT = Family(
    "tableau_content",
    "gauge",
    "Workbooks, published data sources, flows, views and projects of the site, neither deleted nor archived; from the"
    " repository at every exact poll, without one from the REST API.",
    ("site", "asset_type"),
    "repository: workbooks, datasources, flows, views, projects; REST: the same lists",
)

BYTES = Family(
    "tableau_content_bytes",
    "gauge",
    "Size of the workbooks, published data sources and flows of the site, neither deleted nor archived; from the"
    " repository at every exact poll.",
    ("site", "asset_type"),
    "repository: workbooks, datasources, flows",
)


def counting(asset_type: str) -> Expose:
    """Return the function that counts the rows of one type of content on each site, and adds up their ``size``.

    A site without any has 0; a site of which no size is known has no sample of bytes.
    """

    def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
        counted = _counted(rows)
        counts = Counter(dict.fromkeys(context.sites.values(), 0))
        sites = [context.site(site_id) for site_id in counted.column("site_id").to_pylist()]
        counts.update(sites)
        labels = Labels(CONTENT.labels, (list(counts), [asset_type] * len(counts)))
        blocks = [Block(CONTENT, labels, list(counts.values()))]
        if "size" in counted.column_names:
            blocks.append(Block(BYTES, labels, _bytes(counts, sites, counted.column("size").to_pylist())))
        return blocks

    return expose


def expose_inventory(inventory: Inventory) -> Sequence[Block]:
    """Count what the REST API lists; what could not be read is not counted.

    Sizes are left out: there a workbook has whole megabytes, and most others have none.
    """
    counts: dict[str, int] = dict.fromkeys(inventory.asset_types, 0)
    counts |= Counter(inventory.content.column("asset_type").to_pylist())
    if (projects := inventory.listed.get("projects")) is not None:
        counts["project"] = projects.num_rows
    if inventory.view_count is not None:
        counts["view"] = inventory.view_count
    labels = Labels(CONTENT.labels, ([inventory.site] * len(counts), list(counts)))
    return [Block(CONTENT, labels, list(counts.values()))]


def _counted(rows: "pa.Table") -> "pa.Table":
    if "published" in rows.column_names:
        rows = rows.filter(rows.column("published"))
    if "is_deleted" in rows.column_names:
        rows = rows.filter(pc.invert(pc.fill_null(rows.column("is_deleted"), False)))  # noqa: FBT003 - the value
    if "state" in rows.column_names:
        states = pc.fill_null(pc.utf8_lower(rows.column("state").cast("string")), "")
        rows = rows.filter(pc.not_equal(states, "archived"))
    return rows


def _bytes(counts: Counter[str], sites: Sequence[str], sizes: Sequence[int | None]) -> Sequence[Value]:
    known: Counter[str] = Counter()
    for site, size in zip(sites, sizes, strict=True):
        if size is not None:
            known[site] += size
    return [known[site] if site in known or not count else None for site, count in counts.items()]
