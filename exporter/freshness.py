"""What is promised of an asset: the first rule that it fits, in hours.

Globs are case-sensitive, and ``*`` stands for any text, with the ``/`` between projects too.
"""

import fnmatch
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

HOUR = 3600.0

Tiers = tuple[float | None, float | None]
Promises = Callable[[Mapping[str, Any]], Tiers]


class Promise(Protocol):
    """A rule: globs for each field, of which one must fit, and seconds after which an asset is stale, or None."""

    @property
    def match(self) -> Mapping[str, tuple[str, ...]]:
        """The globs by field: site, project, asset_type, name, tag, content_owner; empty for the default."""

    @property
    def warning(self) -> float | None:
        """The seconds of the warning tier."""

    @property
    def critical(self) -> float | None:
        """The seconds of the critical tier."""


def promises(rules: Sequence[Promise]) -> Promises:
    """Return the function that finds an asset's promise: hours of warning and critical, None where nothing is promised.

    An asset maps site, project, asset_type, name and content_owner to text, and tags to a list of texts.
    """
    compiled = [(_tests(rule.match), (_hours(rule.warning), _hours(rule.critical))) for rule in rules]

    def promised(asset: Mapping[str, Any]) -> Tiers:
        return next((tiers for tests, tiers in compiled if _fits(asset, tests)), (None, None))

    return promised


def _tests(match: Mapping[str, tuple[str, ...]]) -> list[tuple[str, Callable[[str], Any]]]:
    return [(field, _compiled(globs)) for field, globs in match.items()]


@functools.lru_cache(maxsize=1024)
def _compiled(globs: tuple[str, ...]) -> Callable[[str], Any]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs)).match


def _fits(asset: Mapping[str, Any], tests: Sequence[tuple[str, Callable[[str], Any]]]) -> bool:
    return all(
        any(map(matches, asset["tags"])) if field == "tag" else matches(asset[field] or "") for field, matches in tests
    )


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / HOUR
