"""Hours of active users are removed in time, with any collector and any later options."""

from pathlib import Path

import pytest

from exporter.history.redaction import Privacy
from tests.support.poller_harness import COLLECTORS, PollerHarness
from tests.support.source import Source

DAY = 86_400.0
PERSONS = "SELECT count(*) FROM people_by_hour"


@pytest.fixture
def harness(source: Source, tmp_path: Path) -> PollerHarness:
    """A poller that has noted who was there."""
    made = PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=("content", *COLLECTORS))
    source.request(None, user_id=7)
    made.polled(exact=True)
    assert made.query(PERSONS) == [(1,)]
    return made


def test_at_once_when_people_are_hidden(harness: PollerHarness) -> None:
    """The first poll under ``privacy.users: none`` removes all users."""
    harness.privacy = Privacy(users="none")
    harness.restart()
    harness.polled()
    assert harness.query(PERSONS) == [(0,)]


@pytest.mark.parametrize("left", [("content", "http_requests"), ("content",)])
def test_after_nine_days_when_nobody_counts(harness: PollerHarness, left: tuple[str, ...]) -> None:
    """Collectors that are switched off leave nothing behind."""
    harness.collectors = left
    harness.restart()
    harness.polled()
    assert harness.query(PERSONS) == [(1,)]
    harness.now += 10 * DAY
    harness.polled()
    assert harness.query(PERSONS) == [(0,)]


def test_also_while_the_source_is_silent(harness: PollerHarness) -> None:
    """A repository that is down for long leaves no user in the table."""
    harness.parameters["password"] = "wrong"
    harness.now += 10 * DAY
    assert not harness.poll()
    assert harness.query(PERSONS) == [(0,)]
