"""A state that several sources tell of: the last word of each, made one, and shown as long as it is true."""

import operator
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from exporter.collector import Collector, Context, Promises, State
from exporter.exposition.state_store import AnyBlock
from exporter.freshness import HOUR, Dues

StateKey = tuple[str, int]
"""A state: its collector's name and its place among the collector's states."""


@dataclass(frozen=True)
class Part:
    """What a source said of the state, or of one site of it: when (Unix seconds), and for how many seconds it holds."""

    rows: pa.Table
    taken_at: float
    lifetime: float

    def holds(self, now: float) -> bool:
        """Tell whether it may still be shown."""
        return now - self.taken_at <= self.lifetime


class Assembly:
    """One such state. Sources put their parts from threads of their own; renderings take blocks."""

    def __init__(self, state: State, promises: Promises, grace_seconds: float) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, str], Part] = {}
        self._learned: dict[str, pa.Table] = {}
        self._context = Context({}, promises, dues=Dues(grace_seconds))
        self._assembled: tuple[Part, ...] = ()
        self._rows: pa.Table | None = None
        self._blocks: Sequence[AnyBlock] = ()

    def put(self, source: str, parts: Mapping[str, Part], now: float, sites: Mapping[int, str] | None = None) -> None:
        """Replace what a source said before, for each of its sites that it tells of now.

        A source that does not tell site by site has one part, of no name; ``sites`` are labels by number.
        """
        with self._lock:
            self._parts |= {(source, site): part for site, part in parts.items()}
            self._parts = {key: part for key, part in self._parts.items() if part.holds(now)}
            if sites is not None:
                self._context = replace(self._context, sites=sites)
            self._assemble(now, anew=True)

    def learn(self, source: str, learned: pa.Table | None, now: float) -> None:
        """Take up what the history taught of the rows of a source."""
        with self._lock:
            if learned is not None and learned is not self._learned.get(source):
                self._learned[source] = learned
                self._assemble(now, anew=True)

    def forget(self, source: str) -> None:
        """Forget what a source said: it is another one from now on, or tells of other sites."""
        with self._lock:
            self._parts = {key: part for key, part in self._parts.items() if key[0] != source}

    def promise(self, promises: Promises, grace_seconds: float) -> None:
        """Take up other promises: a reload takes nothing else away. They are shown with the next part."""
        with self._lock:
            self._context.dues.grace_seconds = grace_seconds
            self._context = replace(self._context, promises=promises)

    def at(self, now: float) -> Sequence[AnyBlock]:
        """Return what may be shown at an instant."""
        with self._lock:
            self._assemble(now)
            return self._blocks

    def both(self, now: float) -> tuple[pa.Table, Sequence[AnyBlock]] | None:
        """Return rows and blocks of one moment, which are in the same order; None where ``rows`` is."""
        with self._lock:
            self._assemble(now)
            return None if self._rows is None else (self._rows, self._blocks)

    def rows(self, now: float) -> pa.Table | None:
        """Return the rows of all sources as one table; None where no source has said anything that still holds."""
        with self._lock:
            self._assemble(now)
            return self._rows

    def _assemble(self, now: float, *, anew: bool = False) -> None:
        """Make one of the parts that hold, where others held before."""
        # The repository first: of equal words its count.
        parts = tuple(part for _, part in sorted(self._parts.items()) if part.holds(now))
        if not anew and len(parts) == len(self._assembled) and all(map(operator.is_, parts, self._assembled)):
            return
        self._assembled = parts
        if not parts:
            self._rows, self._blocks = None, ()
            return
        merge = self._state.merge
        rows = merge([part.rows for part in parts]) if merge and len(parts) > 1 else parts[0].rows
        context = replace(self._context, learned=_joined(self._learned), now=now)
        self._rows, self._blocks = rows, tuple(self._state.expose(rows, context))


def assemblies(
    collectors: Mapping[str, Collector], promises: Promises, grace_seconds: float = HOUR
) -> dict[StateKey, Assembly]:
    """Return an assembly for each state that more than one source may tell of."""
    return {
        (name, index): Assembly(state, promises, grace_seconds)
        for name, collector in collectors.items()
        for index, state in enumerate(collector.states)
        if state.inventoried
    }


def _joined(learned: Mapping[str, pa.Table]) -> pa.Table | None:
    """Return what was learned of every source's rows; of the same asset the repository's, which comes last, counts."""
    tables: Iterable[pa.Table] = [learned[source] for source in sorted(learned, reverse=True)]
    return pa.concat_tables(tables, promote_options="permissive") if learned else None
