"""Unused content: workbooks, published data sources and flows that nobody opens, and the cost of refreshing them."""

from exporter.collector import Collector, State, StateHistory
from exporter.collectors.unused.history_sql import LAST_OPENED, PAGE
from exporter.collectors.unused.metrics import FAMILIES, UNUSED, expose
from exporter.collectors.unused.repository_sql import SQL
from exporter.collectors.unused.rows import READS, OpenedContent

READ_SECONDS = 3600.0
"""Tableau's statistics have a row for each user and view; within an hour little changes."""

COLLECTOR = Collector(
    "unused",
    "Workbooks, published data sources and flows that nobody opens, and the cost of refreshing them.",
    states=(
        State(
            OpenedContent,
            READS,
            SQL,
            FAMILIES,
            expose,
            "exact",
            StateHistory(context_sql=LAST_OPENED, page=UNUSED, page_sql=PAGE),
            seconds=READ_SECONDS,
        ),
    ),
)
