"""Texts as a person reads them on a screen."""

import math

import pytest

from exporter.texts import span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.25, "250 ms"),
        (12.34, "12.3 s"),
        (60, "1 min"),
        (150, "2 min 30 s"),
        (1_500, "25 min"),
        (7_200, "2 h"),
        (8_100, "2 h 15 min"),
        (90_000, "1 d 1 h"),
        (86_400 * 1_200, "1,200 d"),
        (math.inf, "unknown"),
    ],
)
def test_a_span_is_written_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    """A span has one unit, or two where the larger counts less than ten."""
    assert span(seconds) == text
