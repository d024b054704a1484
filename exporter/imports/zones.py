"""Converts times of a file to UTC: by an IANA zone, or by the fixed offset of the older tool."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_OFFSET = re.compile(r"(?:UTC)?([+-])(\d{1,2})(?::?([0-5]\d))?")
_LARGEST_OFFSET = timedelta(hours=18)
_MINUTE = 16
"""How long a time is to its minute: 2025-03-30 02:59."""
_CACHED_MINUTES = 10_000


@dataclass(frozen=True)
class Shift:
    """What is subtracted from a local time for UTC.

    ``otherwise`` is the second reading of a time that the end of summer time repeats; the first is before the change.
    ``missing`` marks a time that its beginning leaves out: it is read as if the clock had not been changed.
    """

    offset: timedelta
    otherwise: timedelta | None = None
    missing: bool = False


class Zone:
    """The zone of the times of a file."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self.shift: Callable[[str], Shift] = lru_cache(_CACHED_MINUTES)(self._shift)
        """Return the shift of the minute that a text begins with, ``YYYY-MM-DD HH:MM``. Raises ValueError."""

    def _shift(self, minute: str) -> Shift:
        local = datetime.fromisoformat(minute)
        first = self._offset(local)
        second = self._offset(local.replace(fold=1))
        if first == second:
            return Shift(first)
        return Shift(first, second) if first > second else Shift(first, missing=True)

    def _offset(self, local: datetime) -> timedelta:
        return local.replace(tzinfo=self._zone).utcoffset() or timedelta()


UTC_ZONE = Zone(UTC)


def parse_zone(text: str) -> Zone:
    """Read ``Europe/Berlin`` or ``+02:00``. Raises ValueError."""
    if found := _OFFSET.fullmatch(text):
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if offset <= _LARGEST_OFFSET:
            return Zone(timezone(-offset if sign == "-" else offset))
    else:
        try:
            return Zone(ZoneInfo(text))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    message = f"{text!r} is neither a zone such as Europe/Berlin nor an offset such as +02:00"
    raise ValueError(message)


@dataclass(frozen=True)
class Instant:
    """A time in UTC (naive), and its other reading."""

    at: datetime
    otherwise: datetime | None = None
    missing: bool = False


def parse_time(text: str, zone: Zone) -> Instant:
    """Read a time of a file; an offset that it brings along holds. Raises ValueError."""
    local = datetime.fromisoformat(text)
    try:
        if local.tzinfo is not None:
            return Instant(local.astimezone(UTC).replace(tzinfo=None))
        shift = zone.shift(text[:_MINUTE])
        if shift.otherwise is None:
            return Instant(local - shift.offset, missing=shift.missing)
        return Instant(local - shift.offset, local - shift.otherwise)
    except OverflowError:
        message = f"{text} is beyond the years 1 to 9999 in UTC"
        raise ValueError(message) from None
