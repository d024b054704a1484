"""How often what is dear is done: an exact reading scans the whole table, so it comes the rarer the longer it takes."""

from dataclasses import dataclass

# At most this share of the time is spent on exact readings, however often they were asked for.
EXACT_SHARE = 0.05
LONGEST_EXACT_SECONDS = 3600.0


@dataclass
class Due:
    """What comes due again ``seconds`` after it was done; at once when it never was."""

    seconds: float
    done_at: float | None = None

    def at(self, now: float) -> bool:
        """Whether it is due; a clock that went back makes it due as well."""
        return self.done_at is None or not 0.0 <= now - self.done_at < self.seconds


def exact_interval(asked: float, took: float) -> float:
    """Return the seconds from one exact reading to the next: more than were asked for while one takes long."""
    return max(asked, min(took / EXACT_SHARE, LONGEST_EXACT_SECONDS))
