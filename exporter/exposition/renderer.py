"""All families to a rendering, within the limits; what had to be left out is counted, and said once."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog

from exporter.agent_families import SERIES_DROPPED
from exporter.exposition.limits import NO_LIMIT, SeriesLimits, height, is_own
from exporter.exposition.names import CLASH, clashing
from exporter.exposition.process import Process
from exporter.exposition.rendered import Before, Instant, Press, Rendered
from exporter.exposition.rendering import Rendering
from exporter.exposition.samples import AnyBlock, series_of
from exporter.metrics import Block, Family, Labels


class Renderer:
    """Renders all families, and counts over the life of the process what had to be left out.

    A block must not change after it was handed over. ``limits`` may be set anew between renderings; a histogram has a
    series for each bucket and two more. ``collectors`` maps a family's name to the collector that declares it.
    ``clock`` gives seconds, and is never set: it times how long a counter that fell is kept back.
    """

    def __init__(
        self,
        limits: SeriesLimits | None = None,
        *,
        collectors: Mapping[str, str] | None = None,
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

        A series that stays away is counted once: what counts is by how much a rendering leaves out more than the last.
        """
        return dict(self._dropped)

    def render(self, blocks: Iterable[AnyBlock], now: float) -> Rendering:
        """Render the blocks as they are at an instant (Unix seconds), with what is known of this process."""
        # Arrow and zlib let go of the interpreter: a piece is compressed while the next one is written.
        with self._lock, ThreadPoolExecutor(1, "compression") as pool:
            instant = Instant(now, self._clock())
            press = Press(self._before, self.limits.series_per_family, pool, instant)
            families = self._families(press, [*blocks, *self._process()])
            self._before = self._before.after(families, instant.seconds)
            shown = [families[name] for name in sorted(families) if families[name].body]
            return Rendering(tuple(each.pieces(self._collectors.get(each.family.name)) for each in shown))

    def _families(self, press: Press, blocks: Iterable[AnyBlock]) -> Mapping[str, Rendered]:
        """Render each family, again those that all together leave less room than the last time, and what this cost."""
        grouped: dict[str, list[AnyBlock]] = {}
        for block in blocks:
            grouped.setdefault(block.family.name, []).append(block)
        for name in clashing((group[0].family for group in grouped.values()), taken=SERIES_DROPPED):
            self._account(name, Counter({CLASH: series_of(grouped.pop(name))}))
        families = {name: press.rendered(group, self._limit(group[0].family)) for name, group in grouped.items()}
        self._height = self._highest(families.values())
        for name, rendered in families.items():
            if not rendered.is_cut_at(limit := self._limit(rendered.family)):
                families[name] = press.rendered(grouped[name], limit)
        for name, rendered in families.items():
            self._account(name, rendered.left_out)
        # What tells of the limits is itself not bound by them: it has a series for each family.
        families[SERIES_DROPPED.name] = press.rendered([self._dropped_block()], NO_LIMIT)
        return families

    def _limit(self, family: Family) -> int:
        """Return how many series of a family may be shown."""
        limit = self.limits.series_per_family
        return limit if is_own(family) else min(limit, self._height)

    def _highest(self, families: Iterable[Rendered]) -> int:
        """Return the height at which families that are not the agent's own have to be cut."""
        sizes = [(is_own(each.family), min(each.series, self.limits.series_per_family)) for each in families]
        own = sum(size for is_own, size in sizes if is_own)
        return height([size for is_own, size in sizes if not is_own], self.limits.series - own)

    def _account(self, name: str, left_out: Counter[str]) -> None:
        """Count and report what was left out anew; what lasts is said once."""
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
