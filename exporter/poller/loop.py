"""Polling again and again until told to stop: at a steady interval while all is well, more slowly after failures."""

import random
import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger()

MAX_BACK_OFF_SECONDS = 300.0
MAX_BACK_OFF_INTERVALS = 4


def poll_until(
    stopped: threading.Event,
    poll: Callable[[], bool],
    on_defect: Callable[[str], None],
    interval: float,
    randomness: random.Random,
) -> None:
    """Poll until told to stop; ``poll`` tells whether all went well. A defect of ours does not end the polling."""
    failures = 0
    while not stopped.is_set():
        try:
            failures = 0 if poll() else failures + 1
        except Exception as defect:
            failures += 1
            log.exception("a poll failed for a reason that is a defect of this program")
            on_defect(f"internal error: {type(defect).__name__}")
        stopped.wait(pause(interval, failures, randomness))


def pause(interval: float, failures: int, randomness: random.Random) -> float:
    """Return the seconds until the next poll: longer after failures, never more than four intervals or five minutes."""
    if not failures:
        return interval
    longest = max(interval, min(interval * MAX_BACK_OFF_INTERVALS, MAX_BACK_OFF_SECONDS))
    return randomness.uniform(0.5, 1.0) * min(interval * 2.0 ** min(failures, 10), longest)
