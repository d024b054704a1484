"""The agent's clock jumps, and is set right: nothing is final too early, removed, forgotten or put off for years."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.poller_harness import WITH_NAMES, PollerHarness
from tests.support.source import Source

pytestmark = pytest.mark.fault(43)

HOUR, DAY = 3600.0, 86_400.0
# Users outside of the company: each one is a person.
PERSONS = 100_000
JUMPS = {
    "an hour back": -HOUR,
    "a day back": -DAY,
    "to 1970": -time.time() + DAY,
    "an hour ahead": HOUR,
    "two days ahead": 2 * DAY,
    "years ahead": 9 * 365 * DAY,
}


@pytest.fixture(params=["to 1970", "years ahead"])
def jump(request: pytest.FixtureRequest) -> float:
    """Return the farthest jumps in turn, in seconds."""
    return JUMPS[request.param]


@pytest.fixture
def harness(source: Source, tmp_path: Path) -> PollerHarness:
    """A poller whose clock is right, with names and logins."""
    made = PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=(*WITH_NAMES, "logins"))
    made.now = time.time()
    return made


def ago(seconds: float) -> datetime:
    """Return an instant as the source writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).replace(tzinfo=None)


def _requests(source: Source, first: int, last: int) -> None:
    """Write requests of the last hour, each of a person of its own, and an open one after them."""
    for number in range(first, last):
        source.request(number, created_at=ago(number), completed_at=ago(number - 1), user_id=PERSONS + number)
    source.request(last, created_at=ago(last), completed_at=None, user_id=PERSONS + last)


def _complete(source: Source, number: int) -> None:
    source.run("UPDATE http_requests SET completed_at = created_at + interval '1 s' WHERE id = %s", number)


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_requests(jump: float, source: Source, harness: PollerHarness) -> None:
    """Open requests are completed after a jump of the clock, there or back; marks and active users are right again."""
    _requests(source, 1, 10)
    harness.polled(exact=True)
    harness.now += jump
    _complete(source, 10)
    _requests(source, 11, 20)
    for _ in range(3):
        harness.now += 60
        harness.polled(exact=True)
        assert harness.open_ids() == [20]
    harness.now -= jump
    harness.polled(exact=True)
    assert harness.open_ids() == [20]
    _complete(source, 20)
    _requests(source, 21, 30)
    _complete(source, 30)
    harness.polled(exact=True)
    assert harness.ids() == list(range(1, 31))
    assert harness.query("SELECT count(completed_at) FROM http_requests") == [(30,)]
    assert harness.incidents() == {}
    harness.assert_once()
    marks = harness.history.totals.marks
    assert marks["poll:exact"] == pytest.approx(harness.now)
    assert marks["newest"] == pytest.approx(time.time() - 21, abs=60)
    # No user is invented. Users of the time with a late clock are counted when they return.
    behind = jump < -HOUR
    assert len(harness.history.totals.seen.people) == (21 if behind else 30)
    assert (harness.history.totals.seen.seen_at <= time.time()).all()
    source.request(31, created_at=ago(0), completed_at=ago(0), user_id=PERSONS + 15)
    harness.polled(exact=True)
    assert len(harness.history.totals.seen.people) == (22 if behind else 30)


def test_an_open_request_of_a_clock_set_right(source: Source, harness: PollerHarness) -> None:
    """A request without a time of its own waits a day by the agent's clock; one with a time goes by that."""
    right, harness.now = harness.now, DAY
    source.request(1, created_at=ago(HOUR), completed_at=None)
    source.run("INSERT INTO http_requests (id) VALUES (2)")
    harness.polled(exact=True)
    harness.now = right
    harness.polled(exact=True)
    harness.polled(exact=True)
    assert harness.open_ids() == [1]
    _complete(source, 1)
    harness.polled(exact=True)
    assert harness.query("SELECT count(completed_at) FROM http_requests WHERE id = 1") == [(1,)]


@pytest.mark.usefixtures("fast")
def test_the_exact_reading_is_not_put_off(jump: float, source: Source, harness: PollerHarness) -> None:
    """After a jump the next exact read is due at once or in time, and finds the rows that fast ones cannot."""
    source.requests(100_000, 100_100)
    harness.polled()
    harness.now += jump
    harness.polled()
    harness.now -= jump
    # Committed late, far below the ids that a fast read covers.
    source.requests(1, 5)
    harness.now += 2000
    harness.polled()
    assert harness.mode() == "exact"
    assert harness.ids() == [*range(1, 6), *range(100_000, 100_101)]


def test_nothing_is_pruned_wrongly(jump: float, source: Source, harness: PollerHarness) -> None:
    """The retention removes the rows of a right clock, within a day."""
    harness.retention = timedelta(days=30)
    harness.restart()
    for number, days in enumerate((0, 1, 28, 31, 32), 1):
        source.request(number, created_at=ago(days * DAY), completed_at=ago(days * DAY))
    # A request that claims to be of the future does not extend the window.
    source.request(9, created_at=ago(-8 * 365 * DAY), completed_at=ago(0))
    harness.polled(exact=True)
    harness.now += jump
    for _ in range(5):
        harness.polled(exact=True)
    assert {1, 2, 3, 9} <= set(harness.ids())
    harness.now -= jump
    for _ in range(5):
        harness.polled(exact=True)
    assert harness.ids() == [1, 2, 3, 9]
    assert harness.requests_counted() == 6


def test_names_and_logins(jump: float, source: Source, harness: PollerHarness) -> None:
    """A name that changes afterwards is the latest, and logins of meanwhile are retained."""
    source.run("UPDATE users SET login_at = NULL")
    user, person = source.run("SELECT id, system_user_id FROM users ORDER BY id LIMIT 1")[0]
    source.run("UPDATE users SET login_at = %s WHERE id = %s", ago(3000), user)
    harness.polled(exact=True)
    harness.now += jump
    source.run("UPDATE system_users SET friendly_name = 'meanwhile' WHERE id = %s", person)
    for seconds in (2000, 1000):
        source.run("UPDATE users SET login_at = %s WHERE id = %s", ago(seconds), user)
        harness.polled(exact=True)
    harness.now -= jump
    source.run("UPDATE system_users SET friendly_name = 'afterwards' WHERE id = %s", person)
    source.run("UPDATE users SET login_at = %s WHERE id = %s", ago(0), user)
    harness.polled(exact=True)
    assert harness.query(f"SELECT friendly_name FROM latest_users WHERE id = {user}") == [("afterwards",)]
    assert harness.query("SELECT count(*) FROM logins") == [(4,)]
    assert harness.counter("tableau_history_rows_total", "logins") == 4


def test_the_order_of_the_archive(jump: float, source: Source, harness: PollerHarness) -> None:
    """Each transaction's archived_at is later than all before it, wherever the clock jumps."""
    ends: list[datetime] = []
    for poll, moved in enumerate((0.0, jump, -jump, 60.0)):
        harness.now += moved
        _requests(source, 100 * poll + 1, 100 * poll + 10)
        harness.polled(exact=True)
        new = f"id BETWEEN {100 * poll} AND {100 * poll + 9}"
        ends += harness.query(f"SELECT min(archived_at), max(archived_at) FROM http_requests WHERE {new}")[0]
    assert ends == sorted(ends)
    assert len(set(ends)) == len(ends) // 2
