"""Assets: data freshness of each workbook, published data source and flow, and its SLA."""

from exporter.collector import Collector, State, StateFromRest, StateHistory
from exporter.collectors.assets.from_rest import assets_of
from exporter.collectors.assets.history_sql import LAST_REFRESHES, REFRESH_INTERVALS
from exporter.collectors.assets.merging import merge
from exporter.collectors.assets.metrics import FAMILIES, expose
from exporter.collectors.assets.refreshes import known_refreshes
from exporter.collectors.assets.repository_sql import SQL
from exporter.collectors.assets.rows import READS, Asset
from exporter.collectors.assets.status import judge
from exporter.collectors.assets.usage import learn_usage

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
            history=StateHistory(
                context_sql=REFRESH_INTERVALS, page="assets", page_sql=LAST_REFRESHES, learn_usage=learn_usage
            ),
            rest=StateFromRest(assets_of, known_refreshes, merge),
            audit=judge,
        ),
    ),
)
