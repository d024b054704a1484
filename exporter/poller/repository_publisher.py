"""Showing what a poll learned: source, collectors, states and history, pinned to the store and told to the log."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from typing import Literal

import pyarrow as pa
import structlog

from exporter.agent_families import (
    EXACT_INTERVAL,
    READING_SECONDS,
    REPOSITORY_BYTES,
    REPOSITORY_OLDEST,
)
from exporter.collector import Context
from exporter.errors import SourceError
from exporter.exposition.history_metrics import MODES, active_blocks
from exporter.exposition.state_store import STALE_AFTER_INTERVALS, TimedBlocks
from exporter.log_once import Outage
from exporter.metrics import Block, Labels, single
from exporter.poller.collect import SOURCE, Knowledge, Taken
from exporter.poller.context import PollContext, publish_archive
from exporter.poller.merged_state import Part, StateKey
from exporter.poller.runs import Runs
from exporter.status import CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()

REQUESTS = "http_requests"


class Shower:
    """Pins the results of the repository's polls to the store."""

    def __init__(
        self,
        shared: PollContext,
        *,
        poll_interval: float,
        exact_interval: float,
    ) -> None:
        self._shared = shared
        self._store = shared.store
        self._history = shared.history
        self._collectors = shared.collectors
        self._promises = shared.promises
        self._assemblies = shared.assemblies
        # An exact reading comes with the first poll after its interval has passed.
        self._lifetimes = {
            "poll": STALE_AFTER_INTERVALS * poll_interval,
            "exact": STALE_AFTER_INTERVALS * max(exact_interval, poll_interval),
        }
        self._outage = Outage()
        self._failing: dict[str, str] = {}
        self._repository_oldest: float | None = None
        self._repository_bytes: int | None = None
        self._reading_seconds: dict[str, float] = {}
        self.exact_interval = exact_interval
        """The seconds from one exact reading of requests to the next, as they are kept now."""

    def answered(self, taken: Taken, now: float) -> None:
        """Say that the source answered."""
        if self._outage.is_over() or not self._store.status.source(SOURCE).up:
            log.info("the repository answers", address=taken.address, version=taken.server_version)
        status = SourceStatus(SOURCE, True, taken.address, taken.server_version, tried_at=now, answered_at=now)  # noqa: FBT003
        self._store.status.set_source(status)

    def unanswered(self, failure: SourceError, now: float) -> None:
        """Say that the source did not answer, once for each kind of reason."""
        before = self._store.status.source(SOURCE)
        write = log.error if self._outage.is_new(failure) else log.debug
        write("the repository does not answer", error=str(failure))
        self._store.status.set_source(replace(before, up=False, tried_at=now, error=str(failure)))

    def show_states(self, taken: Taken, known: Knowledge, learned: Mapping[StateKey, pa.Table], now: float) -> None:
        """Show the source and its states while the first poll is still at work."""
        before = self._store.status.source(SOURCE)
        self._store.status.set_source(
            replace(before, up=True, address=taken.address, server_version=taken.server_version)
        )
        self.assemble(taken, known, now)
        for key, rows in taken.states.items():
            self._show_state(key, rows, Context(known.sites, self._promises, learned.get(key)), now, taken.runs)

    def assemble(self, taken: Taken, known: Knowledge, now: float) -> None:
        """Put the rows of those states that other sources tell of too to theirs."""
        for (name, index), assembly in self._assemblies.items():
            if (name, index) not in taken.states:
                continue
            lifetime = self._lifetime(self._collectors[name].states[index].every, now)
            with taken.runs.timed(name):
                assembly.put(SOURCE, {"": Part(taken.states[name, index], now, lifetime)}, now, known.sites)
            self._store.set_state(f"{name}/{index}", assembly)

    def show(
        self,
        taken: Taken,
        known: Knowledge,
        learned: Mapping[StateKey, pa.Table],
        now: float,
        seconds: float,
        error: str | None,
    ) -> None:
        """Pin what this poll learned."""
        if taken.oldest_at is not None:
            self._repository_oldest = taken.oldest_at.replace(tzinfo=UTC).timestamp()
        if taken.table_bytes is not None:
            self._repository_bytes = taken.table_bytes
        for key, rows in taken.states.items():
            self._show_state(key, rows, Context(known.sites, self._promises, learned.get(key)), now, taken.runs)
        self._show_requests_of(known, now, taken.runs)
        statuses = taken.runs.statuses(now)
        for status in statuses:
            lacks = taken.lacks.get(status.name, ())
            self._store.status.set_collector(
                replace(status, note="lacks " + ", ".join(lacks) if lacks else None), lacks
            )
        self._log(statuses)
        polls = [pending for pending in taken.tables if pending.events.keeps_open]
        for pending in polls:
            self._reading_seconds[pending.mode] = pending.seconds
            self._store.status.add_poll(PollStatus(now, seconds, pending.mode, pending.read, pending.new, error))
        if not polls and error:
            self._store.status.add_poll(PollStatus(now, seconds, "none", 0, 0, error))
        self.show_history()
        if error is None and self._store.status.first_success(SOURCE):
            # Where requests are switched off, how many there are is unknown.
            counts = {"requests": sum(pending.new for pending in polls)} if polls else {}
            log.info("first poll finished", source=SOURCE, **counts, seconds=round(seconds, 1))

    def show_history(self) -> None:
        """Show what the file holds, and what is known of the repository's table."""
        publish_archive(
            self._shared,
            (
                single(REPOSITORY_OLDEST, self._repository_oldest),
                single(REPOSITORY_BYTES, self._repository_bytes),
                single(EXACT_INTERVAL, self.exact_interval),
                Block(
                    READING_SECONDS,
                    Labels(("mode",), [list(MODES)]),
                    [self._reading_seconds.get(mode) for mode in MODES],
                ),
            ),
        )

    def show_defect(self, error: str, now: float) -> None:
        """Say that a poll ended for a reason that no source is to blame for."""
        for name in self._collectors:
            self._store.status.set_collector(
                CollectorStatus(name, success=False, duration_seconds=0.0, succeeded_at=None, error=error)
            )
        self._store.status.set_source(replace(self._store.status.source(SOURCE), tried_at=now))
        self._store.status.add_poll(PollStatus(now, 0.0, "none", 0, 0, error))

    def _show_state(self, key: StateKey, rows: pa.Table, context: Context, now: float, runs: Runs) -> None:
        state = self._collectors[key[0]].states[key[1]]
        name, lifetime = f"{key[0]}/{key[1]}", self._lifetime(state.every, now)
        with runs.timed(key[0]):
            if assembly := self._assemblies.get(key):
                assembly.learn(SOURCE, context.learned, now)
            else:
                self._store.set_state(name, TimedBlocks(tuple(state.expose(rows, context)), now, lifetime))

    def _show_requests_of(self, known: Knowledge, now: float, runs: Runs) -> None:
        """Show what is made of the requests archived by this poll: the people of the trailing windows, the views."""
        requests = runs.by_name.get(REQUESTS)
        error = requests.error if requests else "requests are not archived: switch http_requests on"
        cause = (requests.cause or REQUESTS) if requests else None
        for name, collector in self._collectors.items():
            if not collector.from_requests:
                continue
            if error:
                runs.fail(name, error, cause)
                continue
            with runs.timed(name) as run:
                if name == "active_users":
                    run.rows = len(self._history.totals.seen.people)
                    blocks = tuple(active_blocks(self._history.totals, known.present_sites))
                    self._store.set_state(name, TimedBlocks(blocks, now, self._lifetime("poll", now)))

    def _lifetime(self, every: Literal["poll", "exact"], begun_at: float) -> float:
        """Return for how long what a poll learned is shown: its successor takes as long to ask as it did."""
        return self._lifetimes[every] + max(self._shared.clock() - begun_at, 0.0)

    def _log(self, statuses: Iterable[CollectorStatus]) -> None:
        """Log the collectors that fail by themselves when that begins or changes, and its end: a line for each reason.

        What fails because something else does is left as it was: that has a line of its own.
        """
        failed: dict[str, list[str]] = {}
        recovered = []
        for status in statuses:
            before = self._failing.get(status.name)
            if status.success and before is not None:
                recovered.append(status.name)
                del self._failing[status.name]
            elif status.error and not status.causes and status.error != before:
                failed.setdefault(status.error, []).append(status.name)
                self._failing[status.name] = status.error
        for error, names in failed.items():
            log.warning("collectors failed", collectors=", ".join(names), error=error)
        if recovered:
            log.info("collectors work again", collectors=", ".join(recovered))
