"""Times of a file into UTC, over the changes of summer time."""

import pytest

from exporter.imports.zones import parse_time, parse_zone

READ = {
    "UTC": ("UTC", "2025-07-01 12:00:00.5", "2025-07-01 12:00:00.500000", None, False),
    "the fixed hours of the older tool": ("+02:00", "2025-01-01 01:00:00", "2024-12-31 23:00:00", None, False),
    "fixed hours to the west": ("-5", "2025-07-01 12:00:00", "2025-07-01 17:00:00", None, False),
    "winter": ("Europe/Berlin", "2025-01-01 12:00:00", "2025-01-01 11:00:00", None, False),
    "summer": ("Europe/Berlin", "2025-07-01 12:00:00", "2025-07-01 10:00:00", None, False),
    "repeated": ("Europe/Berlin", "2025-10-26 02:30:00", "2025-10-26 00:30:00", "2025-10-26 01:30:00", False),
    "left out": ("Europe/Berlin", "2025-03-30 02:30:00", "2025-03-30 01:30:00", None, True),
    "half an hour": ("Australia/Lord_Howe", "2025-04-06 01:45:00", "2025-04-05 14:45:00", "2025-04-05 15:15:00", False),
    "its own offset": ("Europe/Berlin", "2025-10-26T02:30:00+01:00", "2025-10-26 01:30:00", None, False),
    "of UTC": ("Europe/Berlin", "2025-10-26 02:30:00Z", "2025-10-26 02:30:00", None, False),
}


@pytest.mark.parametrize(("zone", "text", "at", "otherwise", "missing"), READ.values(), ids=READ)
def test_times(zone: str, text: str, at: str, otherwise: str | None, missing: bool) -> None:
    """A time is read in its zone; one that is there twice has two readings, one that never was is marked."""
    read = parse_time(text, parse_zone(zone))
    assert str(read.at) == at
    assert (read.otherwise and str(read.otherwise)) == otherwise
    assert read.missing is missing


@pytest.mark.parametrize("text", ["Europe/Nowhere", "+25:00", "", "2", "../../etc/passwd", "+02:99"])
def test_what_is_no_zone(text: str) -> None:
    """A text that is neither a zone nor an offset is refused in one line that names both forms."""
    with pytest.raises(ValueError, match=r"Europe/Berlin nor an offset such as \+02:00"):
        parse_zone(text)


@pytest.mark.parametrize("text", ["2025-13-01 00:00:00", "0001-01-01 00:00:00", "2025-01-01 24:01:00"])
def test_what_is_no_time(text: str) -> None:
    """An invalid time, or one out of range, is refused."""
    with pytest.raises(ValueError, match=r"month|beyond the years|hour|24"):
        parse_time(text, parse_zone("+02:00"))
