"""The intervals of polls: as configured in normal operation, longer after failures, never the same for two."""

import random

import pytest

from exporter.poller.schedule import MAX_BACKOFF_SECONDS, Due, exact_interval, next_interval


def test_no_failure() -> None:
    """After a poll that succeeded the next comes after the interval, to the second."""
    assert next_interval(60.0, 0, random.Random(1)) == 60.0


@pytest.mark.parametrize(
    ("interval", "failures", "longest"),
    [
        (10.0, 1, 20.0),
        (10.0, 2, 40.0),
        (10.0, 50, 40.0),
        (100.0, 3, MAX_BACKOFF_SECONDS),
        (900.0, 3, 900.0),
    ],
)
def test_failures_make_it_longer(interval: float, failures: int, longest: float) -> None:
    """Each failure doubles the pause, up to four intervals or five minutes; chance keeps agents apart."""
    pauses = [next_interval(interval, failures, random.Random(seed)) for seed in range(50)]
    assert all(longest / 2 <= seconds <= longest for seconds in pauses)
    assert len(set(pauses)) > 40


@pytest.mark.parametrize(
    ("took", "interval"), [(0.0, 300.0), (1.9, 300.0), (15.0, 300.0), (30.0, 600.0), (90.0, 1800.0), (9999.0, 3600.0)]
)
def test_at_most_a_twentieth_of_the_time(took: float, interval: float) -> None:
    """A read of a second retains its interval; one of a minute runs every twenty; none is rarer than hourly."""
    assert exact_interval(300.0, took) == interval


def test_what_was_asked_for_is_never_shortened() -> None:
    """A configured interval of two hours is not shortened."""
    assert exact_interval(7200.0, 600.0) == 7200.0


def test_due() -> None:
    """A job that never ran is due, then again after its interval, and when the clock went back."""
    assert Due(60.0).at(0.0)
    due = Due(60.0, done_at=1000.0)
    assert not due.at(1000.0)
    assert not due.at(1059.9)
    assert due.at(1060.0)
    assert due.at(999.0)
