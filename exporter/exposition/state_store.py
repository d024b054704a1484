"""What the agent publishes: the blocks of every state and of the history, set by the pollers, read by the renderer.

Every value is immutable and replaced whole, so a reader takes a reference and needs no lock afterwards.
"""

import math
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from exporter import self_metrics as families
from exporter.exposition.status_store import StatusStore
from exporter.log_once import LogOnce
from exporter.metrics import Block, HistogramBlock
from exporter.status import ArchiveStatus, FiringAlert, FreshnessSource, Status

STALE_AFTER_INTERVALS = 3
NOTIFICATIONS, FRESHNESS_SOURCES, CERTIFICATE = "notifications", "freshness_sources", "web certificate"
"""Names of states that belong to no collector and to no single source."""

AnyBlock = Block | HistogramBlock

log = structlog.get_logger()


@dataclass(frozen=True)
class TimedBlocks:
    """The blocks of one state, when they were read (Unix seconds), and for how many seconds they are published."""

    blocks: tuple[AnyBlock, ...]
    read_at: float
    lifetime: float = math.inf

    def at(self, now: float) -> tuple[AnyBlock, ...]:
        """Return the blocks to publish at an instant: none that are too old."""
        return self.blocks if now - self.read_at <= self.lifetime else ()


class BlockSource(Protocol):
    """The blocks of one state at any instant."""

    def at(self, now: float) -> Sequence[AnyBlock]:
        """Return the blocks to publish (Unix seconds)."""


class StateStore:
    """The states of all collectors, the metrics of the history, the firing alerts, and in ``status`` the status."""

    def __init__(self, sources: Sequence[str], *, version: str, library: str, started_at: float) -> None:
        self.status = StatusStore(sources, version=version, library=library, started_at=started_at)
        self._lock = threading.Lock()
        self._kept = {*sources, NOTIFICATIONS, FRESHNESS_SOURCES, CERTIFICATE}
        self._states: dict[str, BlockSource] = {}
        self._archive: tuple[AnyBlock, ...] = ()
        self._archive_status = ArchiveStatus("")
        self._firing: tuple[FiringAlert, ...] | None = None
        self._faults = LogOnce()

    def set_state(self, name: str, state: BlockSource) -> None:
        """Replace a state, whole."""
        with self._lock:
            self._states[name] = state

    def set_archive(self, blocks: Iterable[AnyBlock], status: ArchiveStatus) -> None:
        """Replace the metrics of the history."""
        with self._lock:
            self._archive = tuple(blocks)
            self._archive_status = status

    def set_firing(self, alerts: Sequence[FiringAlert] | None) -> None:
        """Replace the firing alerts; None where the agent evaluates no rules."""
        with self._lock:
            self._firing = None if alerts is None else tuple(alerts)

    def firing(self) -> tuple[FiringAlert, ...] | None:
        """Return the firing alerts; None where the agent evaluates no rules."""
        with self._lock:
            return self._firing

    def retain(self, collectors: Container[str]) -> None:
        """Drop the collectors that are disabled now; states of sources and of the agent itself stay."""
        self.status.retain(collectors)
        with self._lock:
            self._states = {
                name: state
                for name, state in self._states.items()
                if name in self._kept or collector_of(name) in collectors
            }

    def summary(self, now: float, config_file: str | None) -> Status:
        """Return the content of the status page."""
        with self._lock:
            states, archive = dict(self._states), self._archive_status
        return self.status.summary(now, config_file, archive, _freshness_sources(states, now))

    def blocks(self, now: float) -> Iterator[AnyBlock]:
        """Yield every block to publish now; a state older than its lifetime is left out."""
        with self._lock:
            states, archive = dict(self._states), self._archive
        blocks, faults = _blocks(states, now)
        self._log(faults)
        yield from self.status.blocks({collector_of(name) for name in faults})
        yield from archive
        yield from blocks

    def _log(self, faults: Mapping[str, str]) -> None:
        for name, fault in faults.items():
            if self._faults.is_new(name, fault):
                log.error("state not exposed: unexpected error (bug); all others are", state=name, error=fault)
        self._faults.retain(faults)


def collector_of(state: str) -> str:
    """Return the collector of a state by the name of the state."""
    return state.split("/", maxsplit=1)[0]


def _blocks(states: Mapping[str, BlockSource], now: float) -> tuple[list[AnyBlock], Mapping[str, str]]:
    """Return the blocks of every state, and the error of each state that has none: a bug in one spares the others."""
    blocks: list[AnyBlock] = []
    faults: dict[str, str] = {}
    for name, state in states.items():
        try:
            blocks += state.at(now)
        except Exception as error:  # noqa: BLE001 - logged by the caller
            faults[name] = f"{type(error).__name__}: {error}"
    return blocks, faults


def _freshness_sources(states: Mapping[str, BlockSource], now: float) -> tuple[FreshnessSource, ...]:
    """Return when each freshness source was last read completely, as in the metrics."""
    blocks, _ = _blocks({name: state for name, state in states.items() if name == FRESHNESS_SOURCES}, now)
    return tuple(
        FreshnessSource(**dict(zip(block.labels.names, labels, strict=True)), read_at=float(value))
        for block in blocks
        if isinstance(block, Block) and block.family == families.FRESHNESS_SOURCE_LAST_SUCCESS
        for labels, value in zip(block.labels.rows(), block.at(now), strict=True)
        if value is not None
    )
