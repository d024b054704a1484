"""Durations and sizes: with a unit or not at all; instants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.units import parse_duration, parse_instant, parse_size

SECONDS = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("60s", 60.0),
        ("5m", 300.0),
        ("12h", 43_200.0),
        ("730d", 63_072_000.0),
        ("1w", 604_800.0),
        ("1y", 31_536_000.0),
        ("1h30m", 5_400.0),
        ("1.5h", 5_400.0),
        (" 0s ", 0.0),
        ("100y", 3_153_600_000.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    """A duration is the sum of its parts, in seconds."""
    assert parse_duration(text) == seconds


@given(st.dictionaries(st.sampled_from(list(SECONDS)), st.integers(0, 50), min_size=1))
def test_any_units_in_falling_order_add_up(parts: dict[str, int]) -> None:
    """Whatever units are combined, from the largest to the smallest, their spans add up."""
    text = "".join(f"{parts[unit]}{unit}" for unit in SECONDS if unit in parts)
    assert parse_duration(text) == pytest.approx(sum(number * SECONDS[unit] for unit, number in parts.items()))


@given(st.text())
def test_no_text_breaks_the_parsers_or_is_repeated(text: str) -> None:
    """Any text is a span, a size, or a ValueError that does not repeat it."""
    marked = f"{text}#hunter2"
    for parse in (parse_duration, parse_size):
        with pytest.raises(ValueError, match="must be a") as error:
            parse(marked)
        assert "hunter2" not in str(error.value)


@given(st.integers() | st.floats(0, 1e9).map(lambda number: round(number, 3)))
def test_a_bare_number_is_no_duration(number: float) -> None:
    """A number without a unit is refused, zero too; for a short one the error names the unit."""
    with pytest.raises(ValueError, match=r"has no unit: write 30s, 5m, 12h or 730d|must be a duration"):
        parse_duration(str(number))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "has no unit: write 30s, 5m, 12h or 730d"),
        ("60", "has no unit: write 30s, 5m, 12h or 730d"),
        ("-5", "has no unit: write 30s, 5m, 12h or 730d"),
        ("", "must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y"),
        ("-5s", "must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y"),
        ("5 minutes", "must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y"),
        ("5M", "must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y"),
        ("infs", "must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y"),
        ("\u0665s", "must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y"),
        ("30m1h", "must name its units from the largest to the smallest, each once: 1h30m"),
        ("1h1h", "must name its units from the largest to the smallest, each once: 1h30m"),
        ("101y", "must be 100y or shorter"),
    ],
)
def test_what_is_no_duration_says_why(text: str, message: str) -> None:
    """Each way of writing a duration wrong has its own message."""
    with pytest.raises(ValueError, match=r".") as error:
        parse_duration(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1B", 1),
        ("1kB", 1_000),
        ("1KB", 1_000),
        ("256MB", 256_000_000),
        ("256 MB", 256_000_000),
        ("1GiB", 1_073_741_824),
        ("1.5KiB", 1_536),
        ("2TB", 2_000_000_000_000),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    """MB is decimal and MiB binary, as DuckDB has them."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("256", "has no unit: write 256MB (decimal) or 1GiB (binary)"),
        ("256M", "must be a size such as 64MB, 256MiB, 1GB or 2GiB"),
        ("256Mb", "must be a size such as 64MB, 256MiB, 1GB or 2GiB"),
        ("", "must be a size such as 64MB, 256MiB, 1GB or 2GiB"),
        ("2000TiB", "must be 1024TiB or smaller"),
    ],
)
def test_what_is_no_size_says_why(text: str, message: str) -> None:
    """Each way of writing a size wrong has its own message."""
    with pytest.raises(ValueError, match=r".") as error:
        parse_size(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-01-01", "2025-01-01T00:00:00"),
        (" 2025-01-01T06:07:08 ", "2025-01-01T06:07:08"),
        ("2025-01-01T06:00:00+01:00", "2025-01-01T05:00:00"),
        ("2025-01-01T06:00:00Z", "2025-01-01T06:00:00"),
    ],
)
def test_an_instant_is_of_utc_unless_it_has_an_offset(text: str, instant: str) -> None:
    """It is naive, as those of the history are."""
    assert parse_instant(text).isoformat() == instant


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01", "01.01.2025", "9999-12-31T23:59:59-01:00"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    """Without the text: it may be a secret in the wrong place."""
    with pytest.raises(ValueError, match=r"must be an instant|beyond the years") as error:
        parse_instant(text)
    assert not text or text not in str(error.value)
