"""Queries to the history for the web pages, after a poll has archived its rows; their answers go to the page data.

Each query has a transaction of its own. One that fails costs the pages its answer and the archive nothing: the previous
answer stays, with its age.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pyarrow as pa
import structlog

from exporter.collector import LearnUsage, StateKey
from exporter.collectors import asset_state, counts_people, insights_hooks, requests_collector
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.errors import HistoryBusy, HistoryError
from exporter.history import sizes
from exporter.history.totals import instant, naive
from exporter.history.transaction import Transaction
from exporter.history.usage import sum_up
from exporter.log_once import LogOnce
from exporter.pagedata.query_results import ASSET_SIZES, ASSET_USAGE, HistoryAnswer, usage_of
from exporter.poller.context import PollContext
from exporter.poller.schedule import Due

log = structlog.get_logger()

FORGET_SECONDS = 3600.0
LEARN_SECONDS = 3600.0
BUSY = "the file"
Answer = TypeVar("Answer")


@dataclass
class PageQueries:
    """Runs the queries of one source; each is repeated when its answer is too old."""

    source: str
    context: PollContext
    _due: dict[StateKey, Due] = field(default_factory=dict)
    _forget_due: Due = field(default_factory=lambda: Due(FORGET_SECONDS))
    _learn_due: Due = field(default_factory=lambda: Due(LEARN_SECONDS))
    _failures: LogOnce = field(default_factory=LogOnce)

    def forget(self, now: float, source_at: datetime | None, *, exact: bool) -> None:
        """Delete usage that no page shows any more: at each exact poll, and hourly where the source is down."""
        if not (exact and source_at) and not self._forget_due.at(now):
            return
        try:
            self._query("people_by_hour", now, lambda transaction: transaction.delete_old_usage(source_at))
        except HistoryBusy as error:
            self._log("people_by_hour", error)
        else:
            self._forget_due.done_at = now

    def run(self, states: Mapping[StateKey, pa.Table], sites: Mapping[int, str], now: float) -> None:
        """Run the queries that are due about these states and about usage; ``sites`` are labels by number."""
        with self._logged_if_busy():
            self._sum_up(now)
            for key, rows in states.items():
                self._query_state(key, self.context.state(key).history.page_sql, rows, sites, now)
            self._learn_usage(now)
            # One source is enough for what is not about its rows: the one that archives requests.
            if self.source != "rest" and requests_collector(self.context.collectors):
                self._query_requests(sites, now, now)

    def run_insights(self, sites: Mapping[int, str], now: float, until: float) -> None:
        """Run those about usage where it comes from Admin Insights alone, until its refresh (Unix seconds)."""
        name = requests_collector(self.context.collectors)
        if name not in insights_hooks(self.context.collectors, self._sources()):
            return
        with self._logged_if_busy():
            self._sum_up(now)
            self._query_requests(sites, now, until)

    @contextmanager
    def _logged_if_busy(self) -> Iterator[None]:
        try:
            yield
        except HistoryBusy as error:
            # A process that holds the file holds it for the next query too.
            self._log(BUSY, error)

    def _sum_up(self, now: float) -> None:
        while self._query("views_by_day", now, lambda transaction: sum_up(transaction.connection)):
            pass

    def _query_requests(self, sites: Mapping[int, str], now: float, until: float) -> None:
        self._query_usage(sites, now, until)
        if not self.context.store.status.has_source("repository"):
            self._query_cloud_content(sites, now)

    def _sources(self) -> set[str]:
        return {status.name for status in self.context.store.status.sources()}

    def _query_cloud_content(self, sites: Mapping[int, str], now: float) -> None:
        """Query the opened content of Tableau Cloud; again at the next poll as long as the REST API was not read."""
        key = asset_state(self.context.collectors)
        merged = self.context.merged_states.get(key) if key else None
        assets = merged.rows(now) if merged else None
        awaits_assets = merged is not None and assets is None and "rest" in self._sources()
        rows = ARROW_SCHEMA.empty_table() if assets is None else assets
        for name, collector in self.context.collectors.items():
            for index, state in enumerate(collector.states):
                if state.history.cloud_sql is not None:
                    self._query_state((name, index), state.history.cloud_sql, rows, sites, now)
                    if awaits_assets:
                        del self._due[name, index]

    def _query_state(
        self, key: StateKey, sql: str | None, rows: pa.Table, sites: Mapping[int, str], now: float
    ) -> None:
        history = self.context.state(key).history
        due = self._due.setdefault(key, Due(history.page_seconds))
        if history.page is None or sql is None or not due.at(now):
            return
        # DuckDB refuses a parameter that a statement does not have.
        with_now = "$now" in sql
        answer = self._query(
            history.page,
            now,
            lambda transaction: transaction.query(sql, rows, **({"now": naive(transaction.now)} if with_now else {})),
        )
        if answer is not None:
            due.done_at = now
            self.context.answers.set(key[0], history.page, self.source, HistoryAnswer(answer, now, dict(sites)))

    def _learn_usage(self, now: float) -> None:
        """Learn how the rows of all sources are used; where there is a repository, after its polls."""
        beside_repository = self.source == "rest" and self.context.store.status.has_source("repository")
        if beside_repository or not self._learn_due.at(now):
            return
        for key, merged in self.context.merged_states.items():
            learn, rows = self.context.state(key).history.learn_usage, merged.rows(now)
            if learn is None or rows is None:
                continue
            used = self._query("usage of assets", now, partial(self._learn, learn, rows))
            if used is not None:
                self._learn_due.done_at = now
                merged.learn_usage(used, now)
                self.context.answers.set(key[0], ASSET_USAGE, self.source, HistoryAnswer(used, now))
            self._query_sizes(key[0], now)

    def _query_sizes(self, collector: str, now: float) -> None:
        """Query the course of the sizes of assets."""
        ordered = f"""
            SELECT asset_id, epoch(refreshed_at)::DOUBLE AS refreshed_at, bytes, usual_bytes
            FROM {sizes.TABLE}
            QUALIFY row_number() OVER (PARTITION BY asset_type, asset_id ORDER BY {sizes.TABLE}.refreshed_at DESC) <= 30
            ORDER BY asset_id, {sizes.TABLE}.refreshed_at
        """
        answer = self._query("sizes of assets", now, lambda transaction: transaction.query_with(ordered, {}))
        if answer is not None:
            self.context.answers.set(collector, ASSET_SIZES, self.source, HistoryAnswer(answer, now))

    def _learn(self, learn: LearnUsage, rows: pa.Table, transaction: Transaction) -> pa.Table:
        return learn(transaction.query_with, rows, self.context.timezone, naive(transaction.now))

    def _query_usage(self, sites: Mapping[int, str], now: float, until: float) -> None:
        used = self._query(
            "usage", now, partial(Transaction.read_usage, with_people=counts_people(self.context.collectors))
        )
        if used is not None:
            since = used.loads_since.replace(tzinfo=UTC).timestamp() if used.loads_since else None
            self.context.answers.set_usage(usage_of(used.requests, used.people, sites, until, since))

    def _query(self, name: str, now: float, query: Callable[[Transaction], Answer]) -> Answer | None:
        """Return the answer; None where the query fails, which is logged once. Raises HistoryBusy."""
        try:
            with self.context.history.page_transaction(instant(now)) as transaction:
                answer = query(transaction)
        except HistoryBusy:
            raise
        except HistoryError as error:
            self._log(name, error)
            return None
        for subject in (name, BUSY):
            self._failures.is_over(subject)
        return answer

    def _log(self, name: str, error: HistoryError) -> None:
        # The error itself changes from one time to the next, as the amount of memory that is missing.
        if self._failures.is_new(name):
            # A file that is held keeps the next poll from writing too, which logs it.
            write = log.debug if isinstance(error, HistoryBusy) else log.warning
            write("history query for web pages failed", query=name, error=str(error))
