"""Renders all families to one exposition, within the limits of series; what is left out is counted, and logged once.

A family that did not change since the last rendering is neither rendered nor compressed again.
"""

import operator
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat

import structlog

from exporter.exposition.encoding import EncodedFamily, Exposition, Piece
from exporter.exposition.process import Process
from exporter.exposition.samples import DECREASED, NOTHING_EXPOSED, AnyBlock, ExposedCounts, Samples, series_of
from exporter.exposition.series_limit import (
    NO_LIMIT,
    OVER_THE_FAMILY_LIMIT,
    OVER_THE_LIMIT,
    SeriesLimits,
    height,
    is_own,
)
from exporter.exposition.text_format import openmetrics_head, text_head
from exporter.metrics import Block, Family, Labels
from exporter.self_metrics import SERIES_DROPPED

CLASH = "another family has one of its names"
# ``_created`` is not written, yet it belongs to its family, and parsers know that.
_SUFFIXES = {"gauge": ("",), "counter": ("", "_total", "_created")}
_OF_OTHERS = ("", "_bucket", "_count", "_sum", "_created")
# So many pieces may wait to be compressed: each is megabytes of plain bytes.
_WAITING = 3


def names_of(family: Family) -> frozenset[str]:
    """Return every name that belongs to a family."""
    stem = family.name.removesuffix("_total") if family.type == "counter" else family.name
    return frozenset(stem + suffix for suffix in _SUFFIXES.get(family.type, _OF_OTHERS))


def clashing(families: Iterable[Family], *, reserved: Family) -> frozenset[str]:
    """Return the names of the families that are left out: an earlier one, or ``reserved``, has a name of theirs."""
    late, seen = set(), set(names_of(reserved))
    for family in families:
        names = names_of(family)
        if seen.isdisjoint(names):
            seen |= names
        else:
            late.add(family.name)
    return frozenset(late)


@dataclass(frozen=True)
class Rendered:
    """A rendered family. ``series`` is their number without any limit."""

    blocks: Sequence[AnyBlock]
    limit: int
    series: int
    heads: tuple[Piece, Piece]
    body: Sequence[Future[Piece]]
    exposed: ExposedCounts
    left_out: Counter[str]

    @property
    def family(self) -> Family:
        """The family."""
        return self.blocks[0].family

    def serves(self, blocks: Sequence[AnyBlock], limit: int) -> bool:
        """Whether rendering these blocks would give the same again."""
        if len(blocks) != len(self.blocks) or not all(map(operator.is_, blocks, self.blocks)):
            return False
        timeless = not any(isinstance(block, Block) and callable(block.values) for block in blocks)
        return timeless and DECREASED not in self.left_out and self.is_cut_at(limit)

    def is_cut_at(self, limit: int) -> bool:
        """Whether this limit leaves as many series."""
        return min(self.series, limit) == min(self.series, self.limit)

    def pieces(self, collectors: frozenset[str] | None) -> EncodedFamily:
        """Return its pieces, once they are compressed; ``collectors`` declare the family."""
        return EncodedFamily(self.family, self.heads, tuple(piece.result() for piece in self.body), collectors)


@dataclass(frozen=True)
class Before:
    """The families of the last rendering, and the counters of earlier ones, which may come back."""

    families: Mapping[str, Rendered]
    away: Mapping[str, ExposedCounts]

    def exposed(self, name: str) -> ExposedCounts:
        """Return the exposed counters of a family."""
        last = self.families.get(name)
        return last.exposed if last else self.away.get(name, NOTHING_EXPOSED)

    def after(self, families: Mapping[str, Rendered], seconds: float) -> "Before":
        """Return the same for the next rendering."""
        gone = (self.families.keys() | self.away.keys()) - families.keys()
        away = {name: self.exposed(name).without((), seconds) for name in gone}
        return Before(families, {name: exposed for name, exposed in away.items() if exposed.counts})


@dataclass(frozen=True)
class RenderTime:
    """The time of a rendering: Unix seconds, and seconds of a monotonic clock."""

    now: float
    seconds: float


class FamilyRenderer:
    """Renders families at one instant, after the last rendering."""

    def __init__(self, before: Before, family_limit: int, pool: Executor, instant: RenderTime) -> None:
        self._before = before
        self._family_limit = family_limit
        self._pool = pool
        self._instant = instant
        self._waiting: deque[Future[Piece]] = deque()

    def rendered(self, blocks: Sequence[AnyBlock], limit: int) -> Rendered:
        """Render a family, or reuse the last rendering."""
        family = blocks[0].family
        last = self._before.families.get(family.name)
        if last and last.serves(blocks, limit):
            return last
        samples = self._samples(blocks)
        heads = (
            last.heads
            if last and last.family == family
            else (Piece.of(text_head(family)), Piece.of(openmetrics_head(family)))
        )
        body = self._body(samples, limit, last.body if last else ())
        if over := samples.over(limit):
            samples.left_out[OVER_THE_LIMIT if limit < self._family_limit else OVER_THE_FAMILY_LIMIT] += over
        return Rendered(blocks, limit, samples.series, heads, body, samples.exposed, samples.left_out)

    def _samples(self, blocks: Sequence[AnyBlock]) -> Samples:
        samples = Samples(blocks[0].family)
        for block in blocks:
            samples.add(block, self._instant.now)
        samples.settle(self._before.exposed(samples.family.name), self._instant.seconds)
        return samples

    def _body(self, samples: Samples, limit: int, last: Sequence[Future[Piece]]) -> Sequence[Future[Piece]]:
        """Compress the lines in the pool, with a bound of those that wait."""
        body = []
        for plain, before in zip(samples.bodies(limit), chain(last, repeat(None))):  # noqa: B905 - the second is endless
            while len(self._waiting) >= _WAITING:
                self._waiting.popleft().result()
            body.append(self._pool.submit(Piece.of, plain, before.result() if before else None))
            self._waiting.append(body[-1])
        return body


class Renderer:
    """Renders all families, and counts over the life of the process the series that were left out.

    A block must not change after it was handed over. ``limits`` may be replaced between renderings; a histogram has a
    series for each bucket and two more. ``collectors`` maps a family's name to the collectors that declare it.
    ``clock`` is monotonic, in seconds: it times how long a decreased counter is held back.
    """

    def __init__(
        self,
        limits: SeriesLimits | None = None,
        *,
        collectors: Mapping[str, frozenset[str]] | None = None,
        process: Callable[[], Iterable[Block]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or SeriesLimits()
        self._collectors = collectors or {}
        self._process = process or Process()
        self._clock = clock
        self._before = Before({}, {})
        self._height = NO_LIMIT
        self._dropped: Counter[str] = Counter()
        self._left_out: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()
        self._log = structlog.get_logger()

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many series of each family were left out so far.

        A series that stays left out is counted once: each rendering adds what it leaves out more than the last.
        """
        return dict(self._dropped)

    def render(self, blocks: Iterable[AnyBlock], now: float) -> Exposition:
        """Render the blocks as they are at an instant (Unix seconds), with what is known of this process."""
        # Arrow and zlib let go of the interpreter: a piece is compressed while the next one is written.
        with self._lock, ThreadPoolExecutor(1, "compression") as pool:
            instant = RenderTime(now, self._clock())
            renderer = FamilyRenderer(self._before, self.limits.series_per_family, pool, instant)
            families = self._families(renderer, [*blocks, *self._process()])
            self._before = self._before.after(families, instant.seconds)
            rendered = [families[name] for name in sorted(families) if families[name].body]
            return Exposition(tuple(each.pieces(self._collectors.get(each.family.name)) for each in rendered))

    def _families(self, renderer: FamilyRenderer, blocks: Iterable[AnyBlock]) -> Mapping[str, Rendered]:
        """Render each family, again those that all together leave less room than the last time, and what this cost."""
        grouped: dict[str, list[AnyBlock]] = {}
        for block in blocks:
            grouped.setdefault(block.family.name, []).append(block)
        for name in clashing((group[0].family for group in grouped.values()), reserved=SERIES_DROPPED):
            self._account(name, Counter({CLASH: series_of(grouped.pop(name))}))
        families = {name: renderer.rendered(group, self._limit(group[0].family)) for name, group in grouped.items()}
        self._height = self._highest(families.values())
        for name, rendered in families.items():
            if not rendered.is_cut_at(limit := self._limit(rendered.family)):
                families[name] = renderer.rendered(grouped[name], limit)
        for name, rendered in families.items():
            self._account(name, rendered.left_out)
        # The metric of dropped series is not bound by the limits: it has a series for each family.
        families[SERIES_DROPPED.name] = renderer.rendered([self._dropped_block()], NO_LIMIT)
        return families

    def _limit(self, family: Family) -> int:
        """Return how many series of a family may be exposed."""
        limit = self.limits.series_per_family
        return limit if is_own(family) else min(limit, self._height)

    def _highest(self, families: Iterable[Rendered]) -> int:
        """Return the height at which families that are not the agent's own have to be cut."""
        sizes = [(is_own(each.family), min(each.series, self.limits.series_per_family)) for each in families]
        own = sum(size for is_own, size in sizes if is_own)
        return height([size for is_own, size in sizes if not is_own], self.limits.series - own)

    def _account(self, name: str, left_out: Counter[str]) -> None:
        """Count and log the series that are left out; each reason is logged once while it lasts."""
        before = self._left_out.get(name, Counter())
        for reason, count in left_out.items():
            if reason not in before:
                self._log.warning("series left out of /metrics", family=name, series=count, reason=reason)
        self._dropped[name] += max(0, left_out.total() - before.total())
        self._left_out[name] = left_out

    def _dropped_block(self) -> Block:
        """Return the samples of ``tableau_series_dropped_total``, a zero for each family that lost none."""
        names = sorted(self._dropped)
        return Block(SERIES_DROPPED, Labels(("family",), [names]), [self._dropped[name] for name in names])
