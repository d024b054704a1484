"""The page of deliveries that fail: subscriptions and data alerts, and the users who wait for them in vain."""

from collections.abc import Mapping
from typing import Any

from exporter.pagedata.builder import PageData
from exporter.web.query_params import Paging, Parameters, address

PATH = "/undelivered"
PARAMETERS = ("site", "page")
ROWS = 100


def listed(pages: PageData, parameters: Parameters, *, with_names: bool) -> Mapping[str, Any]:
    """Return the values of the template; ``with_names`` where every request to the agent is authenticated."""
    site, found = parameters.text("site"), pages.undelivered
    rows = [row for row in found.rows if site in {"", row.site}] if found else []
    paging = Paging(len(rows), ROWS, parameters.page())
    pairs = [("site", site)] if site else []
    return {
        "found": found,
        "rows": rows[paging.begin : paging.end],
        "paging": paging,
        "site": site,
        "sites": sorted({row.site for row in found.rows}) if found else [],
        "with_names": with_names,
        "at_page": lambda number: address(PATH, pairs, {"page": str(number)}),
    }
