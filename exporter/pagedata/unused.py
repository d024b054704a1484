"""Content with its last opening, for the lists of unused content and of refreshes that Tableau will suspend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from exporter.collectors._arrow import Instants, texts, values
from exporter.collectors.unused.metrics import DAY_SECONDS, Openings
from exporter.pagedata.query_results import HistoryAnswer

SOON_SECONDS = 7 * DAY_SECONDS
"""Within this time a suspension is listed."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class UnusedContent:
    """The answer of the history, a row each; ``suspended_at`` is when Tableau suspends its refreshes, or NaN."""

    queried_at: float
    site: Sequence[str]
    openings: Openings
    suspended_at: Instants
    texts: Mapping[str, Sequence[str]]
    numbers: Mapping[str, Sequence[float | None]]

    @classmethod
    def of(cls, answer: HistoryAnswer) -> "UnusedContent":
        """Build it of an answer of the history."""
        rows, openings = answer.rows, Openings.of(answer.rows)
        names = ("asset_type", "asset_id", "asset_name", "project", "content_owner")
        return cls(
            answer.queried_at,
            [answer.sites.get(site, "") for site in rows.column("site_id").to_pylist()],
            openings,
            _suspended_at(rows, openings),
            {name: texts(rows, name) for name in names},
            {name: values(rows, name) for name in ("bytes", "refresh_seconds_per_week")},
        )

    def unused(self, days: int, site: str) -> Places:
        """Return what was not opened for so many days, the longest unused first; an empty site is all of them."""
        opened = np.nan_to_num(self.openings.opened_at, nan=-np.inf)
        return self._ordered(self.openings.unused(days, self.queried_at), site, opened)

    def suspending(self, site: str) -> Places:
        """Return the workbooks whose refreshes Tableau suspends soon, the next first."""
        return self._ordered(self.suspended_at <= self.queried_at + SOON_SECONDS, site, self.suspended_at)

    def unknown(self, days: int, site: str) -> int:
        """Return of how much content it is unknown whether it was opened within so many days."""
        return len(self._ordered(~self.openings.known(days, self.queried_at), site, self.suspended_at))

    def total(self, name: str, places: Places) -> float | None:
        """Return the sum of the known numbers of some rows; None where none is known."""
        found = [value for place in places.tolist() if (value := self.numbers[name][place]) is not None]
        return sum(found) if found else None

    def _ordered(self, mask: npt.NDArray[np.bool_], site: str, key: npt.NDArray[np.float64]) -> Places:
        of_site = np.array([site in {"", each} for each in self.site], dtype=np.bool_)
        rows = np.flatnonzero(mask & of_site)
        names = np.array([self.texts["asset_name"][place].casefold() for place in rows.tolist()], dtype=object)
        order: Places = np.lexsort((np.argsort(np.argsort(names, kind="stable")), key[rows]))
        return rows[order]


def _suspended_at(rows: pa.Table, openings: Openings) -> Instants:
    """Return when the refreshes are suspended (Unix seconds): so long after the last opening, or the creation."""
    days = [np.nan if value is None else value for value in values(rows, "suspend_after_days")]
    return np.fmax(openings.created_at, openings.opened_at) + np.array(days, dtype=np.float64) * DAY_SECONDS
