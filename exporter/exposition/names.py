"""Which names a family takes in the two formats, and which families would take one that is taken.

A parser of OpenMetrics refuses the whole answer where two families have a name in common.
"""

from collections.abc import Iterable

from exporter.metrics import Family

CLASH = "another family takes one of its names"
# ``_created`` is not written, yet it belongs to its family, and parsers know that.
_SUFFIXES = {"gauge": ("",), "counter": ("", "_total", "_created")}
_OF_OTHERS = ("", "_bucket", "_count", "_sum", "_created")


def names_of(family: Family) -> frozenset[str]:
    """Return every name that belongs to a family."""
    stem = family.name.removesuffix("_total") if family.type == "counter" else family.name
    return frozenset(stem + suffix for suffix in _SUFFIXES.get(family.type, _OF_OTHERS))


def clashing(families: Iterable[Family], *, taken: Family) -> frozenset[str]:
    """Return the names of the families that come too late: one before, or ``taken``, has a name of theirs."""
    late, seen = set(), set(names_of(taken))
    for family in families:
        names = names_of(family)
        if seen.isdisjoint(names):
            seen |= names
        else:
            late.add(family.name)
    return frozenset(late)
