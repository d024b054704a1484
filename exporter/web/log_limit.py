"""How often something may be logged that any stranger can cause."""

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
