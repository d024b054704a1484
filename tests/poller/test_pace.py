"""How often a table is read exactly: as often as asked, and rarer while it takes long."""

import pytest

from exporter.poller.pace import Due, exact_interval


@pytest.mark.parametrize(
    ("took", "interval"), [(0.0, 300.0), (1.9, 300.0), (15.0, 300.0), (30.0, 600.0), (90.0, 1800.0), (9999.0, 3600.0)]
)
def test_at_most_a_twentieth_of_the_time(took: float, interval: float) -> None:
    """What takes a second is read as often as asked; what takes a minute every twenty; nothing rarer than hourly."""
    assert exact_interval(300.0, took) == interval


def test_what_was_asked_for_is_never_shortened() -> None:
    """Who asks for a reading every two hours gets no more."""
    assert exact_interval(7200.0, 600.0) == 7200.0


def test_due() -> None:
    """What was never done is due, then again after its time, and when the clock went back."""
    assert Due(60.0).at(0.0)
    due = Due(60.0, done_at=1000.0)
    assert not due.at(1000.0)
    assert not due.at(1059.9)
    assert due.at(1060.0)
    assert due.at(999.0)
