"""The pauses between polls: as asked while all is well, longer and longer after failures, never the same for two."""

import random

import pytest

from exporter.poller.loop import MAX_BACK_OFF_SECONDS, pause


def test_no_failure() -> None:
    """After a poll that succeeded the next comes after the interval, to the second."""
    assert pause(60.0, 0, random.Random(1)) == 60.0


@pytest.mark.parametrize(
    ("interval", "failures", "longest"),
    [
        (10.0, 1, 20.0),
        (10.0, 2, 40.0),
        (10.0, 50, 40.0),
        (100.0, 3, MAX_BACK_OFF_SECONDS),
        (900.0, 3, 900.0),
    ],
)
def test_failures_make_it_longer(interval: float, failures: int, longest: float) -> None:
    """Each failure doubles the pause, up to four intervals or five minutes; chance keeps agents apart."""
    pauses = [pause(interval, failures, random.Random(seed)) for seed in range(50)]
    assert all(longest / 2 <= seconds <= longest for seconds in pauses)
    assert len(set(pauses)) > 40
