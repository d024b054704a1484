"""The usual size of an asset after a refresh, by the course of its last refreshes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

COURSE = 20
"""How many refreshes are looked back on."""
MIN_REFRESHES = 5
"""Of fewer refreshes nothing is concluded."""
MIN_BYTES = 10_000_000
"""Of smaller assets nothing is concluded: the REST API has whole megabytes."""
UNUSUAL_FACTOR = 2.0
"""A size is unusual below a half, or above the double, of the expected one."""
MAX_UNUSUAL = 1
"""How many earlier sizes may be unusual, beside those of the last refreshes in a row."""

Floats = npt.NDArray[np.float64]


def usual_bytes(sizes: Sequence[int]) -> int | None:
    """Return the expected size after the next refresh, of those after earlier ones, the oldest first.

    The line through their logarithms by the medians of all slopes and levels (Theil and Sen): few unusual sizes do not
    move it, and steady growth is expected to continue. None where the course is short, irregular or small.
    """
    course = np.asarray(sizes[-COURSE:], dtype=np.float64)
    if len(course) < MIN_REFRESHES:
        return None
    logs, places = np.log(np.maximum(course, 1.0)), np.arange(len(course), dtype=np.float64)
    earlier, later = np.triu_indices(len(course), 1)
    slope = float(np.median((logs[later] - logs[earlier]) / (later - earlier)))
    level = float(np.median(logs - slope * places))
    if not _is_regular(logs - level - slope * places):
        return None
    expected = round(float(np.exp(level + slope * len(course))))
    return expected if expected >= MIN_BYTES else None


def _is_regular(deviations: Floats) -> bool:
    """Return whether few sizes are unusual; those at the end are what is to be reported."""
    unusual = np.abs(deviations) > np.log(UNUSUAL_FACTOR)
    usual = np.flatnonzero(~unusual)
    return bool(len(usual)) and int(unusual[: usual[-1]].sum()) <= MAX_UNUSUAL
