"""What collectors make of the REST API where no better source is configured: samples, events, growing totals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import columns_of
from exporter.collectors import rest_hooks
from exporter.collectors._arrow import number_of
from exporter.collectors.content.sites_projects import Site, site_rows
from exporter.exposition.state_store import STALE_AFTER_INTERVALS, AnyBlock, TimedBlocks
from exporter.history import view_totals
from exporter.history.aggregation import Lookups, mark_span
from exporter.history.dimensions import keep
from exporter.history.totals import naive
from exporter.history.transaction import PollLogRow, Transaction
from exporter.inventory import Inventory
from exporter.poller.context import PollContext

MODE = "rest"
"""The mode of its lines in the poll log."""
NO_PEOPLE = pa.table({"user_id": pa.array([], pa.int64()), "person": pa.array([], pa.int64())})


@dataclass(frozen=True)
class SiteBlocks:
    """The samples of several sites, each as long as they hold."""

    sites: Mapping[str, TimedBlocks]

    def at(self, now: float) -> Sequence[AnyBlock]:
        """Return the blocks to publish."""
        return [block for timed in self.sites.values() for block in timed.at(now)]


class RestUsage:
    """Publishes and stores what the hooks make; rows that could not be stored wait for the next poll."""

    def __init__(self, context: PollContext, interval: float) -> None:
        self._context = context
        self._interval = interval
        sources = [status.name for status in context.store.status.sources()]
        self.hooks = rest_hooks(context.collectors, sources)
        self._blocks: dict[str, dict[str, TimedBlocks]] = {name: {} for name in self.hooks}
        self._events: list[tuple[str, str, str, pa.Table]] = []
        self._totals: list[tuple[str, str, pa.Table]] = []
        self._kept: dict[str, str] = {}

    def add(self, inventory: Inventory, started_at: float) -> None:
        """Take what is of use of a site's inventory."""
        now = self._context.clock()
        lifetime = STALE_AFTER_INTERVALS * self._interval + max(now - started_at, 0.0)
        for name, hooks in self.hooks.items():
            if blocks := tuple(hooks.expose(inventory)):
                self._blocks[name][inventory.site] = TimedBlocks(blocks, now, lifetime)
            rows = hooks.events(inventory) if hooks.events else None
            if rows is not None and rows.num_rows and inventory.site_luid:
                self._events.append((name, inventory.site, inventory.site_luid, rows))
            totals = hooks.totals(inventory) if hooks.totals else None
            if totals is not None:
                self._totals.append((name, inventory.site, totals))

    def publish(self) -> None:
        """Publish the samples."""
        for name, sites in self._blocks.items():
            if self.hooks[name].events is not None or sites:
                self._context.store.set_state(f"{name}/rest", SiteBlocks(dict(sites)))

    def store(self, transaction: Transaction) -> int:
        """Write the events and totals; return how many events are new."""
        names = {luid: site for _, site, luid, _ in self._events}
        if names and names != self._kept:
            today = naive(transaction.now).date()
            keep(transaction.connection, "sites", columns_of(Site), site_rows(names), today)
        new = sum(self._archive(transaction, *waiting) for waiting in self._events)
        for name, site, rows in self._totals:
            for family in self._context.collectors[name].families:
                view_totals.count(transaction.connection, family.name, site, rows)
        return new

    def stored(self) -> None:
        """Forget what was written: the transaction is committed."""
        self._kept = {luid: site for _, site, luid, _ in self._events} or self._kept
        self._events, self._totals = [], []

    def _archive(self, transaction: Transaction, name: str, site: str, luid: str, rows: pa.Table) -> int:
        events = self._context.collectors[name].events
        assert events is not None  # noqa: S101 - a collector with rows of events has them
        number = number_of(luid)
        numbers = pa.array([number] * rows.num_rows, pa.int64())
        rows = rows.set_column(rows.column_names.index("site_id"), "site_id", numbers)
        appended = transaction.append(events, [rows], Lookups({number: site}, NO_PEOPLE), events.folds)
        if appended.new:
            created = rows.column("created_at")
            if (before := transaction.pruned_before) is not None:
                created = created.filter(pc.greater_equal(created, pa.scalar(before, pa.timestamp("us"))))
            mark_span(transaction.connection, created, naive(transaction.now))
            transaction.log_part(
                PollLogRow(transaction.now, events.table, MODE, 0.0, rows.num_rows, appended.new, 0, site)
            )
        return appended.new
