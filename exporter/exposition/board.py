"""What the agent shows at this moment: the poller pins results to it, renderings and pages read it.

Everything pinned is immutable and replaced whole, so a reader takes hold of it and needs no lock afterwards.
"""

import platform
import threading
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from exporter import agent_families as families
from exporter.metrics import Block, Family, HistogramBlock, Labels, single
from exporter.status import ArchiveStatus, CollectorStatus, PollStatus, SourceStatus, Status

STALE_AFTER_INTERVALS = 3
POLLS_SHOWN = 20

AnyBlock = Block | HistogramBlock


@dataclass(frozen=True)
class Shown:
    """The blocks of one state, when they were true (Unix seconds), and for how many seconds they may be shown."""

    blocks: tuple[AnyBlock, ...]
    taken_at: float
    lifetime: float


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
        self._collectors: dict[str, CollectorStatus] = {}
        self._missing: dict[str, tuple[str, ...]] = {}
        self._states: dict[str, Shown] = {}
        self._archive: tuple[AnyBlock, ...] = ()
        self._archive_status = ArchiveStatus("")
        self._polls: deque[PollStatus] = deque(maxlen=POLLS_SHOWN)
        self._reload = Reload(started_at)
        self._started_at = started_at
        self._version = version
        self._build = single(families.BUILD_INFO, 1, version=version, python=platform.python_version(), duckdb=library)

    def pin_source(self, status: SourceStatus) -> None:
        """Say how a source answered."""
        with self._lock:
            self._sources[status.name] = status

    def source(self, name: str) -> SourceStatus:
        """Return what is known of a source."""
        with self._lock:
            return self._sources[name]

    def tried(self) -> bool:
        """Whether the first poll of every source has been tried, however it ended."""
        with self._lock:
            return all(status.tried_at is not None for status in self._sources.values())

    def pin_collector(self, status: CollectorStatus, missing: Sequence[str] = ()) -> None:
        """Say how a collector's run ended; a failure keeps the time of the last success."""
        with self._lock:
            before = self._collectors.get(status.name)
            if not status.success and before is not None:
                status = replace(status, succeeded_at=before.succeeded_at)
            self._collectors[status.name] = status
            self._missing[status.name] = tuple(missing)

    def pin_state(self, name: str, shown: Shown) -> None:
        """Replace what a state shows, whole."""
        with self._lock:
            self._states[name] = shown

    def pin_archive(self, blocks: Iterable[AnyBlock], status: ArchiveStatus) -> None:
        """Replace what the history shows."""
        with self._lock:
            self._archive = tuple(blocks)
            self._archive_status = status

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
            self._collectors = {name: status for name, status in self._collectors.items() if name in collectors}
            self._missing = {name: columns for name, columns in self._missing.items() if name in collectors}
            self._states = {name: shown for name, shown in self._states.items() if name.split("/")[0] in collectors}

    def status(self, now: float, config_file: str | None) -> Status:
        """Return everything the status page shows."""
        with self._lock:
            return Status(
                self._version,
                now,
                self._started_at,
                tuple(self._sources.values()),
                tuple(sorted(self._collectors.values(), key=lambda status: status.name)),
                tuple(self._polls),
                self._archive_status,
                config_file,
                self._reload.error,
            )

    def blocks(self, now: float) -> Iterator[AnyBlock]:
        """Yield every block to be shown now; a state older than its lifetime is left out."""
        with self._lock:
            sources, collectors, missing = (
                tuple(self._sources.values()),
                tuple(self._collectors.values()),
                dict(self._missing),
            )
            states, archive, reload = tuple(self._states.values()), self._archive, self._reload
        yield self._build
        yield from _source_blocks(sources)
        yield from _collector_blocks(collectors, missing)
        yield single(families.RELOAD_SUCCESSFUL, int(reload.error is None))
        yield single(families.RELOAD_TIMESTAMP, reload.loaded_at)
        yield from archive
        for shown in states:
            if now - shown.taken_at <= shown.lifetime:
                yield from shown.blocks


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


def _by(family: Family, label: str, values: dict[str, float | int | None]) -> Block:
    return Block(family, Labels((label,), [list(values)]), list(values.values()))
