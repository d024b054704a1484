"""What the agent's rules see: the families that Prometheus is shown, at one instant.

Of assets as columns, of everything else as samples. What is not shown is unknown.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from exporter.alerting.notification import Pairs, bounded_labels
from exporter.alerting.sample_window import SampleWindow
from exporter.collectors.assets import samples as assets
from exporter.exposition.state_store import AnyBlock
from exporter.metrics import Block, Family

Numbers = npt.NDArray[np.float64]
ASSET = (*assets.LABELS, assets.INFO.labels[len(assets.LABELS)])
_COLUMNS: Mapping[str, Family] = {
    "refreshed": assets.LAST_REFRESH,
    "due": assets.DUE,
    "interval": assets.INTERVAL,
    "failures": assets.FAILURES,
    "suspended": assets.SUSPENDED,
}
_FRESHNESS_SOURCES = {"repository": "repository", "metadata": "rest", "updated_at": "rest"}


def never(_labels: Mapping[str, str]) -> bool:
    """Tell that everything is known."""
    return False


def always(_labels: Mapping[str, str]) -> bool:
    """Tell that nothing is known."""
    return True


@dataclass(frozen=True)
class RuleResult:
    """For which labels a rule's condition holds, with its value; and of which others nobody knows whether it does."""

    holding: Mapping[Pairs, float]
    unknown: Callable[[Mapping[str, str]], bool] = never


@dataclass(frozen=True)
class SourceStates:
    """What is polled: the collectors, the sources and whether each answered, as far as they were tried.

    ``tell`` are the same sources, and whether they tell of assets now; ``complete`` whether all assets are told of,
    ``awaited`` whether one was not tried yet.
    """

    collectors: Collection[str] = ()
    up: Mapping[str, bool] = field(default_factory=dict)
    tell: Mapping[str, bool] = field(default_factory=dict)
    complete: bool = False
    awaited: bool = False


@dataclass(frozen=True)
class Assets:
    """Every asset that is shown, a row each; what is not a number is not known."""

    labels: tuple[Sequence[str], ...]
    columns: Mapping[str, Numbers]
    warning: Numbers
    critical: Numbers
    frozen: npt.NDArray[np.bool_]
    """Of which nothing new can be known, for its source is silent: a rule leaves it as it is."""
    complete: bool
    freshness_sources: Sequence[str]

    def where(self, condition: npt.NDArray[np.bool_], numbers: Numbers) -> RuleResult:
        """Return the assets for which a condition holds."""
        holding = {
            _pairs(ASSET, [column[row] for column in self.labels]): float(numbers[row])
            for row in np.flatnonzero(condition & ~self.frozen).tolist()
        }
        return RuleResult(holding, self._unknown())

    def _unknown(self) -> Callable[[Mapping[str, str]], bool]:
        """Return what tells of which assets nobody knows: the silent ones, and the absent ones where some are missing.

        An asset is told by its site, type and LUID: another name or owner of the same asset is known.
        """
        if self.complete and not self.frozen.any():
            return never
        site, _, asset_type, asset_id, *_ = self.labels
        frozen = dict(zip(zip(site, asset_type, asset_id, strict=True), self.frozen.tolist(), strict=True))
        absent = not self.complete

        def unknown(labels: Mapping[str, str]) -> bool:
            return bool(frozen.get((labels.get("site", ""), labels["asset_type"], labels.get("asset_id", "")), absent))

        return unknown


class MetricSnapshot:
    """The agent's present as the rules see it; ``past`` knows what it was before."""

    def __init__(self, blocks: Iterable[AnyBlock], now: float, past: SampleWindow, sources: SourceStates) -> None:
        self.now = now
        self.past = past
        self.sources = sources
        self._blocks: dict[str, list[Block]] = {}
        for block in blocks:
            if isinstance(block, Block):
                self._blocks.setdefault(block.family.name, []).append(block)
        self.assets = self._read_assets()

    def samples(self, family: Family) -> list[tuple[Pairs, float]]:
        """Return every sample of a family."""
        return [
            (_pairs(block.labels.names, labels), float(value))
            for block in self._blocks.get(family.name, ())
            for labels, value in zip(block.labels.rows(), block.at(self.now), strict=True)
            if value is not None
        ]

    def value(self, family: Family, **labels: str) -> float | None:
        """Return one sample; None where it is not shown."""
        return dict(self.samples(family)).get(tuple(sorted(labels.items())))

    def of_assets(self, condition: Callable[[Assets], RuleResult]) -> RuleResult:
        """Return what a condition finds among the assets; nothing is known of assets that are not shown."""
        if self.assets is not None:
            return condition(self.assets)
        return RuleResult({}, always if "assets" in self.sources.collectors else never)

    def _read_assets(self) -> Assets | None:
        if (info := self._one(assets.INFO)) is None:
            return None
        size = len(info.labels)
        site, project, asset_type, asset_id, asset_name, owner, _, source = info.labels.columns
        promised = {
            block.labels.columns[-1][0]: block
            for block in self._blocks.get(assets.SLA.name, ())
            if size and len(block.labels)
        }
        return Assets(
            (site, project, asset_type, asset_id, asset_name, owner),
            {name: self._numbers(self._one(family), size) for name, family in _COLUMNS.items()},
            self._numbers(promised.get("warning"), size),
            self._numbers(promised.get("critical"), size),
            self._frozen(source),
            self.sources.complete,
            source,
        )

    def _frozen(self, freshness_sources: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which assets' source does not tell of them now."""
        tell = self.sources.tell
        first = next((name for name in ("repository", "rest") if name in tell), "")
        silent = {
            source: not tell.get(_FRESHNESS_SOURCES.get(source, first), True) for source in set(freshness_sources)
        }
        return np.array([silent[source] for source in freshness_sources], dtype=np.bool_)

    def _one(self, family: Family) -> Block | None:
        return next(iter(self._blocks.get(family.name, ())), None)

    def _numbers(self, block: Block | None, size: int) -> Numbers:
        if block is None:
            return np.full(size, np.nan)
        return np.array(block.at(self.now), dtype=np.float64)


def _pairs(names: Sequence[str], values: Sequence[str]) -> Pairs:
    return bounded_labels(dict(zip(names, values, strict=True)))
