"""Assets: how fresh the data of each workbook, published data source and flow is, and what was promised of it."""

from exporter.collector import Collector, State, StateFromRest, StateHistory
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
    "How fresh the data of each workbook, published data source and flow is, and what was promised of it.",
    states=(
        State(
            Asset,
            READS,
            SQL,
            FAMILIES,
            expose,
            history=StateHistory(context_sql=LEARNS, page="assets", page_sql=RECALLS),
            rest=StateFromRest(assets_of, known_refreshes, merge),
            audit=judge,
        ),
    ),
)
