"""The instants of a backfill: whole multiples of a step since 1970 (UTC), numbered, the last included."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive, as in the history
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS = 1_000_000
DAY_SECONDS = 86_400


def microseconds(instant: datetime) -> int:
    """Return an instant (UTC, naive) as microseconds since 1970."""
    return (instant - EPOCH) // _MICROSECOND


@dataclass(frozen=True)
class Steps:
    """The steps ``first`` to ``last``, both included; step ``n`` is the instant ``n * seconds``."""

    seconds: int
    first: int
    last: int

    @classmethod
    def between(cls, since: datetime, until: datetime, seconds: int) -> "Steps":
        """Return the steps of a range; where there are none, ``last`` is before ``first``."""
        grid = cls(seconds, 0, 0)
        return cls(seconds, grid.after(since), grid.before(until))

    @property
    def count(self) -> int:
        """How many there are."""
        return max(0, self.last - self.first + 1)

    def at(self, step: int) -> datetime:
        """Return the instant of a step (UTC, naive)."""
        return EPOCH + timedelta(seconds=step * self.seconds)

    def before(self, instant: datetime) -> int:
        """Return the last step that is not after an instant."""
        return microseconds(instant) // (self.seconds * _MICROSECONDS)

    def after(self, instant: datetime) -> int:
        """Return the first step that is not before an instant."""
        return -(-microseconds(instant) // (self.seconds * _MICROSECONDS))

    def holding(self, instant: str, plus_seconds: float = 0) -> str:
        """Return the same in SQL, for an expression, moved by some seconds."""
        length = self.seconds * _MICROSECONDS
        return f"((epoch_us({instant}) + {round(plus_seconds * _MICROSECONDS) + length - 1}) // {length})"

    def days(self) -> Iterator["Steps"]:
        """Yield the steps of each day (UTC). One that ends at midnight has that instant too."""
        first = self.first
        while first <= self.last:
            midnight = (first * self.seconds // DAY_SECONDS + 1) * DAY_SECONDS
            following = -(-midnight // self.seconds)
            last = self.last if following >= self.last else following - 1
            yield Steps(self.seconds, first, last)
            first = last + 1

    def slices(self, beginning: datetime, newest: datetime) -> list[tuple[int, int | None]]:
        """Return spans of steps, a day each, the latest first: after the one and up to the other; None has no end.

        They reach from ``beginning``, and the latest begins before ``newest``.
        """
        a_day = max(1, DAY_SECONDS // self.seconds)
        lowest, top = self.before(beginning), max(self.before(newest), self.before(beginning))
        places = list(range(lowest, top + 1, a_day))
        spans = zip(places, [*places[1:], None], strict=True)
        return [*spans][::-1]
