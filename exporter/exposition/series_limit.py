"""Limits of exposed series: of each family, and of all families together.

Each family is cut at ``limits.series_per_family``. Where all together still exceed ``limits.series``, the largest are
cut to one height, the greatest with which all fit; the agent's own families are never cut for others. The first series
of a family stay.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.metrics import Family

OVER_THE_FAMILY_LIMIT = "the family has more series than limits.series_per_family allows"
OVER_THE_LIMIT = "all families have more series than limits.series allows"
NO_LIMIT = sys.maxsize
_OWN = frozenset({"the agent", "the operating system"})


@dataclass(frozen=True)
class SeriesLimits:
    """How many series a family, and all families together, may have."""

    series_per_family: int = 200_000
    series: int = 2_000_000


def is_own(family: Family) -> bool:
    """Whether a family is about the agent itself."""
    return family.source in _OWN


def height(sizes: Iterable[int], room: int) -> int:
    """Return the greatest number at which cutting each size makes all of them fit."""
    rising = sorted(sizes)
    left = max(room, 0)
    for place, size in enumerate(rising):
        share = left // (len(rising) - place)
        if size > share:
            return share
        left -= size
    return NO_LIMIT
