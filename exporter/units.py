"""Durations, sizes and instants in human-readable notation.

A number without a unit is refused, never guessed at. No message repeats the text: it may have been a secret that was
written into the wrong key.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal

_DURATION_UNITS = {
    "y": Decimal(365 * 86_400),
    "w": Decimal(7 * 86_400),
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_SIZE_UNITS = {"B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _SIZE_UNITS[f"{_letter}B"] = 1000**_power
    _SIZE_UNITS[f"{_letter}iB"] = 1024**_power
_SIZE_UNITS["kB"] = 1000

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,6})?"
_BARE_NUMBER = re.compile(rf"[+-]?{_NUMBER}")
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|[ywdhms])")
_SIZE = re.compile(rf"({_NUMBER}) ?([A-Za-z]+)")
_LONGEST = 100 * _DURATION_UNITS["y"]
_LARGEST = 1024**5
_INSTANTS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z")


def parse_duration(text: str) -> float:
    """Return the seconds that ``60s``, ``500ms``, ``1h30m`` or ``730d`` stand for.

    Units fall from left to right and none is used twice. Raises ValueError.
    """
    text = text.strip()
    if _BARE_NUMBER.fullmatch(text):
        raise ValueError("has no unit: write 30s, 5m, 12h or 730d")
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y")
    units = [unit for _, unit in parts]
    if units != [unit for unit in _DURATION_UNITS if unit in units]:
        raise ValueError("must name its units from the largest to the smallest, each once: 1h30m")
    seconds = sum((Decimal(number) * _DURATION_UNITS[unit] for number, unit in parts), Decimal(0))
    if seconds > _LONGEST:
        raise ValueError("must be 100y or shorter")
    return float(seconds)


def parse_size(text: str) -> int:
    """Return the bytes that ``256MB`` (decimal) or ``1GiB`` (binary) stand for; raises ValueError."""
    text = text.strip()
    if _BARE_NUMBER.fullmatch(text):
        raise ValueError("has no unit: write 256MB (decimal) or 1GiB (binary)")
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _SIZE_UNITS:
        raise ValueError("must be a size such as 64MB, 256MiB, 1GB or 2GiB")
    size = int(Decimal(match[1]) * _SIZE_UNITS[match[2]])
    if size > _LARGEST:
        raise ValueError("must be 1024TiB or smaller")
    return size


def parse_instant(text: str) -> datetime:
    """Return the instant (UTC, naive) that ``2025-01-01`` or ``2025-01-01T06:00:00+01:00`` stands for.

    Without an offset it is UTC. Raises ValueError.
    """
    for form in _INSTANTS:
        try:
            read = datetime.strptime(text.strip(), form)  # noqa: DTZ007 - what has no offset is UTC
        except ValueError:
            continue
        try:
            return read.astimezone(UTC).replace(tzinfo=None) if read.tzinfo else read
        except OverflowError:
            raise ValueError("is beyond the years 1 to 9999 in UTC") from None
    raise ValueError("must be an instant such as 2025-01-01, 2025-01-01T06:00:00 or 2025-01-01T06:00:00+01:00")
