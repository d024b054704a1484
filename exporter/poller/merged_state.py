"""States that several sources feed: the last rows of each source merged, and published for as long as they hold."""

import operator
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from exporter.collector import Collector, Context, State, StateKey
from exporter.exposition.state_store import AnyBlock
from exporter.freshness import HOUR, Dues, SlaLookup


@dataclass(frozen=True)
class SourceRows:
    """Rows of one source, or of one site of it; ``read_at`` in Unix seconds, ``lifetime`` in seconds."""

    rows: pa.Table
    read_at: float
    lifetime: float

    def holds(self, now: float) -> bool:
        """Whether the rows may still be published."""
        return now - self.read_at <= self.lifetime


class MergedState:
    """One state of several sources. Pollers set parts from threads of their own; the renderer reads blocks."""

    def __init__(self, state: State, sla: SlaLookup, grace_seconds: float) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, str], SourceRows] = {}
        self._learned: dict[str, pa.Table] = {}
        self._context = Context({}, sla, dues=Dues(grace_seconds))
        self._merged: tuple[SourceRows, ...] = ()
        self._rows: pa.Table | None = None
        self._blocks: Sequence[AnyBlock] = ()

    def put(
        self, source: str, parts: Mapping[str, SourceRows], now: float, sites: Mapping[int, str] | None = None
    ) -> None:
        """Replace the rows of a source for each of the given sites.

        A source that does not read site by site has one part, of no name; ``sites`` are labels by number.
        """
        with self._lock:
            self._parts |= {(source, site): part for site, part in parts.items()}
            self._parts = {key: part for key, part in self._parts.items() if part.holds(now)}
            if sites is not None:
                self._context = replace(self._context, sites=sites)
            self._merge(now, anew=True)

    def learn(self, source: str, learned: pa.Table | None, now: float) -> None:
        """Set the history's answer about the rows of a source."""
        with self._lock:
            if learned is not None and learned is not self._learned.get(source):
                self._learned[source] = learned
                self._merge(now, anew=True)

    def learn_usage(self, usage: pa.Table, now: float) -> None:
        """Set what was learned of the use of the rows of all sources."""
        with self._lock:
            self._context = replace(self._context, usage=usage)
            self._merge(now, anew=True)

    def set_usual(self, usual: pa.Table, now: float) -> None:
        """Set what the history has of the sizes of the rows of all sources."""
        with self._lock:
            if usual is not self._context.usual:
                self._context = replace(self._context, usual=usual)
                self._merge(now, anew=True)

    def forget(self, source: str) -> None:
        """Drop the rows of a source: it is another one from now on, or has other sites."""
        with self._lock:
            self._parts = {key: part for key, part in self._parts.items() if key[0] != source}

    def set_sla(self, sla: SlaLookup, grace_seconds: float) -> None:
        """Replace the SLAs, as a reload does; they are published with the next part."""
        with self._lock:
            self._context.dues.grace_seconds = grace_seconds
            self._context = replace(self._context, sla=sla)

    def at(self, now: float) -> Sequence[AnyBlock]:
        """Return the blocks to publish at an instant."""
        with self._lock:
            self._merge(now)
            return self._blocks

    def rows_and_blocks(self, now: float) -> tuple[pa.Table, Sequence[AnyBlock]] | None:
        """Return rows and blocks of one moment, in the same order; None where ``rows`` is."""
        with self._lock:
            self._merge(now)
            return None if self._rows is None else (self._rows, self._blocks)

    def rows(self, now: float) -> pa.Table | None:
        """Return the rows of all sources as one table; None where no source has rows that still hold."""
        with self._lock:
            self._merge(now)
            return self._rows

    def _merge(self, now: float, *, anew: bool = False) -> None:
        """Merge the parts that hold, unless they are those of the last time."""
        # The repository first: of equal values its value counts.
        parts = tuple(part for _, part in sorted(self._parts.items()) if part.holds(now))
        if not anew and len(parts) == len(self._merged) and all(map(operator.is_, parts, self._merged)):
            return
        self._merged = parts
        if not parts:
            self._rows, self._blocks = None, ()
            return
        merge = self._state.rest.merge if self._state.rest else None
        rows = merge([part.rows for part in parts]) if merge and len(parts) > 1 else parts[0].rows
        context = replace(self._context, learned=_joined(self._learned), now=now)
        self._rows, self._blocks = rows, tuple(self._state.expose(rows, context))


def merged_states(
    collectors: Mapping[str, Collector], sla: SlaLookup, grace_seconds: float = HOUR
) -> dict[StateKey, MergedState]:
    """Return a merged state for each state that has more than one source."""
    return {
        (name, index): MergedState(state, sla, grace_seconds)
        for name, collector in collectors.items()
        for index, state in enumerate(collector.states)
        if state.rest
    }


def _joined(learned: Mapping[str, pa.Table]) -> pa.Table | None:
    """Return the answers about all rows; of the same asset the repository's counts, which comes last."""
    tables: Iterable[pa.Table] = [learned[source] for source in sorted(learned, reverse=True)]
    return pa.concat_tables(tables, promote_options="permissive") if learned else None
