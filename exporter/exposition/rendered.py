"""One family at one rendering: what it was rendered from, its pieces, and what of it was left out.

What has not changed since the last rendering is neither rendered nor compressed again.
"""

import operator
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain, repeat

from exporter.exposition.falling import FALLEN, NOTHING_SHOWN, Shown
from exporter.exposition.formats import openmetrics_head, text_head
from exporter.exposition.limits import OVER_THE_FAMILY_LIMIT, OVER_THE_LIMIT
from exporter.exposition.rendering import FamilyPieces, Piece
from exporter.exposition.samples import AnyBlock, Samples
from exporter.metrics import Block, Family

# So many pieces may wait to be compressed: each is megabytes of plain bytes.
_WAITING = 3


@dataclass(frozen=True)
class Rendered:
    """A family as it was rendered. ``series`` is how many it would have without any limit."""

    blocks: Sequence[AnyBlock]
    limit: int
    series: int
    heads: tuple[Piece, Piece]
    body: Sequence[Future[Piece]]
    shown: Shown
    left_out: Counter[str]

    @property
    def family(self) -> Family:
        """What was rendered."""
        return self.blocks[0].family

    def serves(self, blocks: Sequence[AnyBlock], limit: int) -> bool:
        """Tell whether rendering these blocks would give the same again."""
        if len(blocks) != len(self.blocks) or not all(map(operator.is_, blocks, self.blocks)):
            return False
        timeless = not any(isinstance(block, Block) and callable(block.values) for block in blocks)
        return timeless and FALLEN not in self.left_out and self.is_cut_at(limit)

    def is_cut_at(self, limit: int) -> bool:
        """Tell whether this limit would leave as many series."""
        return min(self.series, limit) == min(self.series, self.limit)

    def pieces(self, collector: str | None) -> FamilyPieces:
        """Return what is served of it, once it is compressed; ``collector`` declares the family."""
        return FamilyPieces(self.family, self.heads, tuple(piece.result() for piece in self.body), collector)


@dataclass(frozen=True)
class Before:
    """The families of the last rendering, and what was shown of those that were there before it, and may come back."""

    families: Mapping[str, Rendered]
    away: Mapping[str, Shown]

    def shown(self, name: str) -> Shown:
        """Return what was shown of a family."""
        last = self.families.get(name)
        return last.shown if last else self.away.get(name, NOTHING_SHOWN)

    def after(self, families: Mapping[str, Rendered], seconds: float) -> "Before":
        """Return the same for the rendering after this one."""
        gone = (self.families.keys() | self.away.keys()) - families.keys()
        away = {name: self.shown(name).without((), seconds) for name in gone}
        return Before(families, {name: shown for name, shown in away.items() if shown.counts})


@dataclass(frozen=True)
class Instant:
    """When a rendering is: Unix seconds, and the seconds of a clock that nobody sets."""

    now: float
    seconds: float


class Press:
    """Renders families at one instant, after what was shown before."""

    def __init__(self, before: Before, family_limit: int, pool: Executor, instant: Instant) -> None:
        self._before = before
        self._family_limit = family_limit
        self._pool = pool
        self._instant = instant
        self._waiting: deque[Future[Piece]] = deque()

    def rendered(self, blocks: Sequence[AnyBlock], limit: int) -> Rendered:
        """Render a family, or take what is left of the last rendering."""
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
        return Rendered(blocks, limit, samples.series, heads, body, samples.shown, samples.left_out)

    def _samples(self, blocks: Sequence[AnyBlock]) -> Samples:
        samples = Samples(blocks[0].family)
        for block in blocks:
            samples.add(block, self._instant.now)
        samples.settle(self._before.shown(samples.family.name), self._instant.seconds)
        return samples

    def _body(self, samples: Samples, limit: int, last: Sequence[Future[Piece]]) -> Sequence[Future[Piece]]:
        """Have the lines compressed, but never let many wait for it."""
        body = []
        for plain, before in zip(samples.bodies(limit), chain(last, repeat(None))):  # noqa: B905 - the second is endless
            while len(self._waiting) >= _WAITING:
                self._waiting.popleft().result()
            body.append(self._pool.submit(Piece.of, plain, before.result() if before else None))
            self._waiting.append(body[-1])
        return body
