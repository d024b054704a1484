"""One poll of the REST and Metadata APIs: ask site by site, show, then store what it teaches.

A site that fails leaves the others theirs: what was known of it is shown until it is too old.
"""

import random
import threading
from datetime import timedelta

import pyarrow as pa

from exporter.collector import State, columns_of
from exporter.errors import HistoryError, PollInterrupted, SourceError, SourceRefused
from exporter.exposition.state_store import STALE_AFTER_INTERVALS
from exporter.history import refreshes
from exporter.history.privacy import without_names
from exporter.history.refreshes import Read
from exporter.history.totals import instant
from exporter.inventory import FRESHNESS, Inventory
from exporter.poller.context import PollContext, audit_assets, publish_archive
from exporter.poller.memory import give_back
from exporter.poller.merged_state import Part, StateKey
from exporter.poller.page_queries import Recollection
from exporter.poller.rest_publisher import Teller
from exporter.poller.rest_result import DAY_SECONDS, NOTHING_NOTED, LookUps, Made, Told, without
from exporter.poller.runs import Run, Runs
from exporter.poller.schedule import Due, run_loop
from exporter.poller.write_failures import Notices
from exporter.rest.source import Rest, TokenLife

SOURCE = "rest"
# The question goes over a month of refreshes of every asset.
LEARNING_SECONDS = 3600.0


class RestPoller:
    """Polls the REST API: it writes to the history what only that API tells, and pins its part of the store."""

    def __init__(
        self, rest: Rest, shared: PollContext, interval: float, look_ups_a_day: int, stopped: threading.Event
    ) -> None:
        self._rest = rest
        self._shared = shared
        self._interval = interval
        self._progress = shared.store.status.progress[SOURCE]
        self._stopped = stopped
        self._notices = Notices(SOURCE, shared)
        self._teller = Teller(shared, rest, interval)
        self._look_ups = LookUps(look_ups_a_day)
        self._learning_due = Due(LEARNING_SECONDS)
        self._recollection = Recollection(SOURCE, shared)
        self._remembered: dict[str, pa.Table] | None = None
        self._read_at: Read = {}
        self._noted: pa.Table | None = None
        self._waiting = NOTHING_NOTED

    @property
    def life(self) -> TokenLife:
        """What is known of the token, for whoever goes on with it."""
        return self._rest.life

    def stop(self) -> None:
        """End the loop; a poll ends before its next request."""
        self._stopped.set()

    def run(self, randomness: random.Random) -> None:
        """Poll until told to stop; failures make the pauses longer, with jitter."""
        run_loop(self._stopped, self.poll, self._confess, self._interval, randomness)
        self._rest.close()

    def poll(self) -> bool:
        """Poll once; return whether anything was answered: one site that fails is no reason to ask the others less."""
        now = self._shared.clock()
        with self._progress.poll(now):
            return self._poll(now)

    def _poll(self, now: float) -> bool:
        if not self._shared.assemblies:
            self._teller.idle(now)
            self._teller.show_sources({}, now)
            self._shared.store.status.set_poll_ended(SOURCE)
            self._shared.on_change()
            return True
        unprepared = self._prepare(now)
        runs, told = Runs(SOURCE), Told()
        refusal: SourceError | None = None
        made = {key: self._maker(self._state(key)) for key in self._shared.assemblies}
        for name, _ in self._shared.assemblies:
            runs.by_name.setdefault(name, Run()).ran = True
        try:
            for result in self._rest.poll(self._look_ups.known, self._look_ups.left(now)):
                told.take(result, made, self._remember, self._remembered)
            if not told.notes and told.failures and self._rest.token.accepted is False:
                raise SourceRefused(told.failures[0])
            self._teller.answered(now)
        except PollInterrupted:
            return False
        except SourceError as failure:
            refusal = failure
            self._teller.unanswered(refusal, now)
        finally:
            self._look_ups.add(told.looked_up(), self._rest.looked_up, now)
        if self._stopped.is_set():
            return False  # a reload may have named other sites
        self._update(told, now)
        if refusal is None:
            sites = {site.casefold() for site in told.sites}
            self._read_at = {key: at for key, at in self._read_at.items() if key[0].casefold() in sites}
        self._put(told, runs, now)
        self._shared.on_change()
        unwritten = unprepared or self._store(told, now)
        self._teller.show(told, runs, refusal, unwritten, now)
        self._teller.show_sources(self._read_at, now)
        if not self._shared.store.status.has_source("repository"):
            publish_archive(self._shared)
        self._shared.store.status.set_poll_ended(SOURCE)
        self._shared.on_change()
        answered = refusal is None and (bool(told.notes) or not told.failures)
        del told
        give_back()
        return answered

    def _prepare(self, now: float) -> HistoryError | None:
        """Learn from the file, the first time, what was looked up and how much there was."""
        if self._remembered is not None:
            return None
        try:
            with self._shared.history.writing(instant(now)) as writer:
                since = instant(now) - timedelta(seconds=DAY_SECONDS)
                known, recently, counts = writer.looked_up(), writer.look_ups_since(since), writer.audited()
                remembered, read_at = refreshes.freshness(writer.connection), refreshes.sources(writer.connection)
        except HistoryError as failure:
            self._notices.notice(failure)
            return failure
        self._look_ups.remember(known, recently, now)
        if not self._shared.store.status.has_source("repository"):
            # What the repository knows beside is no measure of what this API shows to its user.
            self._rest.remember(counts)
        self._noted = NOTHING_NOTED
        # What was reported meanwhile is newer.
        self._remembered = remembered
        self._read_at = {**read_at, **self._read_at}
        self._teller.show_sources(self._read_at, now)
        return None

    def _remember(self, inventory: Inventory) -> pa.Table:
        """Return what is to be known of a site's assets in the next poll."""
        states = (self._state(key) for key in self._shared.assemblies)
        tables = [state.remembers(inventory) for state in states if state.remembers is not None]
        return pa.concat_tables([FRESHNESS.empty_table(), *tables])

    def _update(self, told: Told, now: float) -> None:
        """Take up what is known of refreshes now, and which sources of freshness were read whole.

        A source that a site does not need at present is not silent.
        """
        if self._remembered is not None:
            self._remembered |= {site: found.known for site, found in told.remembered.items()}
        for site, read_whole in told.read_whole.items():
            before = {source: at for (of, source), at in self._read_at.items() if of == site and source in read_whole}
            read_now = {source: instant(now).replace(tzinfo=None) for source, whole in read_whole.items() if whole}
            self._read_at = {key: at for key, at in self._read_at.items() if key[0] != site}
            self._read_at |= {(site, source): at for source, at in {**before, **read_now}.items()}

    def _put(self, told: Told, runs: Runs, begun_at: float) -> None:
        """Show what was told; of a site that failed, what it told before is shown until it is too old.

        The next word comes an interval after this one, and as long as it takes to ask.
        """
        now = self._shared.clock()
        lifetime = STALE_AFTER_INTERVALS * self._interval + max(now - begun_at, 0.0)
        for key, assembly in self._shared.assemblies.items():
            with runs.timed(key[0]) as run:
                parts = {site: Part(rows, now, lifetime) for site, rows in told.rows.get(key, {}).items()}
                run.rows += sum(part.rows.num_rows for part in parts.values())
                assembly.put(SOURCE, parts, now)
            self._shared.store.set_state(f"{key[0]}/{key[1]}", assembly)

    def _maker(self, state: State) -> Made:
        """Return what makes a state's rows of an inventory, under the privacy options."""
        history = self._shared.history

        def make(inventory: Inventory) -> pa.Table:
            assert state.inventoried is not None  # noqa: S101 - it has an assembly
            rows = state.inventoried(inventory)
            return without_names(rows, columns_of(state.row), history.privacy, history.pseudonyms)

        return make

    def _store(self, told: Told, now: float) -> HistoryError | None:
        """Write what was told, what it teaches, and what was found; return what was in the way."""
        reported = told.refreshes()
        new = without(without(reported, self._noted), self._waiting)
        self._waiting = pa.concat_tables([self._waiting, new])
        learning, learned = self._learning_due.at(now), dict[StateKey, pa.Table]()
        recalled: dict[StateKey, pa.Table] = {}
        try:
            with self._shared.history.writing(instant(now)) as writer:
                writer.note_refreshes(self._waiting)
                remembered = writer.store_freshness(told.remembered, self._read_at)
                for key in self._shared.assemblies:
                    state, rows = self._state(key), told.all_rows(key)
                    if learning and state.learns and rows is not None:
                        learned[key] = writer.learn(state.learns, rows)
                        recalled[key] = rows
                if told.notes:
                    audit_assets(self._shared, writer, now)
                self._notices.write(writer)
        except HistoryError as failure:
            self._notices.notice(failure)
            return failure
        self._notices.written()
        self._notices.well()
        self._noted, self._waiting = reported, NOTHING_NOTED
        self._remembered = remembered
        if recalled:
            self._recollection.recall(recalled, {}, now)
        if not self._shared.store.status.has_source("repository"):
            self._recollection.forget(now, None, exact=False)
        if learned:
            self._learning_due.done_at = now
            for key, table in learned.items():
                self._shared.assemblies[key].learn(SOURCE, table, now)
        return None

    def _state(self, key: StateKey) -> State:
        return self._shared.collectors[key[0]].states[key[1]]

    def _confess(self, error: str) -> None:
        self._teller.defect(error, {name for name, _ in self._shared.assemblies}, self._shared.clock())
        self._shared.store.status.set_poll_ended(SOURCE)
        self._shared.on_change()
