"""Status of sources, collectors, polls and configuration: set by the pollers, read by metrics and the status page."""

import itertools
import platform
import threading
from collections import deque
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter import self_metrics as families
from exporter.metrics import Block, Family, Labels, single
from exporter.poll_progress import Progress
from exporter.status import (
    ArchiveStatus,
    CollectorStatus,
    ExportStatus,
    FreshnessSource,
    PollStatus,
    SourceStatus,
    Status,
)

MAX_POLLS = 20


@dataclass(frozen=True)
class Reload:
    """Result of the last reload of the configuration."""

    loaded_at: float
    error: str | None = None


class StatusStore:
    """Thread-safe; every value is immutable and replaced whole."""

    def __init__(self, sources: Sequence[str], *, version: str, library: str, started_at: float) -> None:
        self._lock = threading.Lock()
        self._sources = {name: SourceStatus(name) for name in sources}
        self.progress: Mapping[str, Progress] = {name: Progress() for name in sources}
        """The current poll of each source."""
        self._collectors: dict[tuple[str, str], CollectorStatus] = {}
        self._missing: dict[str, tuple[str, ...]] = {}
        self._history_errors: dict[str, str] = {}
        self._polls: deque[PollStatus] = deque(maxlen=MAX_POLLS)
        self._ended: set[str] = set()
        self._succeeded: set[str] = set()
        self._exports: tuple[ExportStatus, ...] = ()
        self._reload = Reload(started_at)
        self._started_at = started_at
        self._version = version
        self._build = single(families.BUILD_INFO, 1, version=version, python=platform.python_version(), duckdb=library)

    def set_source(self, status: SourceStatus) -> None:
        """Set whether a source is up."""
        with self._lock:
            self._sources[status.name] = status

    def source(self, name: str) -> SourceStatus:
        """Return the status of a source."""
        with self._lock:
            return self._sources[name]

    def sources(self) -> Sequence[SourceStatus]:
        """Return the status of every source."""
        with self._lock:
            return tuple(self._sources.values())

    def has_source(self, name: str) -> bool:
        """Whether a source is configured."""
        return name in self._sources

    def all_tried(self) -> bool:
        """Whether the first poll of every source has been tried, however it ended."""
        with self._lock:
            return all(status.tried_at is not None for status in self._sources.values())

    def set_poll_ended(self, source: str) -> None:
        """Note that a poll of a source has ended, and that all of its results are published."""
        with self._lock:
            self._ended.add(source)

    def first_polls_done(self) -> bool:
        """Whether the first poll of every source has ended and is published."""
        with self._lock:
            return self._ended >= self._sources.keys()

    def first_success(self, source: str) -> bool:
        """Note that a poll of a source has read and stored everything; return whether it is the first."""
        with self._lock:
            first = source not in self._succeeded
            self._succeeded.add(source)
            return first

    def set_collector(
        self, status: CollectorStatus, missing: Sequence[str] = (), *, source: str = "repository"
    ) -> None:
        """Set the result of a collector's run at one source; a failure keeps the time of the last success."""
        with self._lock:
            before = self._collectors.get((status.name, source))
            if not status.success and before is not None:
                status = replace(status, succeeded_at=before.succeeded_at)
            self._collectors[status.name, source] = status
            if source == "repository":
                self._missing[status.name] = tuple(missing)

    def collector(self, name: str, source: str) -> CollectorStatus | None:
        """Return the result of a collector's last run at one source; None before the first."""
        with self._lock:
            return self._collectors.get((name, source))

    def set_history_error(self, source: str, error: str | None) -> None:
        """Set why the poll of a source could not write the history; None where it could."""
        with self._lock:
            self._history_errors.pop(source, None)
            if error is not None:
                self._history_errors[source] = error

    def add_poll(self, poll: PollStatus) -> None:
        """Add to the list of the last polls."""
        with self._lock:
            self._polls.appendleft(poll)

    def set_exports(self, exports: Sequence[ExportStatus]) -> None:
        """Replace the status of the scheduled exports."""
        with self._lock:
            self._exports = tuple(exports)

    def set_reload(self, now: float, error: str | None) -> None:
        """Set the result of a reload of the configuration."""
        with self._lock:
            self._reload = Reload(self._reload.loaded_at if error else now, error)

    def retain(self, collectors: Container[str]) -> None:
        """Drop the collectors that are disabled now."""
        with self._lock:
            self._collectors = {key: status for key, status in self._collectors.items() if key[0] in collectors}
            self._missing = {name: columns for name, columns in self._missing.items() if name in collectors}

    def summary(
        self,
        now: float,
        config_file: str | None,
        archive: ArchiveStatus,
        freshness_sources: tuple[FreshnessSource, ...],
    ) -> Status:
        """Return the content of the status page."""
        with self._lock:
            return Status(
                self._version,
                now,
                self._started_at,
                tuple(_polling(status, self.progress[name]) for name, status in self._sources.items()),
                _of_all_sources(self._collectors.values()),
                tuple(self._polls),
                archive,
                config_file,
                self._reload.error,
                freshness_sources,
                next(iter(self._history_errors.values()), None),
                self._exports,
            )

    def blocks(self, failed: Collection[str]) -> Iterator[Block]:
        """Yield the agent's own metrics; ``failed`` are collectors with a state that cannot be exposed."""
        with self._lock:
            sources, reload, exports = tuple(self._sources.values()), self._reload, self._exports
            collectors, missing = _of_all_sources(self._collectors.values()), dict(self._missing)
        yield self._build
        yield from _source_blocks(sources)
        yield _started(self.progress)
        yield from _collector_blocks([_unexposed(status) if status.name in failed else status for status in collectors])
        if missing_columns := [(name, column) for name, columns in sorted(missing.items()) for column in columns]:
            labels = Labels(families.COLLECTOR_MISSING.labels, tuple(zip(*missing_columns, strict=True)))
            yield Block(families.COLLECTOR_MISSING, labels, [1] * len(missing_columns))
        yield single(families.RELOAD_SUCCESSFUL, int(reload.error is None))
        yield single(families.RELOAD_TIMESTAMP, reload.loaded_at)
        yield from _export_blocks(exports)


def _of_all_sources(statuses: Iterable[CollectorStatus]) -> tuple[CollectorStatus, ...]:
    """Return one status for each collector, by name: it succeeded where it did so at every source."""
    found: dict[str, CollectorStatus] = {}
    for status in statuses:
        found[status.name] = _merged(found[status.name], status) if status.name in found else status
    return tuple(sorted(found.values(), key=lambda status: status.name))


def _merged(one: CollectorStatus, other: CollectorStatus) -> CollectorStatus:
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
        # A collector that failed by itself at one source did not fail because of another.
        tuple(dict.fromkeys(itertools.chain(*causes))) if all(causes) else (),
    )


def _unexposed(status: CollectorStatus) -> CollectorStatus:
    """Return the status of a collector that did not succeed: one of its states cannot be exposed."""
    return replace(status, success=False, causes=())


def _polling(status: SourceStatus, progress: Progress) -> SourceStatus:
    poll = progress.current
    return status if poll is None else replace(status, polling_since=poll.started_at, stuck=poll.stuck)


def _started(polls: Mapping[str, Progress]) -> Block:
    current = {name: progress.current for name, progress in polls.items()}
    started = {name: None if poll is None else poll.started_at for name, poll in current.items()}
    return _by(families.POLL_STARTED, started)


def _source_blocks(sources: Sequence[SourceStatus]) -> Iterator[Block]:
    yield _by(families.UP, {status.name: int(status.up) for status in sources})
    for status in sources:
        if status.up and status.server_version:
            yield single(families.SERVER_INFO, 1, source=status.name, version=status.server_version)


def _collector_blocks(collectors: Sequence[CollectorStatus]) -> Iterator[Block]:
    yield _by(families.COLLECTOR_SUCCESS, {status.name: int(status.success) for status in collectors})
    yield _by(families.COLLECTOR_DURATION, {status.name: status.duration_seconds for status in collectors})
    yield _by(families.COLLECTOR_LAST_SUCCESS, {status.name: status.succeeded_at for status in collectors})


def _export_blocks(exports: Sequence[ExportStatus]) -> Iterator[Block]:
    if exports:
        names = [[getattr(status, label) for status in exports] for label in families.EXPORT_ROWS.labels]
        labels = Labels(families.EXPORT_ROWS.labels, names)
        yield Block(families.EXPORT_LAST_SUCCESS, labels, [status.succeeded_at for status in exports])
        yield Block(families.EXPORT_ROWS, labels, [status.rows for status in exports])
        yield Block(families.EXPORT_FAILURES, labels, [status.failures for status in exports])


def _by(family: Family, values: Mapping[str, float | int | None]) -> Block:
    """Return the samples of a family with one label."""
    return Block(family, Labels(family.labels, [list(values)]), list(values.values()))
