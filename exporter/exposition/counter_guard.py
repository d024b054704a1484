"""What was shown of series that count, so that none falls: Prometheus would take a fall for a restart, and count anew.

A series that is lower than it was stays away until it is as high again, or for ten minutes. One that was away in
between is held to the same. Seconds are those of a clock that nobody sets.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

Counts = tuple[float, ...]

DECREASED = "a counter decreased"
# So long a fall is not shown; from then on it is taken for a new beginning. Longer than rates look back, as a rule.
HOLD_SECONDS = 600.0
# So many series of a family that are away are remembered, so that series that come and go cost no memory without end.
MAX_REMEMBERED = 100_000


@dataclass(frozen=True)
class ExposedCounts:
    """The highest that was shown of each series, and since when (seconds) those that are not shown are away."""

    counts: Mapping[str, Counts]
    away: Mapping[str, float]

    def without(self, present: Container[str], seconds: float) -> "ExposedCounts":
        """Return what is to be remembered of the series that are not among those present, the latest to go."""
        since = {name: self.away.get(name, seconds) for name in self.counts if name not in present}
        kept = [name for name, gone in since.items() if seconds - gone < HOLD_SECONDS]
        if len(kept) > MAX_REMEMBERED:
            kept = sorted(kept, key=since.__getitem__)[-MAX_REMEMBERED:]
        return ExposedCounts({name: self.counts[name] for name in kept}, {name: since[name] for name in kept})

    def joined(self, other: "ExposedCounts") -> "ExposedCounts":
        """Return what is known of the series of both; none is in both."""
        return ExposedCounts({**self.counts, **other.counts}, {**self.away, **other.away}) if other.counts else self


NOTHING_EXPOSED = ExposedCounts({}, {})
