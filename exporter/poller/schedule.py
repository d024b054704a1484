"""When to poll: the loop of polls with back-off after failures, and work that is due at longer intervals."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

MAX_BACKOFF_SECONDS = 300.0
MAX_BACKOFF_INTERVALS = 4
# An exact read scans the whole table: at most this share of the time, however often they are configured.
EXACT_SHARE = 0.05
MAX_EXACT_INTERVAL_SECONDS = 3600.0


def run_loop(
    stopped: threading.Event,
    poll: Callable[[], bool],
    on_bug: Callable[[str], None],
    interval: float,
    randomness: random.Random,
) -> None:
    """Poll until stopped; ``poll`` returns whether it succeeded. An unexpected error does not end the loop."""
    failures = 0
    while not stopped.is_set():
        try:
            failures = 0 if poll() else failures + 1
        except Exception as error:
            failures += 1
            log.exception("poll failed: unexpected error (bug)")
            on_bug(f"internal error: {type(error).__name__}")
        stopped.wait(next_interval(interval, failures, randomness))


def next_interval(interval: float, failures: int, randomness: random.Random) -> float:
    """Return the seconds until the next poll: longer after failures, at most four intervals or five minutes."""
    if not failures:
        return interval
    longest = max(interval, min(interval * MAX_BACKOFF_INTERVALS, MAX_BACKOFF_SECONDS))
    return randomness.uniform(0.5, 1.0) * min(interval * 2.0 ** min(failures, 10), longest)


@dataclass
class Due:
    """Work that is due every ``seconds``; at once when it was never done."""

    seconds: float
    done_at: float | None = None

    def at(self, now: float) -> bool:
        """Whether it is due; a clock that was set back makes it due too."""
        return self.done_at is None or not 0.0 <= now - self.done_at < self.seconds


def exact_interval(configured: float, duration: float) -> float:
    """Return the seconds from one exact read to the next: longer than configured while a read takes long."""
    return max(configured, min(duration / EXACT_SHARE, MAX_EXACT_INTERVAL_SECONDS))
