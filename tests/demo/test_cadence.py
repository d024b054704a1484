"""When schedules run."""

from datetime import datetime, timedelta

import pytest

from exporter.demo.cadence import CADENCES, Cadence


def test_a_day_is_local(now: datetime) -> None:
    """Half past two in New York is half past seven in UTC."""
    daily = Cadence("Daily", 1, 150, offset=-5)
    assert daily.following(now) == datetime(2025, 11, 20, 7, 30)  # noqa: DTZ001 - as in the repository


def test_a_weekday_is_local() -> None:
    """A quarter to midnight on Sunday in Dubai is a quarter to eight in the evening in UTC."""
    weekly = Cadence("Sunday", 2, 23 * 60 + 45, weekdays=frozenset({6}), offset=4)
    begin = datetime(2025, 11, 17)  # noqa: DTZ001 - as in the repository
    assert weekly.runs(begin, begin + timedelta(days=7)) == [begin + timedelta(days=6, hours=19, minutes=45)]
    assert weekly.weekday_mask == 1


@pytest.mark.parametrize("cadence", CADENCES, ids=lambda cadence: cadence.name)
def test_the_following_run_comes_next(cadence: Cadence, now: datetime) -> None:
    """No run lies between an instant and the run that follows it."""
    following = cadence.following(now)
    assert cadence.runs(now, following) == [following]
    assert now < following
