"""The page of licences: users who do not sign in, credentials that expire, content of unlicensed owners."""

from collections.abc import Mapping
from typing import Any

from exporter.collectors.licences.credentials import CREDENTIALS
from exporter.pagedata.builder import PageData
from exporter.pagedata.licences import LISTS
from exporter.web.query_params import Paging, Parameters, address

PATH = "/licences"
PARAMETERS = ("list", "site", "page")
ROWS = 100


def listed(pages: PageData, parameters: Parameters, *, with_names: bool) -> Mapping[str, Any]:
    """Return the values of the template; ``with_names`` where every request to the agent is authenticated."""
    site, chosen = parameters.text("site"), parameters.choice("list", tuple(LISTS), "users")
    found = pages.licences.get(LISTS[chosen])
    rows = [row for row in found.rows if site in {"", row.site}] if found else []
    paging = Paging(len(rows), ROWS, parameters.page())
    pairs = [("list", chosen), *([("site", site)] if site else [])]
    return {
        "found": found,
        "rows": rows[paging.begin : paging.end],
        "paging": paging,
        "chosen": chosen,
        "site": site,
        "sites": sorted({row.site for row in found.rows if row.site}) if found else [],
        "with_names": with_names,
        "enabled": CREDENTIALS in pages.enabled,
        "at_page": lambda number: address(PATH, pairs, {"page": str(number)}),
    }
