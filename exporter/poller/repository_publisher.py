"""Publishes what a poll of the repository read: source, collectors, states and history, in the store and in the log."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC

import pyarrow as pa
import structlog

from exporter.collector import Context, State, StateKey
from exporter.collectors import requests_collector
from exporter.errors import SourceError
from exporter.exposition.history_metrics import MODES
from exporter.exposition.state_store import STALE_AFTER_INTERVALS, TimedBlocks
from exporter.log_once import LogOnce, Outage
from exporter.metrics import Block, Labels, single
from exporter.poller.collect import SOURCE, IdMaps, PollResult
from exporter.poller.context import PollContext, publish_archive
from exporter.poller.merged_state import SourceRows
from exporter.poller.runs import Runs
from exporter.self_metrics import (
    EXACT_INTERVAL,
    READING_SECONDS,
    REPOSITORY_BYTES,
    REPOSITORY_OLDEST,
)
from exporter.status import CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()


class RepositoryPublisher:
    """Publishes the results of the repository's polls."""

    def __init__(self, context: PollContext, *, poll_interval: float, exact_interval: float) -> None:
        self._context = context
        self._store = context.store
        self._status = context.store.status
        self._collectors = context.collectors
        # An exact read comes with the first poll after its interval has passed.
        self._lifetimes = {
            "poll": STALE_AFTER_INTERVALS * poll_interval,
            "exact": STALE_AFTER_INTERVALS * max(exact_interval, poll_interval),
        }
        self._outage = Outage()
        self._failures = LogOnce()
        self._repository_oldest: float | None = None
        self._repository_bytes: int | None = None
        self._read_seconds: dict[str, float] = {}
        self.exact_interval = exact_interval
        """The seconds from one exact read of requests to the next, as they are now."""

    def source_up(self, result: PollResult, now: float) -> None:
        """Publish that the source is up."""
        if self._outage.is_over() or not self._status.source(SOURCE).up:
            log.info("the repository is up", address=result.address, version=result.server_version)
        status = SourceStatus(SOURCE, True, result.address, result.server_version, tried_at=now, answered_at=now)  # noqa: FBT003
        self._status.set_source(status)

    def source_down(self, failure: SourceError, now: float) -> None:
        """Publish that the source is down; logged once for each kind of error."""
        before = self._status.source(SOURCE)
        write = log.error if self._outage.is_new(failure) else log.debug
        write("the repository is down", error=str(failure))
        self._status.set_source(replace(before, up=False, tried_at=now, error=str(failure)))

    def publish_states(self, result: PollResult, ids: IdMaps, learned: Mapping[StateKey, pa.Table], now: float) -> None:
        """Publish the source and its states while the first poll is still running."""
        before = self._status.source(SOURCE)
        self._status.set_source(replace(before, up=True, address=result.address, server_version=result.server_version))
        self.merge(result, ids, now)
        self._publish_states(result, ids, learned, now)

    def merge(self, result: PollResult, ids: IdMaps, now: float) -> None:
        """Set the repository's rows of the states that have other sources too."""
        for key, merged in self._context.merged_states.items():
            if key not in result.states:
                continue
            lifetime = self._lifetime(self._context.state(key), now)
            with result.runs.timed(key[0]):
                merged.put(SOURCE, {"": SourceRows(result.states[key], now, lifetime)}, now, ids.sites)
            self._store.set_state(f"{key[0]}/{key[1]}", merged)

    def publish(
        self,
        result: PollResult,
        ids: IdMaps,
        learned: Mapping[StateKey, pa.Table],
        now: float,
        seconds: float,
        error: str | None,
    ) -> None:
        """Publish the results of a poll that has ended."""
        if result.oldest_at is not None:
            self._repository_oldest = result.oldest_at.replace(tzinfo=UTC).timestamp()
        if result.table_bytes is not None:
            self._repository_bytes = result.table_bytes
        self._publish_states(result, ids, learned, now)
        self._publish_from_requests(ids, now, result.runs)
        statuses = result.runs.statuses(now)
        for status in statuses:
            missing = result.missing.get(status.name, ())
            note = "lacks " + ", ".join(missing) if missing else None
            self._status.set_collector(replace(status, note=note), missing)
        self._log(statuses)
        reads = [write for write in result.tables if write.events.keeps_open]
        for write in reads:
            self._read_seconds[write.mode] = write.seconds
            self._status.add_poll(PollStatus(now, seconds, write.mode, write.read, write.new, error))
        if not reads and error:
            self._status.add_poll(PollStatus(now, seconds, "none", 0, 0, error))
        self.publish_history()
        if error is None and self._status.first_success(SOURCE):
            # Where requests are disabled, their number is unknown.
            counts = {"requests": sum(write.new for write in reads)} if reads else {}
            log.info("first poll finished", source=SOURCE, **counts, seconds=round(seconds, 1))

    def publish_history(self) -> None:
        """Publish the metrics of the history, and of the repository's table of requests."""
        seconds = [self._read_seconds.get(mode) for mode in MODES]
        publish_archive(
            self._context,
            (
                single(REPOSITORY_OLDEST, self._repository_oldest),
                single(REPOSITORY_BYTES, self._repository_bytes),
                single(EXACT_INTERVAL, self.exact_interval),
                Block(READING_SECONDS, Labels(("mode",), [list(MODES)]), seconds),
            ),
        )

    def publish_bug(self, error: str, now: float) -> None:
        """Publish that a poll ended with an unexpected error, which is no source's fault."""
        for name in (name for name, collector in self._collectors.items() if collector.from_repository):
            self._status.set_collector(
                CollectorStatus(name, success=False, duration_seconds=0.0, succeeded_at=None, error=error)
            )
        self._status.set_source(replace(self._status.source(SOURCE), tried_at=now))
        self._status.add_poll(PollStatus(now, 0.0, "none", 0, 0, error))

    def _publish_states(
        self, result: PollResult, ids: IdMaps, learned: Mapping[StateKey, pa.Table], now: float
    ) -> None:
        for key, rows in result.states.items():
            with result.runs.timed(key[0]):
                if merged := self._context.merged_states.get(key):
                    merged.learn(SOURCE, learned.get(key), now)
                    continue
                state = self._context.state(key)
                blocks = state.expose(rows, Context(ids.sites, self._context.sla, learned.get(key), now=now))
                lifetime = self._lifetime(state, now)
                self._store.set_state(f"{key[0]}/{key[1]}", TimedBlocks(tuple(blocks), now, lifetime))

    def _publish_from_requests(self, ids: IdMaps, now: float, runs: Runs) -> None:
        """Publish the collectors that are made of the requests which this poll archived."""
        requests = requests_collector(self._collectors)
        run = runs.by_name.get(requests) if requests else None
        error = run.error if run else "requests are not archived: switch http_requests on"
        cause = (run.cause or requests) if run else None
        for name, collector in self._collectors.items():
            if not collector.from_requests:
                continue
            if error:
                runs.fail(name, error, cause)
                continue
            with runs.timed(name) as derived:
                if collector.expose_last_seen:
                    seen = self._context.history.totals.seen
                    derived.rows = len(seen.people)
                    blocks = tuple(collector.expose_last_seen(seen, ids.present_sites, {}))
                    self._store.set_state(name, TimedBlocks(blocks, now, self._lifetime(None, now)))

    def _lifetime(self, state: State | None, started_at: float) -> float:
        """Return for how long the rows of a poll are published: its successor takes as long to read as it did.

        ``state`` is None for what every poll reads.
        """
        lifetime = self._lifetimes[state.every if state else "poll"]
        seldom = STALE_AFTER_INTERVALS * state.seconds if state else 0.0
        return max(lifetime, seldom) + max(self._context.clock() - started_at, 0.0)

    def _log(self, statuses: Iterable[CollectorStatus]) -> None:
        """Log the collectors that fail by themselves, and their recovery: a line for each error.

        A collector that fails because something else does is left as it was: the cause has a line of its own.
        """
        failed: dict[str, list[str]] = {}
        recovered = []
        for status in statuses:
            if status.success and self._failures.is_over(status.name):
                recovered.append(status.name)
            elif status.error and not status.causes and self._failures.is_new(status.name, status.error):
                failed.setdefault(status.error, []).append(status.name)
        for error, names in failed.items():
            log.warning("collectors failed", collectors=", ".join(names), error=error)
        if recovered:
            log.info("collectors recovered", collectors=", ".join(recovered))
