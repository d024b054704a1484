"""What the agent shows at this moment: the poller pins results to it, renderings and pages read it.

Everything pinned is immutable and replaced whole, so a reader takes hold of it and needs no lock afterwards.
"""

import itertools
import platform
import threading
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from exporter import agent_families as families
from exporter.exposition.recalled import Recalled, Use
from exporter.metrics import Block, Family, HistogramBlock, Labels, single
from exporter.progress import Progress
from exporter.status import (
    ArchiveStatus,
    CollectorStatus,
    ExportStatus,
    FiringAlert,
    FreshnessSource,
    PollStatus,
    SourceStatus,
    Status,
)

STALE_AFTER_INTERVALS = 3
POLLS_SHOWN = 20
NOTIFICATIONS, FRESHNESS_SOURCES, CERTIFICATE = "notifications", "freshness_sources", "web certificate"
"""Names of states that are of no collector and of no single source."""

AnyBlock = Block | HistogramBlock


@dataclass(frozen=True)
class Shown:
    """The blocks of one state, when they were true (Unix seconds), and for how many seconds they may be shown."""

    blocks: tuple[AnyBlock, ...]
    taken_at: float
    lifetime: float

    def at(self, now: float) -> tuple[AnyBlock, ...]:
        """Return what may be shown at an instant: nothing that is too old."""
        return self.blocks if now - self.taken_at <= self.lifetime else ()


class Showing(Protocol):
    """Whatever knows what of a state may be shown at an instant."""

    def at(self, now: float) -> Sequence[AnyBlock]:
        """Return the blocks to be shown (Unix seconds)."""


@dataclass(frozen=True)
class Reload:
    """How the last reload of the configuration went."""

    loaded_at: float
    error: str | None = None


class Board:
    """The agent's present: pinned by the pollers, read by renderings and pages."""

    def __init__(self, sources: Sequence[str], *, version: str, library: str, started_at: float) -> None:
        self._lock = threading.Lock()
        self._sources = {name: SourceStatus(name) for name in sources}
        self.progress: Mapping[str, Progress] = {name: Progress() for name in sources}
        """The poll of each source that is under way."""
        self._collectors: dict[tuple[str, str], CollectorStatus] = {}
        self._missing: dict[str, tuple[str, ...]] = {}
        self._states: dict[str, Showing] = {}
        self._archive: tuple[AnyBlock, ...] = ()
        self._archive_status = ArchiveStatus("")
        self._history_errors: dict[str, str] = {}
        self._polls: deque[PollStatus] = deque(maxlen=POLLS_SHOWN)
        self._told: set[str] = set()
        self._finished: set[str] = set()
        self._recalled: dict[tuple[str, str], Recalled] = {}
        self._use: Use | None = None
        self._firing: tuple[FiringAlert, ...] | None = None
        self._exports: tuple[ExportStatus, ...] = ()
        self._reload = Reload(started_at)
        self._started_at = started_at
        self._version = version
        self._faults: Mapping[str, str] = {}
        self._log = structlog.get_logger()
        self._build = single(families.BUILD_INFO, 1, version=version, python=platform.python_version(), duckdb=library)

    def pin_source(self, status: SourceStatus) -> None:
        """Say how a source answered."""
        with self._lock:
            self._sources[status.name] = status

    def source(self, name: str) -> SourceStatus:
        """Return what is known of a source."""
        with self._lock:
            return self._sources[name]

    def sources(self) -> Sequence[SourceStatus]:
        """Return what is known of every source."""
        with self._lock:
            return tuple(self._sources.values())

    def run(self, collector: str, source: str) -> CollectorStatus | None:
        """Return how the last run of a collector at one source ended; None before there was one."""
        with self._lock:
            return self._collectors.get((collector, source))

    def asks(self, name: str) -> bool:
        """Tell whether there is such a source."""
        return name in self._sources

    def tried(self) -> bool:
        """Whether the first poll of every source has been tried, however it ended."""
        with self._lock:
            return all(status.tried_at is not None for status in self._sources.values())

    def pin_told(self, source: str) -> None:
        """Say that a poll of a source has ended, however, and that all it told is pinned."""
        with self._lock:
            self._told.add(source)

    def told(self) -> bool:
        """Whether the first poll of every source has ended; it was tried before that."""
        with self._lock:
            return self._told >= self._sources.keys()

    def pin_finished(self, source: str) -> bool:
        """Say that a poll of a source has read and stored everything; return whether it is the first."""
        with self._lock:
            first = source not in self._finished
            self._finished.add(source)
            return first

    def pin_collector(
        self, status: CollectorStatus, missing: Sequence[str] = (), *, source: str = "repository"
    ) -> None:
        """Say how a collector's run at one source ended; a failure keeps the time of the last success."""
        with self._lock:
            before = self._collectors.get((status.name, source))
            if not status.success and before is not None:
                status = replace(status, succeeded_at=before.succeeded_at)
            self._collectors[status.name, source] = status
            if source == "repository":
                self._missing[status.name] = tuple(missing)

    def pin_state(self, name: str, shown: Showing) -> None:
        """Replace what a state shows, whole."""
        with self._lock:
            self._states[name] = shown

    def pin_archive(self, blocks: Iterable[AnyBlock], status: ArchiveStatus) -> None:
        """Replace what the history shows."""
        with self._lock:
            self._archive = tuple(blocks)
            self._archive_status = status

    def pin_history_error(self, source: str, error: str | None) -> None:
        """Say why the history could not be written by the poll of a source; None where it was."""
        with self._lock:
            self._history_errors.pop(source, None)
            if error is not None:
                self._history_errors[source] = error

    def pin_recalled(self, state: str, source: str, recalled: Recalled) -> None:
        """Replace what the history knew of the rows of a state that a source told of."""
        with self._lock:
            self._recalled[state, source] = recalled

    def recalled(self, state: str) -> Mapping[str, Recalled]:
        """Return what the history knew of the rows of a state, by source."""
        with self._lock:
            return {source: answer for (name, source), answer in self._recalled.items() if name == state}

    def pin_use(self, use: Use) -> None:
        """Replace what is known of use."""
        with self._lock:
            self._use = use

    def use(self) -> Use | None:
        """Return what is known of use; None before a poll has told."""
        with self._lock:
            return self._use

    def pin_firing(self, alerts: Sequence[FiringAlert] | None) -> None:
        """Replace the alerts that fire; None where the agent does not look for any."""
        with self._lock:
            self._firing = None if alerts is None else tuple(alerts)

    def firing(self) -> tuple[FiringAlert, ...] | None:
        """Return the alerts that fire; None where the agent does not look for any."""
        with self._lock:
            return self._firing

    def pin_exports(self, exports: Sequence[ExportStatus]) -> None:
        """Replace the status of the agent's own exports."""
        with self._lock:
            self._exports = tuple(exports)

    def pin_poll(self, poll: PollStatus) -> None:
        """Add to the list of the last polls."""
        with self._lock:
            self._polls.appendleft(poll)

    def pin_reload(self, now: float, error: str | None) -> None:
        """Say how a reload of the configuration ended."""
        with self._lock:
            self._reload = Reload(self._reload.loaded_at if error else now, error)

    def retain(self, collectors: Container[str]) -> None:
        """Forget the collectors that are switched off now."""
        with self._lock:
            self._collectors = {key: status for key, status in self._collectors.items() if key[0] in collectors}
            self._missing = {name: columns for name, columns in self._missing.items() if name in collectors}
            self._recalled = {
                key: answer for key, answer in self._recalled.items() if key[0].split("/")[0] in collectors
            }
            # What speaks of a source itself, or of one of the agent's own parts, has their name.
            kept = {*self._sources, NOTIFICATIONS, FRESHNESS_SOURCES, CERTIFICATE}
            self._states = {
                name: shown for name, shown in self._states.items() if name in kept or name.split("/")[0] in collectors
            }

    def status(self, now: float, config_file: str | None) -> Status:
        """Return everything the status page shows."""
        with self._lock:
            return Status(
                self._version,
                now,
                self._started_at,
                tuple(_polling(status, self.progress[name]) for name, status in self._sources.items()),
                _of_all_sources(self._collectors.values()),
                tuple(self._polls),
                self._archive_status,
                config_file,
                self._reload.error,
                _freshness_sources(self._states, now),
                next(iter(self._history_errors.values()), None),
                self._exports,
            )

    def blocks(self, now: float) -> Iterator[AnyBlock]:
        """Yield every block to be shown now; a state older than its lifetime is left out."""
        with self._lock:
            sources, collectors, missing = (
                tuple(self._sources.values()),
                _of_all_sources(self._collectors.values()),
                dict(self._missing),
            )
            states, archive, reload, exports = dict(self._states), self._archive, self._reload, self._exports
        shown, faults = _shown(states, now)
        self._say(faults)
        yield self._build
        yield from _source_blocks(sources)
        yield _started(self.progress)
        yield from _collector_blocks(tuple(_unshown(status, faults) for status in collectors), missing)
        yield single(families.RELOAD_SUCCESSFUL, int(reload.error is None))
        yield single(families.RELOAD_TIMESTAMP, reload.loaded_at)
        yield from _export_blocks(exports)
        yield from archive
        yield from shown

    def _say(self, faults: Mapping[str, str]) -> None:
        """Log why a state cannot be shown, once while that lasts."""
        for name, fault in faults.items():
            if self._faults.get(name) != fault:
                self._log.error("a state cannot be shown; everything else is", state=name, error=fault)
        self._faults = faults


def _shown(states: Mapping[str, Showing], now: float) -> tuple[list[AnyBlock], Mapping[str, str]]:
    """Return the blocks of every state, and why a state has none, for a defect of one must not spoil the others."""
    blocks: list[AnyBlock] = []
    faults: dict[str, str] = {}
    for name, shown in states.items():
        try:
            blocks += shown.at(now)
        except Exception as error:  # noqa: BLE001 - it is logged by whoever asked
            faults[name] = f"{type(error).__name__}: {error}"
    return blocks, faults


def _freshness_sources(states: Mapping[str, Showing], now: float) -> tuple[FreshnessSource, ...]:
    """Return when each source of freshness was last read whole, as the metrics show it."""
    blocks, _ = _shown({name: state for name, state in states.items() if name == FRESHNESS_SOURCES}, now)
    return tuple(
        FreshnessSource(**dict(zip(block.labels.names, labels, strict=True)), read_at=float(value))
        for block in blocks
        if isinstance(block, Block) and block.family == families.FRESHNESS_SOURCE_LAST_SUCCESS
        for labels, value in zip(block.labels.rows(), block.at(now), strict=True)
        if value is not None
    )


def _unshown(status: CollectorStatus, faults: Mapping[str, str]) -> CollectorStatus:
    """Return the status of a collector, which did not succeed where one of its states cannot be shown."""
    failed = any(name.split("/")[0] == status.name for name in faults)
    return replace(status, success=False, causes=()) if failed else status


def _of_all_sources(statuses: Iterable[CollectorStatus]) -> tuple[CollectorStatus, ...]:
    """Return one status for each collector, by name: it succeeded where it did so at every source."""
    found: dict[str, CollectorStatus] = {}
    for status in statuses:
        found[status.name] = _both(found[status.name], status) if status.name in found else status
    return tuple(sorted(found.values(), key=lambda status: status.name))


def _both(one: CollectorStatus, other: CollectorStatus) -> CollectorStatus:
    times = [status.succeeded_at for status in (one, other) if status.succeeded_at is not None]
    counts = [status.rows for status in (one, other) if status.rows is not None]
    causes = [status.causes for status in (one, other) if not status.success]
    return CollectorStatus(
        one.name,
        one.success and other.success,
        one.duration_seconds + other.duration_seconds,
        min(times) if len(times) == 2 else None,
        max(counts) if counts else None,
        "; ".join(filter(None, (one.error, other.error))) or None,
        "; ".join(filter(None, (one.note, other.note))) or None,
        # One that failed by itself at one source did not fail because of another.
        tuple(dict.fromkeys(itertools.chain(*causes))) if all(causes) else (),
    )


def _polling(status: SourceStatus, progress: Progress) -> SourceStatus:
    poll = progress.current
    return status if poll is None else replace(status, polling_since=poll.started_at, stuck=poll.stuck)


def _started(polls: Mapping[str, Progress]) -> Block:
    current = {name: progress.current for name, progress in polls.items()}
    started = {name: None if poll is None else poll.started_at for name, poll in current.items()}
    return _by(families.POLL_STARTED, "source", started)


def _source_blocks(sources: Sequence[SourceStatus]) -> Iterator[Block]:
    yield _by(families.UP, "source", {status.name: int(status.up) for status in sources})
    for status in sources:
        if status.up and status.server_version:
            yield single(families.SERVER_INFO, 1, source=status.name, version=status.server_version)


def _collector_blocks(collectors: Sequence[CollectorStatus], missing: dict[str, tuple[str, ...]]) -> Iterator[Block]:
    yield _by(families.COLLECTOR_SUCCESS, "collector", {status.name: int(status.success) for status in collectors})
    yield _by(families.COLLECTOR_DURATION, "collector", {status.name: status.duration_seconds for status in collectors})
    yield _by(families.COLLECTOR_LAST_SUCCESS, "collector", {status.name: status.succeeded_at for status in collectors})
    lacking = [(name, column) for name, columns in sorted(missing.items()) for column in columns]
    if lacking:
        names, columns = zip(*lacking, strict=True)
        yield Block(families.COLLECTOR_MISSING, Labels(("collector", "column"), (names, columns)), [1] * len(lacking))


def _export_blocks(exports: Sequence[ExportStatus]) -> Iterator[Block]:
    if exports:
        names = [[getattr(status, label) for status in exports] for label in families.EXPORT_ROWS.labels]
        labels = Labels(families.EXPORT_ROWS.labels, names)
        yield Block(families.EXPORT_LAST_SUCCESS, labels, [status.succeeded_at for status in exports])
        yield Block(families.EXPORT_ROWS, labels, [status.rows for status in exports])
        yield Block(families.EXPORT_FAILURES, labels, [status.failures for status in exports])


def _by(family: Family, label: str, values: dict[str, float | int | None]) -> Block:
    return Block(family, Labels((label,), [list(values)]), list(values.values()))
