"""Total counts of views, as the REST API reports them; off by default, a series for each view is many."""

from typing import TYPE_CHECKING

from exporter.collector import Collector, RestHooks
from exporter.inventory import Inventory
from exporter.metrics import Family

if TYPE_CHECKING:
    import pyarrow as pa

REQUESTS = Family(
    "tableau_view_lifetime_requests_total",
    "counter",
    "Requests of the view since it was published, or since the history was created for what was published anew; from"
    " the REST API every hour.",
    ("site", "workbook", "view"),
    "REST: views",
)


def totals(inventory: Inventory) -> "pa.Table | None":
    """Return the total of each view of a site."""
    return inventory.view_totals


COLLECTOR = Collector(
    "view_totals",
    "Total counts of views from the REST API; off by default because every view has its own series.",
    rest=RestHooks(totals=totals, wants=frozenset({"view totals"}), beside=frozenset()),
    families=(REQUESTS,),
    enabled=False,
)
