"""Assets: data freshness of each workbook, published data source and flow, and its SLA."""

from exporter.collector import Collector, State
from exporter.collectors.assets.inventory import assets_of
from exporter.collectors.assets.judging import judge
from exporter.collectors.assets.learning import LEARNS
from exporter.collectors.assets.merging import merge
from exporter.collectors.assets.recalling import RECALLS
from exporter.collectors.assets.refreshes import known_refreshes
from exporter.collectors.assets.rows import READS, Asset
from exporter.collectors.assets.samples import FAMILIES, expose
from exporter.collectors.assets.statement import SQL

COLLECTOR = Collector(
    "assets",
    "Data freshness of each workbook, published data source and flow, and its SLA.",
    states=(
        State(
            Asset,
            READS,
            SQL,
            FAMILIES,
            expose,
            learns=LEARNS,
            recalls=RECALLS,
            inventoried=assets_of,
            remembers=known_refreshes,
            merge=merge,
            judge=judge,
        ),
    ),
)
