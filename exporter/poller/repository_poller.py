"""Polls the repository: read, archive in one transaction, publish."""

import random
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from exporter.collector import Events, StateKey, columns_of
from exporter.errors import HistoryError, PollInterrupted, SourceError
from exporter.history.dimensions import keep
from exporter.history.totals import earlier_clock, instant, naive
from exporter.history.transaction import Transaction
from exporter.poller.archiver import append_full_read, columns_to_fit, commit_table
from exporter.poller.collect import SOURCE, PollResult, RepositoryReader
from exporter.poller.context import PollContext, WriteIncidents, audit_assets
from exporter.poller.page_queries import PageQueries
from exporter.poller.repository_publisher import RepositoryPublisher
from exporter.poller.runs import HISTORY
from exporter.poller.schedule import Due, exact_interval, run_loop
from exporter.poller.view_reader import LOOK_BACK
from exporter.repository.client import RepositoryClient
from exporter.repository.session import Session

log = structlog.get_logger()


@dataclass(frozen=True)
class Schedule:
    """How often to poll, and how often to read exactly (seconds)."""

    poll_interval: float = 60.0
    exact_interval: float = 300.0


class RepositoryPoller:
    """The only writer of the archive, and of the repository's part of the store."""

    def __init__(self, repository: RepositoryClient, context: PollContext, schedule: Schedule) -> None:
        self._repository = repository
        self._context = context
        self._history = context.history
        self._collectors = context.collectors
        self._schedule = schedule
        self._clock = context.clock
        self._progress = context.store.status.progress[SOURCE]
        repository.stopping, repository.moved = context.stopped.is_set, self._progress.moved
        self._reader = RepositoryReader(
            self._history, self._collectors, lambda: instant(self._clock()), context.stopped.is_set
        )
        self._publisher = RepositoryPublisher(
            context, poll_interval=schedule.poll_interval, exact_interval=schedule.exact_interval
        )
        self._kept: dict[StateKey, pa.Table] = {}
        self._learned: dict[StateKey, pa.Table] = {}
        self._incidents = WriteIncidents(SOURCE, context)
        self._states_due = Due(schedule.exact_interval)
        self._scan_due = Due(schedule.exact_interval)
        self._queries = PageQueries(SOURCE, context)
        self._seen_at: datetime | None = None
        self._published = False

    def run(self, randomness: random.Random) -> None:
        """Poll until stopped, with back-off and jitter after failures; read exactly once more at the agent's end."""
        run_loop(self._context.stopped, self.poll, self._publish_bug, self._schedule.poll_interval, randomness)
        if self._context.ending.is_set() and self._context.store.status.source(SOURCE).up:
            self.poll(exact=True)

    def _publish_bug(self, error: str) -> None:
        self._publisher.publish_bug(error, self._clock())
        self._end_poll()

    def _end_poll(self) -> None:
        self._context.store.status.set_poll_ended(SOURCE)
        self._context.on_change()

    def poll(self, *, exact: bool = False) -> bool:
        """Poll once; return whether the source answered and everything was stored."""
        now = self._clock()
        with self._progress.poll(now):
            return self._poll(now, exact=exact)

    def _poll(self, now: float, *, exact: bool) -> bool:
        scan = exact or self._scan_due.at(now)
        exact = exact or self._states_due.at(now)
        error = self._prepare(now)
        prepared = error is None
        result = PollResult()
        try:
            with self._repository.session() as session:
                self._read(session, result, now, error, exact=exact, scan=scan)
            self._publisher.source_up(result, now)
        except PollInterrupted:
            return False
        except SourceError as failure:
            error = str(failure)
            self._publisher.source_down(failure, now)
            self._reader.read_again()
            result.runs.fail_all([name for name, each in self._collectors.items() if each.from_repository], error)
        unwritten = (self._store(result, now, exact=exact) or result.unwritten) if prepared else None
        if unwritten or not prepared:
            self._reader.read_again(result.states)
        if unwritten:
            self._incidents.failed(unwritten)
            error = str(unwritten)
        elif error is None:
            self._incidents.succeeded()
        if prepared and not unwritten:
            self._queries.forget(now, result.source_at, exact=exact)
        if error is None:
            self._set_due(result, now, exact=exact, scan=scan)
        self._publisher.exact_interval = self._scan_due.seconds
        self._publisher.publish(result, self._reader.ids, self._learned, now, self._clock() - now, error)
        self._end_poll()
        return error is None

    def _set_due(self, result: PollResult, now: float, *, exact: bool, scan: bool) -> None:
        """Set when exact reads are due again; also where requests could not be read: fast reads go on."""
        if exact:
            self._states_due.done_at = now
        if scan:
            seconds = exact_interval(self._schedule.exact_interval, result.exact_seconds())
            if seconds > max(self._scan_due.seconds, self._schedule.exact_interval):
                log.info("exact reads of requests are slow: interval increased", interval_seconds=round(seconds))
            self._scan_due = Due(seconds, now)

    def _read(
        self, session: Session, result: PollResult, now: float, unprepared: str | None, *, exact: bool, scan: bool
    ) -> None:
        """Read states, then events: the first archive may take long, and states need not wait for it."""
        self._reader.open_catalog(session, result)
        self._reader.read_states(session, result, exact=exact)
        if self._states_due.done_at is None:
            self._publisher.publish_states(result, self._reader.ids, self._learned, now)
            self._context.on_change()
        if unprepared is None:
            self._reader.read_events(session, result, exact=scan)
            return
        # The archive's position is unknown: new rows could not be stored.
        for name, collector in self._collectors.items():
            if collector.events:
                result.runs.fail(name, unprepared, HISTORY)

    def _prepare(self, now: float) -> str | None:
        """Open the file the first time, and publish its metrics before the source is read; return what failed."""
        try:
            # Another writer of this process may have opened it before.
            if self._history.prepare(instant(now)) or not self._published:
                self._published = True
                self._publisher.publish_history()
                self._context.on_change()
        except HistoryError as failure:
            self._incidents.failed(failure)
            return str(failure)
        return None

    def _store(self, result: PollResult, now: float, *, exact: bool) -> HistoryError | None:
        """Write what waits in one transaction; return what failed."""
        if not result.tables and not result.full_reads and not result.states:
            return None
        learned: dict[StateKey, pa.Table] = {}
        self._publisher.merge(result, self._reader.ids, now)
        try:
            with self._history.transaction(instant(now), columns_to_fit(result.tables)) as transaction:
                self._write(transaction, result, learned, now, exact=exact)
        except HistoryError as failure:
            waiting = result.waiting()
            for name, collector in self._collectors.items():
                if collector.events and collector.events.table in waiting:
                    result.runs.fail(name, str(failure), HISTORY)
            return failure
        self._incidents.committed()
        self._history.file.quarantined.clear()
        if exact:
            self._queries.run(result.states, self._reader.ids.sites, now)
        self._seen_at = earlier_clock(instant(now), result.source_at)
        self._learned |= learned
        self._kept |= {key: rows for key, rows in result.states.items() if self._context.state(key).history.table}
        return None

    def _write(
        self,
        transaction: Transaction,
        result: PollResult,
        learned: dict[StateKey, pa.Table],
        now: float,
        *,
        exact: bool,
    ) -> None:
        archive = self._reader.archive_context()
        for events, rows in result.full_reads:
            self._progress.moved()
            with result.runs.timed(events.table):
                append_full_read(transaction, events, self._recent(events, rows), archive, result.address)
        for write in result.tables:
            self._progress.moved()
            with result.runs.timed(write.events.table):
                commit_table(transaction, write, archive, self._clock() - now)
        for key, rows in result.states.items():
            self._progress.moved()
            state = self._context.state(key)
            if state.history.table and not rows.equals(self._kept.get(key)):
                today = naive(earlier_clock(instant(now), result.source_at)).date()
                keep(transaction.connection, state.history.table, columns_of(state.row), rows, today)
            if state.history.context_sql and (exact or key not in self._learned):
                learned[key] = transaction.query(state.history.context_sql, rows)
        audit_assets(self._context, transaction, now)
        self._incidents.write(transaction)
        for detail in self._history.file.quarantined:
            transaction.incident("log_quarantined", detail)
        before = self._history.prunable_before(instant(now))
        if before is not None:
            transaction.prune(before)

    def _recent(self, events: Events, rows: pa.Table) -> pa.Table:
        """Leave out rows that earlier polls have read: known keys are then sought among the newest alone."""
        if not events.sql or self._seen_at is None:
            return rows
        since = pa.scalar(self._seen_at.replace(tzinfo=None) - LOOK_BACK, pa.timestamp("us"))
        return rows.filter(pc.greater_equal(rows.column(events.key[1]), since))
