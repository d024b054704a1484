"""Inputs of the agent's rules: the metrics that Prometheus scrapes, at one instant.

Assets as columns, everything else as samples. What is not published is unknown.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from exporter.alerting.notification import Pairs, bounded_labels
from exporter.alerting.sample_window import SampleWindow
from exporter.collector import Collector
from exporter.collectors import asset_state, insights_hooks, rest_hooks
from exporter.collectors.assets import metrics as assets
from exporter.exposition.state_store import AnyBlock
from exporter.exposition.status_store import StatusStore
from exporter.metrics import Block, Family

Numbers = npt.NDArray[np.float64]
ASSET = (*assets.LABELS, assets.INFO.labels[len(assets.LABELS)])
_COLUMNS: Mapping[str, Family] = {
    "refreshed": assets.LAST_REFRESH,
    "due": assets.DUE,
    "interval": assets.INTERVAL,
    "failures": assets.FAILURES,
    "suspended": assets.SUSPENDED,
    "users": assets.USERS,
    "next_use": assets.NEXT_USE,
    "bytes": assets.BYTES,
    "usual_bytes": assets.USUAL_BYTES,
}
_ASSET_SOURCES = ("repository", "rest")
_FRESHNESS_SOURCES = {"repository": "repository", "metadata": "rest", "updated_at": "rest"}


def never(_labels: Mapping[str, str]) -> bool:
    """Return that the condition of every series is known."""
    return False


def always(_labels: Mapping[str, str]) -> bool:
    """Return that the condition of no series is known."""
    return True


@dataclass(frozen=True)
class RuleResult:
    """The series for which a rule's condition holds, with their values; and which others are unknown."""

    firing_series: Mapping[Pairs, float]
    unknown: Callable[[Mapping[str, str]], bool] = never


@dataclass(frozen=True)
class SourceStates:
    """The sources that are polled, and whether each is up, as far as they were tried.

    ``asset_sources`` are the same, and whether they report assets now; ``complete`` whether all assets are reported,
    ``awaited`` whether one was not tried yet. ``from_rest`` and ``from_activity_log`` are the collectors that the
    REST API and the Activity Log are a source of.
    """

    assets_enabled: bool = False
    up: Mapping[str, bool] = field(default_factory=dict)
    asset_sources: Mapping[str, bool] = field(default_factory=dict)
    complete: bool = False
    awaited: bool = False
    from_rest: Collection[str] = ()
    from_activity_log: Collection[str] = ()


def source_states(status: StatusStore, collectors: Mapping[str, Collector]) -> SourceStates:
    """Return the sources that are polled now, and which of them report assets."""
    tried = {source.name: source for source in status.sources() if source.tried_at is not None}
    key = asset_state(collectors)
    runs = {name: status.collector(key[0], name) if key else None for name in tried if name in _ASSET_SOURCES}
    return SourceStates(
        key is not None,
        {name: source.up for name, source in tried.items()},
        # Of many sites one may fail: the REST API reports the others.
        {name: tried[name].up and (name == "rest" or bool(run and run.success)) for name, run in runs.items()},
        status.all_tried() and all(run is not None and run.success for run in runs.values()),
        not status.all_tried(),
        (
            *(name for name, collector in collectors.items() if any(state.rest for state in collector.states)),
            *(name for name, collector in collectors.items() if collector.from_system_info),
            *rest_hooks(collectors, tried),
            *(insights_hooks(collectors, tried) if "admin_insights" in tried else ()),
        ),
        tuple(name for name, collector in collectors.items() if collector.from_activity_log),
    )


@dataclass(frozen=True)
class Assets:
    """Every published asset, a row each; NaN is unknown."""

    labels: tuple[Sequence[str], ...]
    columns: Mapping[str, Numbers]
    warning: Numbers
    critical: Numbers
    frozen: npt.NDArray[np.bool_]
    """Assets whose source is down: rules leave their alerts as they are."""
    complete: bool
    freshness_sources: Sequence[str]

    def where(self, condition: npt.NDArray[np.bool_], numbers: Numbers) -> RuleResult:
        """Return the assets for which a condition holds."""
        firing_series = {
            _pairs(ASSET, [column[row] for column in self.labels]): float(numbers[row])
            for row in np.flatnonzero(condition & ~self.frozen).tolist()
        }
        return RuleResult(firing_series, self._unknown())

    def _unknown(self) -> Callable[[Mapping[str, str]], bool]:
        """Return which assets are unknown: those of a source that is down, and absent ones where some are missing.

        An asset is identified by site, type and LUID: it may have another name or owner.
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
    """The published metrics at an instant; ``past`` has their earlier samples."""

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
        """Return one sample; None where it is not published."""
        return dict(self.samples(family)).get(tuple(sorted(labels.items())))

    def of_assets(self, condition: Callable[[Assets], RuleResult]) -> RuleResult:
        """Evaluate a condition on the assets; all are unknown where none are published."""
        if self.assets is not None:
            return condition(self.assets)
        return RuleResult({}, always if self.sources.assets_enabled else never)

    def _read_assets(self) -> Assets | None:
        if (info := self._one(assets.INFO)) is None:
            return None
        size = len(info.labels)
        site, project, asset_type, asset_id, asset_name, owner, _, source = info.labels.columns
        sla = {
            block.labels.columns[-1][0]: block
            for block in self._blocks.get(assets.SLA.name, ())
            if size and len(block.labels)
        }
        return Assets(
            (site, project, asset_type, asset_id, asset_name, owner),
            {name: self._numbers(self._one(family), size) for name, family in _COLUMNS.items()},
            self._numbers(sla.get("warning"), size),
            self._numbers(sla.get("critical"), size),
            self._frozen(source),
            self.sources.complete,
            source,
        )

    def _frozen(self, freshness_sources: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return the assets whose source does not report them now."""
        reporting = self.sources.asset_sources
        first = next((name for name in _ASSET_SOURCES if name in reporting), "")
        silent = {
            source: not reporting.get(_FRESHNESS_SOURCES.get(source, first), True) for source in set(freshness_sources)
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
