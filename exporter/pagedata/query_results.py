"""Answers of the history for the pages: immutable values with the time of their query, set by the pollers."""

import threading
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

HOUR_SECONDS = 3600.0
ASSET_SIZES = "asset sizes"
"""The name under which the sizes of assets are kept: rows of the table ``asset_sizes``, in order."""
ASSET_USAGE = "asset usage"
"""The name under which the use of assets is kept: rows of exporter.collectors.assets.usage.USAGE."""
HOURS_SHOWN = 8 * 24

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HistoryAnswer:
    """The answer to a state's query for the pages, and the time of the query (Unix seconds); ``sites`` are labels."""

    rows: "pa.Table"
    queried_at: float
    sites: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HourlyUsage:
    """Requests and active users of each hour, by site; ``hours`` are their beginnings (Unix seconds), without gaps.

    ``requests`` and ``people`` have a number for each hour. ``people`` is None where users are not counted.
    ``everybody`` counts each person once over all sites; ``all_requests`` those of unknown sites too.
    """

    counted_at: float
    hours: Numbers
    requests: Mapping[str, Counts]
    all_requests: Counts
    people: Mapping[str, Counts] | None
    everybody: Counts | None
    loads_since: float | None
    """Since when loads of views are counted by day (Unix seconds)."""


def usage_of(
    requests: "pa.Table",
    people: "pa.Table | None",
    sites: Mapping[int, str],
    now: float,
    loads_since: float | None,
) -> HourlyUsage:
    """Return the use of the last eight days from rows of the history: the tables of ``exporter.history.usage.Use``."""
    began = [_seconds(table).min() for table in (requests, people) if table is not None and table.num_rows]
    this_hour = now // HOUR_SECONDS * HOUR_SECONDS
    newest = max([this_hour, *(_seconds(table).max() for table in (requests,) if table.num_rows)])
    first = max(min([*began, this_hour]), newest - (HOURS_SHOWN - 1) * HOUR_SECONDS)
    hours = np.arange(first, newest + 1, HOUR_SECONDS)
    by_site, of_nobody = _by_site(requests, "requests", hours, sites)
    total = sum(by_site.values(), of_nobody)
    if people is None:
        return HourlyUsage(now, hours, by_site, total, None, None, loads_since)
    whole = people.column("whole").to_numpy()
    apart, _ = _by_site(people.filter(~whole), "people", hours, sites)
    together = people.filter(whole)
    _, everybody = _by_site(together, "people", hours, {})
    return HourlyUsage(now, hours, by_site, total, apart, everybody, loads_since)


def _by_site(rows: "pa.Table", name: str, hours: Numbers, sites: Mapping[int, str]) -> tuple[dict[str, Counts], Counts]:
    """Return a row of numbers for each site, and one for the sites that nobody knows."""
    places = ((_seconds(rows) - hours[0]) // HOUR_SECONDS).astype(np.int64)
    labels = [sites.get(site, "") for site in rows.column("site_id").to_pylist()]
    found: dict[str, Counts] = {}
    for place, label, count in zip(places.tolist(), labels, rows.column(name).to_pylist(), strict=True):
        if 0 <= place < len(hours):
            found.setdefault(label, np.zeros(len(hours), dtype=np.int64))[place] += count
    unknown = found.pop("", np.zeros(len(hours), dtype=np.int64))
    return found, unknown


def _seconds(rows: "pa.Table") -> Numbers:
    micros = rows.column("hour").cast("timestamp[us]").cast("int64").to_numpy()
    return np.asarray(micros / 1_000_000, dtype=np.float64)


class PageAnswers:
    """The answers by collector, page and source, and the usage; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str, str], HistoryAnswer] = {}
        self._usage: HourlyUsage | None = None

    def set(self, collector: str, page: str, source: str, answer: HistoryAnswer) -> None:
        """Replace the answer for a page about the rows that a collector has from a source."""
        with self._lock:
            self._answers[collector, page, source] = answer

    def of(self, page: str) -> Mapping[str, HistoryAnswer]:
        """Return the answers for a page, by source."""
        with self._lock:
            return {source: answer for (_, name, source), answer in self._answers.items() if name == page}

    def every(self, page: str) -> tuple[HistoryAnswer, ...]:
        """Return the answers for a page about the states of all collectors and sources."""
        with self._lock:
            return tuple(answer for (_, name, _), answer in self._answers.items() if name == page)

    def set_usage(self, usage: HourlyUsage) -> None:
        """Replace the usage."""
        with self._lock:
            self._usage = usage

    def usage(self) -> HourlyUsage | None:
        """Return the usage; None before the first query."""
        with self._lock:
            return self._usage

    def retain(self, collectors: Container[str]) -> None:
        """Drop the answers of collectors that are disabled now."""
        with self._lock:
            self._answers = {key: answer for key, answer in self._answers.items() if key[0] in collectors}
