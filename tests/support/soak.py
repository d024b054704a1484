"""How long the long tests are: short in ``make test``, as long as they promise in ``make soak``."""

import os

LONG = os.environ.get("SOAK") == "true"


def times(short: int, long: int) -> int:
    """Return how often a seeded test is repeated."""
    return long if LONG else short
