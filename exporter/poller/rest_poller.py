"""Polls the REST and Metadata APIs: read site by site, publish, then store what the next poll needs.

A site that fails does not affect the others: its previous rows are published until they are too old.
"""

import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa

from exporter.collector import StateKey, columns_of
from exporter.errors import HistoryError, PollInterrupted, SourceError, SourceRefused
from exporter.exposition.process import release_memory
from exporter.exposition.state_store import STALE_AFTER_INTERVALS
from exporter.history import refreshes
from exporter.history.insights import SOURCE as INSIGHTS
from exporter.history.privacy import apply_privacy
from exporter.history.refreshes import Read
from exporter.history.totals import instant, naive
from exporter.history.transaction import Transaction
from exporter.inventory import FRESHNESS, Inventory
from exporter.poller.context import PollContext, WriteIncidents, audit_assets, publish_archive
from exporter.poller.insights_poller import InsightsPoller
from exporter.poller.merged_state import SourceRows
from exporter.poller.page_queries import PageQueries
from exporter.poller.rest_publisher import RestPublisher
from exporter.poller.rest_result import DAY_SECONDS, NO_NOTES, JobLookupBudget, RestPollResult, RowsOf, without
from exporter.poller.rest_usage import RestUsage
from exporter.poller.runs import CollectorRun, Runs
from exporter.poller.schedule import Due, run_loop
from exporter.poller.system_info_poller import SystemInfoPoller
from exporter.rest.client import RestClient

SOURCE = "rest"
# The query covers a month of refreshes of every asset.
LEARNING_SECONDS = 3600.0


class RestPoller:
    """Writes to the history what only these APIs report, and publishes their part of the store."""

    def __init__(self, rest: RestClient, context: PollContext, interval: float, lookups_per_day: int) -> None:
        self.rest = rest
        self._context = context
        self._status = context.store.status
        self._interval = interval
        self._progress = self._status.progress[SOURCE]
        self._incidents = WriteIncidents(SOURCE, context)
        self._publisher = RestPublisher(context, rest, interval)
        self._usage = RestUsage(context, interval)
        self._insights = InsightsPoller(context, rest) if self._status.has_source(INSIGHTS) else None
        self._system_info = SystemInfoPoller(context, rest, interval)
        self._lookups = JobLookupBudget(lookups_per_day)
        self._learning_due = Due(LEARNING_SECONDS)
        self._queries = PageQueries(SOURCE, context)
        self._remembered: dict[str, pa.Table] | None = None
        self._read_at: Read = {}
        self._noted: pa.Table | None = None
        self._unwritten_notes = NO_NOTES

    def run(self, randomness: random.Random) -> None:
        """Poll until stopped, with back-off and jitter after failures."""
        run_loop(self._context.stopped, self.poll, self._publish_bug, self._interval, randomness)
        self.rest.close()

    def poll(self) -> bool:
        """Poll once; return whether any site was read: one that fails is no reason to poll the others less often."""
        now = self._context.clock()
        with self._progress.poll(now):
            return self._poll(now)

    def _poll(self, now: float) -> bool:
        needed = self._context.merged_states or self._usage.hooks or self._insights or self._system_info.hooks
        if not needed:
            self._publisher.idle(now)
            self._publisher.publish_sources({}, now)
            self._end_poll()
            return True
        unprepared = self._prepare(now)
        runs, result = Runs(SOURCE), RestPollResult()
        refusal: SourceError | None = None
        for name in self._names():
            runs.by_name.setdefault(name, CollectorRun()).ran = True
        try:
            self._read(result, now)
        except PollInterrupted:
            return False
        except SourceError as failure:
            refusal = failure
            self._publisher.source_down(refusal, now)
        finally:
            self._lookups.add(result.looked_up(), self.rest.looked_up, now)
        if self._context.stopped.is_set():
            return False  # a reload may have other sites
        self._update(result, now)
        if refusal is None:
            sites = {site.casefold() for site in result.sites}
            self._read_at = {key: at for key, at in self._read_at.items() if key[0].casefold() in sites}
        self._put(result, runs, now)
        self._context.on_change()
        unwritten = unprepared or self._store(result, now)
        self._publisher.publish(result, runs, refusal, unwritten, now)
        self._publisher.publish_sources(self._read_at, now)
        self._system_info.poll(now, refusal)
        if self._insights is not None:
            self._poll_insights(self._insights, now, refusal)
        if not self._status.has_source("repository"):
            publish_archive(self._context)
        self._end_poll()
        answered = refusal is None and (bool(result.notes) or not result.failures)
        del result
        release_memory()
        return answered

    def _poll_insights(self, insights: InsightsPoller, now: float, refusal: SourceError | None) -> None:
        with suppress(PollInterrupted):
            insights.poll(now, refusal)
            if until := insights.published_at:
                self._queries.run_insights(insights.sites, now, until)

    def _read(self, result: RestPollResult, now: float) -> None:
        rows_of = {key: self._rows_of(key) for key in self._context.merged_states}
        for site in self.rest.poll(self._lookups.known, self._lookups.remaining(now)):
            result.add(site, rows_of, self._known_of, self._remembered)
            if site.inventory is not None:
                self._usage.add(site.inventory, now)
                if self._insights is not None:
                    self._insights.add(site.inventory)
        if not result.notes and result.failures and self.rest.token_stats.accepted is False:
            raise SourceRefused(result.failures[0])
        self._publisher.source_up(now)

    def _end_poll(self) -> None:
        self._status.set_poll_ended(SOURCE)
        self._context.on_change()

    def _prepare(self, now: float) -> HistoryError | None:
        """Read from the history, the first time, what earlier polls stored; return what failed."""
        if self._remembered is not None:
            return None
        try:
            with self._context.history.transaction(instant(now)) as transaction:
                connection, since = transaction.connection, naive(instant(now)) - timedelta(seconds=DAY_SECONDS)
                known, used_today = refreshes.looked_up(connection), refreshes.look_ups_since(connection, since)
                remembered, read_at = refreshes.freshness(connection), refreshes.sources(connection)
                counts = transaction.auditor.counts(connection)
        except HistoryError as failure:
            self._incidents.failed(failure)
            return failure
        self._lookups.restore(known, used_today, now)
        if not self._status.has_source("repository"):
            # The number of assets in the repository is no measure of those that the token's user may see.
            self.rest.remember(counts)
        self._noted = NO_NOTES
        # What was read meanwhile is newer.
        self._remembered = remembered
        self._read_at = {**read_at, **self._read_at}
        self._publisher.publish_sources(self._read_at, now)
        return None

    def _known_of(self, inventory: Inventory) -> pa.Table:
        """Return the rows of AssetFreshness that the next poll needs of a site's assets."""
        states = (self._context.state(key) for key in self._context.merged_states)
        tables = [state.rest.known(inventory) for state in states if state.rest is not None]
        return pa.concat_tables([FRESHNESS.empty_table(), *tables])

    def _update(self, result: RestPollResult, now: float) -> None:
        """Update the freshness of assets, and when each freshness source was read completely.

        A source that a site does not need at present does not count as down.
        """
        if self._remembered is not None:
            self._remembered |= {site: found.known for site, found in result.remembered.items()}
        for site, read_whole in result.read_whole.items():
            before = {source: at for (of, source), at in self._read_at.items() if of == site and source in read_whole}
            read_now = {source: instant(now).replace(tzinfo=None) for source, whole in read_whole.items() if whole}
            self._read_at = {key: at for key, at in self._read_at.items() if key[0] != site}
            self._read_at |= {(site, source): at for source, at in {**before, **read_now}.items()}

    def _put(self, result: RestPollResult, runs: Runs, started_at: float) -> None:
        """Publish the rows; those of a site that failed stay until they are too old.

        The next rows come an interval after these, and as long as a poll takes.
        """
        now = self._context.clock()
        lifetime = STALE_AFTER_INTERVALS * self._interval + max(now - started_at, 0.0)
        for key, merged in self._context.merged_states.items():
            with runs.timed(key[0]) as run:
                parts = {site: SourceRows(rows, now, lifetime) for site, rows in result.rows.get(key, {}).items()}
                run.rows += sum(part.rows.num_rows for part in parts.values())
                merged.put(SOURCE, parts, now)
            self._context.store.set_state(f"{key[0]}/{key[1]}", merged)
        self._usage.publish()

    def _rows_of(self, key: StateKey) -> RowsOf:
        """Return what makes a state's rows of an inventory, under the privacy options."""
        state, history = self._context.state(key), self._context.history

        def rows_of(inventory: Inventory) -> pa.Table:
            assert state.rest is not None  # noqa: S101 - merged states have it
            rows = state.rest.rows(inventory)
            return apply_privacy(rows, columns_of(state.row), history.privacy, history.pseudonyms)

        return rows_of

    def _store(self, result: RestPollResult, now: float) -> HistoryError | None:
        """Write refreshes, freshness and the audit, and read the history's answers; return what failed."""
        reported = result.refreshes()
        new = without(without(reported, self._noted), self._unwritten_notes)
        self._unwritten_notes = pa.concat_tables([self._unwritten_notes, new])
        learning, learned = self._learning_due.at(now), dict[StateKey, pa.Table]()
        to_query: dict[StateKey, pa.Table] = {}
        try:
            with self._context.history.transaction(instant(now)) as transaction:
                connection, at = transaction.connection, naive(transaction.now)
                refreshes.note(connection, self._unwritten_notes, at)
                remembered = refreshes.store_freshness(connection, result.remembered, self._read_at, at)
                for key in self._context.merged_states:
                    sql, rows = self._context.state(key).history.context_sql, result.all_rows(key)
                    if learning and sql and rows is not None:
                        learned[key] = transaction.query(sql, rows)
                        to_query[key] = rows
                if result.notes:
                    audit_assets(self._context, transaction, now)
                self._usage.store(transaction)
                self._prune(transaction, now)
                self._incidents.write(transaction)
        except HistoryError as failure:
            self._incidents.failed(failure)
            return failure
        self._incidents.committed()
        self._incidents.succeeded()
        self._usage.stored()
        self._noted, self._unwritten_notes = reported, NO_NOTES
        self._remembered = remembered
        if to_query:
            self._queries.run(to_query, {}, now)
        if not self._status.has_source("repository"):
            self._queries.forget(now, None, exact=False)
        if learned:
            self._learning_due.done_at = now
            for key, table in learned.items():
                self._context.merged_states[key].learn(SOURCE, table, now)
        return None

    def _prune(self, transaction: Transaction, now: float) -> None:
        """Delete what the retention does not keep, where no poller of a better source does."""
        before = self._context.history.prunable_before(instant(now))
        if before is not None and not any(self._status.has_source(name) for name in ("repository", "activity_log")):
            transaction.prune(before)

    def _names(self) -> set[str]:
        """Return the collectors that are made of the lists of sites."""
        return {*(name for name, _ in self._context.merged_states), *self._usage.hooks}

    def _publish_bug(self, error: str) -> None:
        self._publisher.publish_bug(error, self._names(), self._context.clock())
        if self._insights is not None:
            self._status.set_source(replace(self._status.source(INSIGHTS), tried_at=self._context.clock()))
            self._status.set_poll_ended(INSIGHTS)
        self._end_poll()
