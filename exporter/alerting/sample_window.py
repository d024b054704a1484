"""Samples of counters and of one gauge over time, for rules with an increase: stored in the history over restarts.

A sample is kept where a value changed, so their number does not depend on how often rules are evaluated. After a clock
that was ahead, samples of the future count as of now.
"""

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

HOUR, WEEK = 3600.0, 604_800.0
RETENTION = "repository_kept_seconds"

Series = tuple[str, tuple[str, ...]]
"""A family and its labels, as ``name=value``, sorted."""


@dataclass(frozen=True)
class Sample:
    """A value that changed at an instant (Unix seconds)."""

    at: float
    value: float


@dataclass
class SampleWindow:
    """Some counters over the last hour, and the repository's retention over the last week."""

    changed: bool = False
    """Whether it has samples that are not written to the history yet."""
    _samples: dict[Series, list[Sample]] = field(default_factory=dict)
    _peaks: dict[float, float] = field(default_factory=dict)

    def record(self, family: str, samples: Iterable[tuple[Sequence[tuple[str, str]], float]], now: float) -> None:
        """Record the values of a counter."""
        for pairs, value in samples:
            series = family, tuple(f"{name}={text}" for name, text in pairs)
            known = self._samples.setdefault(series, [])
            if known and known[-1].at > now:
                known[:] = [Sample(min(sample.at, now), sample.value) for sample in known]
            if not known or known[-1].value != value:
                known.append(Sample(now, value))
                self.changed = True
            # The newest of the old ones is the value at the start of the hour.
            old = bisect.bisect_right(known, now - HOUR, key=lambda sample: sample.at)
            del known[: max(old - 1, 0)]

    def increase(self, family: str, pairs: Sequence[tuple[str, str]], now: float, span: float = HOUR) -> float:
        """Return the increase of a counter over at most an hour (seconds); a decrease is a reset."""
        known = self._samples.get((family, tuple(f"{name}={text}" for name, text in pairs)), [])
        increase = 0.0
        for before, after in itertools.pairwise(known):
            if after.at > now - span:
                increase += after.value - before.value if after.value >= before.value else after.value
        return increase

    def record_retention(self, seconds: float, now: float) -> None:
        """Record for how long the repository keeps requests."""
        hour = now // HOUR * HOUR
        if seconds > self._peaks.get(hour, 0.0):
            self.changed = self.changed or hour not in self._peaks
            self._peaks[hour] = seconds
        self._peaks = {at: peak for at, peak in self._peaks.items() if now - WEEK < at <= now}

    @property
    def retention(self) -> float | None:
        """The longest time that the repository kept requests within the last week (seconds); None where unknown."""
        return max(self._peaks.values(), default=None)

    def rows(self) -> list[tuple[str, list[str], float, float]]:
        """Return all samples as the history stores them: family, labels, instant, value."""
        counters = [
            (family, list(labels), sample.at, sample.value)
            for (family, labels), samples in self._samples.items()
            for sample in samples
        ]
        return counters + [(RETENTION, [], at, peak) for at, peak in self._peaks.items()]

    def restore(self, rows: Iterable[tuple[str, Sequence[str], float, float]]) -> None:
        """Restore samples from the history, before those that were recorded since then."""
        retention: dict[Series, list[Sample]] = {}
        for family, labels, at, value in sorted(rows, key=lambda row: row[2]):
            if family == RETENTION:
                self._peaks[at] = max(value, self._peaks.get(at, 0.0))
            else:
                retention.setdefault((family, tuple(labels)), []).append(Sample(at, value))
        for series, samples in retention.items():
            since: Mapping[Series, list[Sample]] = self._samples
            seen = since.get(series, [])
            if seen and seen[0].value == samples[-1].value:
                seen = seen[1:]
            self._samples[series] = samples + seen
