"""The SLA of an asset: the first rule that it fits, in hours; and the refreshes that its schedule announced.

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


class SlaRule(Protocol):
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


def sla_lookup(rules: Sequence[SlaRule]) -> SlaLookup:
    """Return the function that finds an asset's SLA: hours of warning and critical, None where there is none.

    An asset maps site, project, asset_type, name and content_owner to text, and tags to a list of texts.
    """
    compiled = [(_tests(rule.match), (_hours(rule.warning), _hours(rule.critical))) for rule in rules]

    def hours_of(asset: Mapping[str, Any]) -> Tiers:
        return next((tiers for tests, tiers in compiled if _fits(asset, tests)), (None, None))

    return hours_of


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


class Dues:
    """When the refreshes that schedules announced must have ended, with some grace; remembered from poll to poll.

    Tableau moves a schedule on when a refresh is queued, not when it ends: an instant that was announced stands until
    a refresh has ended after it. Instants are Unix seconds, what is unknown is not a number.
    """

    def __init__(self, grace_seconds: float = HOUR) -> None:
        self.grace_seconds = grace_seconds
        self._announced: dict[str, tuple[float, float]] = {}

    def of(
        self,
        keys: Sequence[str],
        announced: Sequence[float],
        ended: Sequence[float],
        told: Sequence[bool | None],
        now: float,
    ) -> list[float]:
        """Take up what is announced of each asset and return until when each refresh is waited for.

        Where nothing could be told of an asset's tasks, what was announced stands for a day.
        """
        kept = {key: known for key, known in self._announced.items() if now - known[1] <= DAY}
        for key, following, done, is_told in zip(keys, announced, ended, told, strict=True):
            instant, told_at = kept.get(key, (math.nan, now))
            if is_told:
                instant, told_at = _standing(instant, following, done, now), now
            elif done >= instant:
                instant = math.nan
            if (is_told and math.isnan(following)) or math.isnan(instant):
                kept.pop(key, None)
            else:
                kept[key] = instant, told_at
        self._announced = kept
        return [kept[key][0] + self.grace_seconds if key in kept else math.nan for key in keys]


def _standing(before: float, following: float, ended: float, now: float) -> float:
    """Return the announced instant that is waited for: one that has passed, until a refresh has ended after it."""
    return before if before <= now and not ended >= before else following
