"""The durations of the long tests: short in ``make test``, full in ``make soak``."""

import os

LONG = os.environ.get("SOAK") == "true"


def times(short: int, long: int) -> int:
    """Return how often a seeded test is repeated."""
    return long if LONG else short
