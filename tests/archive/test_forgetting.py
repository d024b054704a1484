"""Who was there in which hour is forgotten in time, whatever is collected and whatever the options say later."""

from pathlib import Path

import pytest

from exporter.history.redaction import Privacy
from tests.support.poller_harness import COLLECTORS, PollerHarness
from tests.support.source import Source

DAY = 86_400.0
PEOPLE = "SELECT count(*) FROM people_by_hour"


@pytest.fixture
def rig(source: Source, tmp_path: Path) -> PollerHarness:
    """A poller that has noted who was there."""
    made = PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=("content", *COLLECTORS))
    source.request(None, user_id=7)
    made.polled(exact=True)
    assert made.query(PEOPLE) == [(1,)]
    return made


def test_at_once_when_people_are_hidden(rig: PollerHarness) -> None:
    """The first poll under ``privacy.users: none`` leaves nobody there."""
    rig.privacy = Privacy(users="none")
    rig.restart()
    rig.polled()
    assert rig.query(PEOPLE) == [(0,)]


@pytest.mark.parametrize("left", [("content", "http_requests"), ("content",)])
def test_after_nine_days_when_nobody_counts(rig: PollerHarness, left: tuple[str, ...]) -> None:
    """Collectors that are switched off leave nothing behind."""
    rig.collectors = left
    rig.restart()
    rig.polled()
    assert rig.query(PEOPLE) == [(1,)]
    rig.now += 10 * DAY
    rig.polled()
    assert rig.query(PEOPLE) == [(0,)]


def test_also_while_the_source_is_silent(rig: PollerHarness) -> None:
    """A repository that is away for long keeps nobody in the table."""
    rig.parameters["password"] = "wrong"
    rig.now += 10 * DAY
    assert not rig.poll()
    assert rig.query(PEOPLE) == [(0,)]
