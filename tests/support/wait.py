"""Waiting for the work of another thread or process."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60.0


def until(
    condition: Callable[[], object],
    what: Callable[[], str] = lambda: "the condition",
    patience_seconds: float = PATIENCE_SECONDS,
    pause_seconds: float = 0.02,
) -> None:
    """Wait for a condition; it is given a minute, not a speed. ``what`` is called only if it does not come."""
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what()}"
        time.sleep(pause_seconds)
