"""Blocks to bytes. What has not changed since the last rendering is neither rendered nor compressed again."""

import operator
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from exporter.agent_families import SERIES_DROPPED
from exporter.exposition.formats import openmetrics_head, text_head
from exporter.exposition.process import Process
from exporter.exposition.rendering import Part, Rendering
from exporter.exposition.samples import AnyBlock, Samples
from exporter.metrics import Block, Labels


@dataclass(frozen=True)
class _Rendered:
    """A family as it was last rendered, and what it was rendered from."""

    blocks: Sequence[AnyBlock]
    limit: int
    text_head: Part
    openmetrics_head: Part
    body: Part
    values: Mapping[str, float]
    left_out: Counter[str]

    def is_of(self, blocks: Sequence[AnyBlock], limit: int) -> bool:
        """Tell whether rendering these blocks would give the same again."""
        if limit != self.limit or len(blocks) != len(self.blocks) or not all(map(operator.is_, blocks, self.blocks)):
            return False
        return not any(isinstance(block, Block) and callable(block.values) for block in blocks)


class Renderer:
    """Renders all families, and counts over the life of the process what had to be left out.

    A block must not change after it was handed over. ``series_limit`` holds for each family and may be set anew between
    renderings; a histogram has a series for each bucket and two more. The first series are kept, the others left out.
    """

    def __init__(self, series_limit: int = 200_000, *, process: Callable[[], Iterable[Block]] | None = None) -> None:
        self.series_limit = series_limit
        self._process = process or Process()
        self._kept: dict[str, _Rendered] = {}
        self._dropped: Counter[str] = Counter()
        self._left_out: dict[str, int] = {}
        self._lock = threading.Lock()
        self._log = structlog.get_logger()

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many series of each family were left out so far.

        A series that stays away is counted once: what counts is by how much a rendering leaves out more than the last.
        """
        return dict(self._dropped)

    def render(self, blocks: Iterable[AnyBlock], now: float) -> Rendering:
        """Render the blocks as they are at an instant (Unix seconds), with what is known of this process."""
        # zlib lets go of the interpreter: a family is compressed while the next one is rendered.
        with self._lock, ThreadPoolExecutor(1, "compression") as pool:
            families = self._families([*blocks, *self._process()], now, pool)
            for name, rendered in families.items():
                self._account(name, rendered)
            # What tells of the limit is itself not bound by it: it has a series for each family.
            families[SERIES_DROPPED.name] = self._rendered([self._dropped_block()], now, pool, sys.maxsize)
            self._kept = families
        ordered = [families[name] for name in sorted(families) if families[name].body.plain]
        return Rendering.of(
            [piece for each in ordered for piece in (each.text_head, each.body)],
            [piece for each in ordered for piece in (each.openmetrics_head, each.body)],
        )

    def _families(self, blocks: Iterable[AnyBlock], now: float, pool: Executor) -> dict[str, _Rendered]:
        grouped: dict[str, list[AnyBlock]] = {}
        for block in blocks:
            grouped.setdefault(block.family.name, []).append(block)
        return {name: self._rendered(group, now, pool, self.series_limit) for name, group in grouped.items()}

    def _rendered(self, blocks: Sequence[AnyBlock], now: float, pool: Executor, limit: int) -> _Rendered:
        """Render one family, or take what is left of the last rendering."""
        family = blocks[0].family
        last = self._kept.get(family.name)
        if last and last.is_of(blocks, limit):
            return last
        samples = Samples(family, limit)
        for block in blocks:
            samples.add(block, now)
        body = samples.body()
        if last and last.blocks[0].family == family:
            text, openmetrics = last.text_head, last.openmetrics_head
        else:
            text, openmetrics = Part.of(text_head(family), pool), Part.of(openmetrics_head(family), pool)
        kept = last.body if last and last.body.plain == body else Part.of(body, pool)
        values = {} if family.type == "gauge" else samples.values
        return _Rendered(blocks, limit, text, openmetrics, kept, values, samples.left_out)

    def _account(self, name: str, rendered: _Rendered) -> None:
        """Count and report what was left out anew, and report what fell; what lasts is said once."""
        last = self._kept.get(name)
        if rendered is last:
            return
        for reason, count in rendered.left_out.items():
            if last is None or reason not in last.left_out:
                self._log.warning("series left out of /metrics", family=name, series=count, reason=reason)
        if last and any(value < last.values.get(text, 0) for text, value in rendered.values.items()):
            self._log.warning("a counter fell, which Prometheus takes for a restart", family=name)
        total = rendered.left_out.total()
        self._dropped[name] += max(0, total - self._left_out.get(name, 0))
        self._left_out[name] = total

    def _dropped_block(self) -> Block:
        """Return the samples of ``tableau_series_dropped_total``, a zero for each family that lost none."""
        names = sorted(self._dropped)
        return Block(SERIES_DROPPED, Labels(("family",), [names]), [self._dropped[name] for name in names])
