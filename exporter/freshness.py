"""The SLA of an asset: that of the first rule that matches, in hours; and when its scheduled refreshes are due.

Globs are case-sensitive, and ``*`` stands for any text, with the ``/`` between projects too.
"""

import fnmatch
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

HOUR, DAY = 3600.0, 86_400.0

Tiers = tuple[float | None, float | None]
SlaLookup = Callable[[Mapping[str, Any]], Tiers]
"""From an asset to the hours of its warning and critical threshold; None where there is none."""


class SlaRule(Protocol):
    """Globs for each field, of which one must match, and seconds after which an asset is stale, or None."""

    @property
    def match(self) -> Mapping[str, tuple[str, ...]]:
        """The globs by field: site, project, asset_type, name, tag, content_owner; empty for the default."""

    @property
    def warning(self) -> float | None:
        """The seconds of the warning threshold."""

    @property
    def critical(self) -> float | None:
        """The seconds of the critical threshold."""


def sla_lookup(rules: Sequence[SlaRule]) -> SlaLookup:
    """Return the function that finds an asset's SLA.

    An asset maps site, project, asset_type, name and content_owner to text, and tags to a list of texts.
    """
    compiled = [(_tests(rule.match), (_hours(rule.warning), _hours(rule.critical))) for rule in rules]

    def sla(asset: Mapping[str, Any]) -> Tiers:
        return next((tiers for tests, tiers in compiled if _matches(asset, tests)), (None, None))

    return sla


def _tests(match: Mapping[str, tuple[str, ...]]) -> list[tuple[str, Callable[[str], Any]]]:
    return [(field, _compiled(globs)) for field, globs in match.items()]


@functools.lru_cache(maxsize=1024)
def _compiled(globs: tuple[str, ...]) -> Callable[[str], Any]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs)).match


def _matches(asset: Mapping[str, Any], tests: Sequence[tuple[str, Callable[[str], Any]]]) -> bool:
    return all(
        any(map(matches, asset["tags"])) if field == "tag" else matches(asset[field] or "") for field, matches in tests
    )


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / HOUR


class Dues:
    """When scheduled refreshes are due, with a grace period; kept from poll to poll.

    Tableau moves a schedule on when a refresh is queued, not when it ends: a scheduled instant stands until a refresh
    has ended after it. Instants are Unix seconds, unknown ones are NaN.
    """

    def __init__(self, grace_seconds: float = HOUR) -> None:
        self.grace_seconds = grace_seconds
        self._scheduled: dict[str, tuple[float, float]] = {}

    def of(
        self,
        keys: Sequence[str],
        scheduled: Sequence[float],
        ended: Sequence[float],
        known: Sequence[bool | None],
        now: float,
    ) -> list[float]:
        """Update the scheduled instant of each asset, and return when each refresh is due.

        Where an asset's tasks are unknown, its last scheduled instant stands for a day.
        """
        kept = {key: entry for key, entry in self._scheduled.items() if now - entry[1] <= DAY}
        for key, following, done, is_known in zip(keys, scheduled, ended, known, strict=True):
            instant, known_at = kept.get(key, (math.nan, now))
            if is_known:
                instant, known_at = _awaited(instant, following, done, now), now
            elif done >= instant:
                instant = math.nan
            if (is_known and math.isnan(following)) or math.isnan(instant):
                kept.pop(key, None)
            else:
                kept[key] = instant, known_at
        self._scheduled = kept
        return [kept[key][0] + self.grace_seconds if key in kept else math.nan for key in keys]


def _awaited(before: float, following: float, ended: float, now: float) -> float:
    """Return the scheduled instant that is waited for: a past one until a refresh has ended after it."""
    return before if before <= now and not ended >= before else following
