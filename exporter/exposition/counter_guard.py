"""Keeps exposed counters monotonic: Prometheus takes a decrease for a reset, and counts everything again.

A series that decreased is left out until it is as high again, or for ten minutes; so is one that was absent in between.
Seconds are those of a monotonic clock.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

Counts = tuple[float, ...]

DECREASED = "a counter decreased"
# How long a decrease is held back; after that it counts as a reset. Longer than the usual range of rate().
HOLD_SECONDS = 600.0
# Absent series of a family that are remembered: a bound of memory.
MAX_REMEMBERED = 100_000


@dataclass(frozen=True)
class ExposedCounts:
    """The highest exposed value of each series, and since when (seconds) absent series are absent."""

    counts: Mapping[str, Counts]
    away: Mapping[str, float]

    def without(self, present: Container[str], seconds: float) -> "ExposedCounts":
        """Return the series that are not present, as far as they are remembered: the last that were exposed."""
        since = {name: self.away.get(name, seconds) for name in self.counts if name not in present}
        kept = [name for name, gone in since.items() if seconds - gone < HOLD_SECONDS]
        if len(kept) > MAX_REMEMBERED:
            kept = sorted(kept, key=since.__getitem__)[-MAX_REMEMBERED:]
        return ExposedCounts({name: self.counts[name] for name in kept}, {name: since[name] for name in kept})

    def joined(self, other: "ExposedCounts") -> "ExposedCounts":
        """Return the series of both; none is in both."""
        return ExposedCounts({**self.counts, **other.counts}, {**self.away, **other.away}) if other.counts else self


NOTHING_EXPOSED = ExposedCounts({}, {})
