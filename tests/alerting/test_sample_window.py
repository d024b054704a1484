"""Earlier values of counters, by an injected clock."""

import pytest

from exporter.alerting.sample_window import HOUR, WEEK, SampleWindow

KIND = (("kind", "file_busy"),)
BEGIN = 1_000_000_000.0


def seen(*values: tuple[float, float]) -> SampleWindow:
    """Return the past of a counter that had these values: seconds after the beginning, value."""
    past = SampleWindow()
    for seconds, value in values:
        past.record("family", [(KIND, value)], BEGIN + seconds)
    return past


@pytest.mark.parametrize(
    ("values", "at", "increase"),
    [
        ([(0, 5)], 60, 0),
        ([(0, 0), (60, 2)], 120, 2),
        ([(0, 0), (60, 2)], 60 + HOUR - 1, 2),
        ([(0, 0), (60, 2)], 60 + HOUR, 0),
        ([(0, 0), (60, 2), (1800, 3)], 61 + HOUR, 1),
        ([(0, 7), (60, 9), (120, 1)], 180, 3),
        ([(0, 7), (60, 0), (120, 1)], 180, 1),
    ],
)
def test_growth_within_the_hour(values: list[tuple[float, float]], at: float, increase: float) -> None:
    """A counter's increase within the hour counts, also across its reset; its first value does not."""
    assert seen(*values).increase("family", KIND, BEGIN + at) == increase


def test_it_does_not_grow_with_looking() -> None:
    """A sample is retained where a value changed, for little longer than an hour."""
    past = seen(*((seconds, seconds // 3600) for seconds in range(0, 86_400, 15)))
    assert len(past.rows()) <= 3


def test_a_clock_that_was_ahead() -> None:
    """The increase before a restart counts for an hour; the retention of that time is forgotten."""
    past = seen((0, 0), (60 + 30 * 24 * HOUR, 2), (120, 2))
    past.record_retention(37 * 24 * HOUR, BEGIN + 30 * 24 * HOUR)
    past.record_retention(5000.0, BEGIN + 120)
    assert past.retention == 5000.0
    assert past.increase("family", KIND, BEGIN + 121) == 2
    assert past.increase("family", KIND, BEGIN + 121 + HOUR) == 0


def test_it_goes_on_after_a_restart() -> None:
    """A change between two evaluations is an increase of now."""
    for value, increase in ((2.0, 2.0), (5.0, 5.0)):
        retention = seen((0, 0), (60, 2)).rows()
        after = seen((600, value))
        after.restore(retention)
        assert after.increase("family", KIND, BEGIN + 660) == increase


def test_the_most_of_a_week() -> None:
    """The longest time that requests were kept counts for a week, over a restart too."""
    past = SampleWindow()
    assert past.retention is None
    past.record_retention(5000.0, BEGIN)
    past.record_retention(100.0, BEGIN + HOUR)
    after = SampleWindow()
    after.restore(past.rows())
    assert after.retention == 5000.0
    after.record_retention(100.0, BEGIN + WEEK + HOUR)
    assert after.retention == 100.0


def test_only_what_is_new_is_written() -> None:
    """The same values again are no reason to write."""
    past = seen((0, 0))
    assert past.changed
    past.changed = False
    past.record("family", [(KIND, 0.0)], BEGIN + 60)
    assert not past.changed
    past.record("family", [(KIND, 1.0)], BEGIN + 120)
    assert past.changed
