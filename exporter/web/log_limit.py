"""Rate limits for log events that any client can cause."""

import logging
import time
from collections.abc import Callable

_SECONDS = 60.0


class Interval:
    """Lets one event a minute pass, and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()
        self._more = 0

    def passed(self) -> int | None:
        """Return how many events were held back since the last that passed; None where this one is held back."""
        if self._clock() < self._next:
            self._more += 1
            return None
        self._next, more, self._more = self._clock() + _SECONDS, self._more, 0
        return more


class LogLimit(logging.Filter):
    """Lets each message of a library pass once a minute; the next has the number suppressed in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._intervals: dict[str, Interval] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be logged. Messages are compared by their first lines, before formatting."""
        first, end, rest = str(record.msg).partition("\n")
        more = self._intervals.setdefault(first, Interval(self._clock)).passed()
        if more:
            record.msg = f"{first} ({more} more since the last such line){end}{rest}"
        return more is not None


LIMIT = LogLimit()


def limit_libraries() -> None:
    """Bound what uvicorn and asyncio log: malformed requests come before any password."""
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(LIMIT)
