"""Metrics of unused content, made of the history's answer about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from exporter.collector import Context
from exporter.collectors._arrow import Instants, instants, texts, values
from exporter.metrics import Block, Family, Labels, Value

if TYPE_CHECKING:
    import pyarrow as pa

UNUSED = "unused"
"""The page: ``StateHistory.page``."""
DAYS = (30, 90, 365)
DAY_SECONDS = 86_400.0

Mask = npt.NDArray[np.bool_]

_SOURCE = "repository: views_stats, content_usage, workbooks, datasources, flows; history: views_by_day"
_LABELS = ("site", "project", "asset_type", "days")

ASSETS = Family(
    "tableau_unused_assets",
    "gauge",
    "Workbooks, published data sources and flows of the project that nobody opened for so many days, cumulative; from"
    " the repository and the history every hour.",
    _LABELS,
    _SOURCE,
)
BYTES = Family(
    "tableau_unused_asset_bytes",
    "gauge",
    "Size of the workbooks, published data sources and flows of the project that nobody opened for so many days,"
    " cumulative; from the repository and the history every hour.",
    _LABELS,
    f"{_SOURCE}; repository: extracts",
)
REFRESH_SECONDS = Family(
    "tableau_unused_refresh_seconds_per_week",
    "gauge",
    "Backgrounder time of the refreshes of the project's content that nobody opened for 30 days, the mean of the last"
    " four weeks; from the history every hour.",
    ("site", "project"),
    f"{_SOURCE}, background_jobs",
)
FAMILIES = (ASSETS, BYTES, REFRESH_SECONDS)


@dataclass(frozen=True)
class Openings:
    """The last opening of each asset, and since when openings are known, both Unix seconds; NaN is unknown, or none."""

    created_at: Instants
    opened_at: Instants
    known_since: Instants

    @classmethod
    def of(cls, rows: "pa.Table") -> "Openings":
        """Build it of the history's answer."""
        return cls(*(instants(rows, name) for name in ("created_at", "opened_at", "known_since")))

    def known(self, days: int, now: float) -> Mask:
        """Return of which assets it is known whether they were opened within so many days (Unix seconds)."""
        began = np.fmin(self.created_at, self.opened_at)
        return (self.known_since <= now - days * DAY_SECONDS) & ~np.isnan(began)

    def unused(self, days: int, now: float) -> Mask:
        """Return which assets are older than so many days, and were not opened within them."""
        since = now - days * DAY_SECONDS
        is_old = np.fmin(self.created_at, self.opened_at) <= since
        return self.known(days, now) & is_old & ~(self.opened_at > since)


def expose(_rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Return the samples; before the history has answered nothing is known."""
    learned = context.learned
    if learned is None:
        return []
    sites = [context.site(site_id) for site_id in learned.column("site_id").to_pylist()]
    places = list(zip(sites, texts(learned, "project"), texts(learned, "asset_type"), strict=True))
    openings, blocks = Openings.of(learned), []
    for days in DAYS:
        known, unused = openings.known(days, context.now), openings.unused(days, context.now)
        groups = [(*place, str(days)) for place in places]
        blocks += [
            _block(ASSETS, groups, known, np.where(unused, 1.0, 0.0)),
            _block(BYTES, groups, known, np.where(unused, _numbers(learned, "bytes"), 0.0)),
        ]
    known, unused = openings.known(DAYS[0], context.now), openings.unused(DAYS[0], context.now)
    cost = np.where(unused, _numbers(learned, "refresh_seconds_per_week"), 0.0)
    return [*blocks, _block(REFRESH_SECONDS, [place[:2] for place in places], known, cost)]


def _numbers(rows: "pa.Table", name: str) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values(rows, name)], dtype=np.float64)


def _block(family: Family, groups: Sequence[tuple[str, ...]], known: Mask, amounts: npt.NDArray[np.float64]) -> Block:
    """Add up the amounts of each group that has an asset of known use; a group without a known amount has no sample."""
    sums: dict[tuple[str, ...], float] = {}
    lacking = set()
    for position in np.flatnonzero(known).tolist():
        amount, group = float(amounts[position]), groups[position]
        if np.isnan(amount):
            lacking.add(group)
        sums[group] = sums.get(group, 0.0) + (0.0 if np.isnan(amount) else amount)
    found: list[Value] = [None if not amount and group in lacking else amount for group, amount in sums.items()]
    columns = list(zip(*sums, strict=True)) or [()] * len(family.labels)
    return Block(family, Labels(family.labels, columns), found)
