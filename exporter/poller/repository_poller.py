"""One poll of the repository: take, store, show."""

import random
import threading
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from exporter.collector import Events, State
from exporter.errors import HistoryError, PollInterrupted, SourceError
from exporter.history.totals import instant
from exporter.history.writer import Writer
from exporter.poller.archiver import append_sightings, columns_to_fit, finish
from exporter.poller.collect import SOURCE, Taken, Taker
from exporter.poller.context import PollContext, audit_assets
from exporter.poller.merged_state import StateKey
from exporter.poller.page_queries import Recollection
from exporter.poller.repository_publisher import Shower
from exporter.poller.runs import HISTORY
from exporter.poller.schedule import Due, exact_interval, run_loop
from exporter.poller.view_reader import LOOK_BACK
from exporter.poller.write_failures import Notices
from exporter.repository.session import Session
from exporter.repository.source import Repository

log = structlog.get_logger()


@dataclass(frozen=True)
class Schedule:
    """How often to poll, and how often to read exactly (seconds)."""

    poll_interval: float = 60.0
    exact_interval: float = 300.0


class Poller:
    """Polls the repository: the only writer of the history, and of its part of the store."""

    def __init__(self, repository: Repository, shared: PollContext, schedule: Schedule) -> None:
        self._repository = repository
        self._shared = shared
        self._history = shared.history
        self._collectors = shared.collectors
        self._schedule = schedule
        self._clock = shared.clock
        self._on_change = shared.on_change
        self._progress = shared.store.status.progress[SOURCE]
        self._stop = threading.Event()
        repository.stopping, repository.moved = self._stop.is_set, self._progress.moved
        self._taker = Taker(self._history, self._collectors, lambda: instant(self._clock()), self._stop.is_set)
        self._shower = Shower(shared, poll_interval=schedule.poll_interval, exact_interval=schedule.exact_interval)
        self._kept: dict[StateKey, pa.Table] = {}
        self._learned: dict[StateKey, pa.Table] = {}
        self._notices = Notices(SOURCE, shared)
        self._states_due = Due(schedule.exact_interval)
        self._scan_due = Due(schedule.exact_interval)
        self._recollection = Recollection(SOURCE, shared)
        self._seen_at: datetime | None = None
        self._shown = False

    def lock(self) -> None:
        """Make this agent the history's only writer. Raises HistoryLocked, HistoryUnwritable."""
        self._history.lock()

    def stop(self) -> None:
        """End the loop; a long reading ends at its next range."""
        self._stop.set()

    def run(self, randomness: random.Random) -> None:
        """Poll until told to stop; failures make the pauses longer, with jitter."""
        run_loop(self._stop, self.poll, self._confess, self._schedule.poll_interval, randomness)

    def _confess(self, error: str) -> None:
        self._shower.show_defect(error, self._clock())
        self._shared.store.status.set_poll_ended(SOURCE)
        self._on_change()

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
        taken = Taken()
        try:
            with self._repository.session() as session:
                self._take(session, taken, now, error, exact=exact, scan=scan)
            self._shower.answered(taken, now)
        except PollInterrupted:
            return False
        except SourceError as failure:
            error = str(failure)
            self._shower.unanswered(failure, now)
            taken.runs.fail_all(self._collectors, error)
        unwritten = (self._store(taken, now, exact=exact) or taken.unwritten) if prepared else None
        if unwritten:
            self._notices.notice(unwritten)
            error = str(unwritten)
        elif error is None:
            self._notices.well()
        if prepared and not unwritten:
            self._recollection.forget(now, taken.asked_at, exact=exact)
        if error is None:
            self._settle(taken, now, exact=exact, scan=scan)
        self._shower.exact_interval = self._scan_due.seconds
        self._shower.show(taken, self._taker.known, self._learned, now, self._clock() - now, error)
        self._shared.store.status.set_poll_ended(SOURCE)
        self._on_change()
        return error is None

    def _settle(self, taken: Taken, now: float, *, exact: bool, scan: bool) -> None:
        """Say when what was done now is due again; also when requests could not be read: fast readings go on."""
        if exact:
            self._states_due.done_at = now
        if scan:
            seconds = exact_interval(self._schedule.exact_interval, taken.exact_seconds())
            if seconds > max(self._scan_due.seconds, self._schedule.exact_interval):
                log.info("requests are read exactly less often: it takes long", interval_seconds=round(seconds))
            self._scan_due = Due(seconds, now)

    def _take(
        self, session: Session, taken: Taken, now: float, in_the_way: str | None, *, exact: bool, scan: bool
    ) -> None:
        """Take states, then events: the first archiving may take long, and nobody waits for it to know the states."""
        self._taker.look(session, taken)
        self._taker.take_states(session, taken, exact=exact)
        if self._states_due.done_at is None:
            self._shower.show_states(taken, self._taker.known, self._learned, now)
            self._on_change()
        if in_the_way is None:
            self._taker.take_events(session, taken, exact=scan)
            return
        # Where the archive stands is not known: what was read now could not be stored.
        for name, collector in self._collectors.items():
            if collector.events:
                taken.runs.fail(name, in_the_way, HISTORY)

    def _prepare(self, now: float) -> str | None:
        """Open the file the first time, and show what it holds before the source is asked."""
        try:
            # Whoever else writes the file may have opened it before.
            if self._history.prepare(instant(now)) or not self._shown:
                self._shown = True
                self._shower.show_history()
                self._on_change()
        except HistoryError as failure:
            self._notices.notice(failure)
            return str(failure)
        return None

    def _store(self, taken: Taken, now: float, *, exact: bool) -> HistoryError | None:
        """Write what waits in one transaction; return what was in the way."""
        if not taken.tables and not taken.sightings and not taken.states:
            return None
        learned: dict[StateKey, pa.Table] = {}
        self._shower.assemble(taken, self._taker.known, now)
        try:
            with self._history.writing(instant(now), columns_to_fit(taken.tables)) as writer:
                self._write(writer, taken, learned, now, exact=exact)
        except HistoryError as failure:
            waiting = taken.waiting()
            for name, collector in self._collectors.items():
                if collector.events and collector.events.table in waiting:
                    taken.runs.fail(name, str(failure), HISTORY)
            return failure
        self._notices.written()
        self._history.file.quarantined.clear()
        if exact:
            self._recollection.recall(taken.states, self._taker.known.sites, now)
        self._seen_at = _believed(now, taken)
        self._learned |= learned
        self._kept |= {key: rows for key, rows in taken.states.items() if self._state(key).kept_in}
        return None

    def _write(
        self, writer: Writer, taken: Taken, learned: dict[StateKey, pa.Table], now: float, *, exact: bool
    ) -> None:
        archiving = self._taker.archiving()
        for events, rows in taken.sightings:
            self._progress.moved()
            with taken.runs.timed(events.table):
                append_sightings(writer, events, self._recent(events, rows), archiving, taken.address)
        for pending in taken.tables:
            self._progress.moved()
            with taken.runs.timed(pending.events.table):
                finish(writer, pending, archiving, self._clock() - now)
        for key, rows in taken.states.items():
            self._progress.moved()
            state = self._state(key)
            if state.kept_in and not rows.equals(self._kept.get(key)):
                writer.keep(state.row, state.kept_in, rows, _believed(now, taken))
            if state.learns and (exact or key not in self._learned):
                learned[key] = writer.learn(state.learns, rows)
        audit_assets(self._shared, writer, now)
        self._notices.write(writer)
        for what in self._history.file.quarantined:
            writer.incident("log_quarantined", what)
        before = self._history.prunable_before(instant(now))
        if before is not None:
            writer.prune(before)

    def _recent(self, events: Events, rows: pa.Table) -> pa.Table:
        """Leave out what earlier polls have seen: the known rows are then sought among the newest alone."""
        if not events.sql or self._seen_at is None:
            return rows
        since = pa.scalar(self._seen_at.replace(tzinfo=None) - LOOK_BACK, pa.timestamp("us"))
        return rows.filter(pc.greater_equal(rows.column(events.key[1]), since))

    def _state(self, key: StateKey) -> State:
        return self._collectors[key[0]].states[key[1]]


def _believed(now: float, taken: Taken) -> datetime:
    """Return the earlier of the two clocks, ours and the source's: one that jumps ahead is not followed."""
    return min(instant(now), taken.asked_at or instant(now))
