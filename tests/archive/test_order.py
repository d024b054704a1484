"""Requests that are committed, completed and changed in another order than that of their ids."""

from datetime import timedelta

import pytest

from tests.support.poller_harness import PollerHarness
from tests.support.source import Source


@pytest.mark.fault(1)
@pytest.mark.usefixtures("fast")
def test_a_late_commit_of_a_small_id_with_a_fast_poll_between(source: Source, harness: PollerHarness) -> None:
    """A transaction that commits a small id after much larger ones were read is archived by the next exact reading."""
    with source.other() as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO http_requests (id, created_at, completed_at, status) VALUES (7, now(), now(), 200)")
        source.requests(100, 200)
        harness.polled(exact=True)
        source.requests(5000, 5100)
        harness.polled()
        assert harness.mode() == "fast"
        assert harness.ids() == [*range(100, 201), *range(5000, 5101)]
        slow.execute("COMMIT")
    harness.polled()
    assert 7 not in harness.ids()
    harness.polled(exact=True)
    assert harness.mode() == "exact"
    assert harness.ids() == [7, *range(100, 201), *range(5000, 5101)]
    harness.assert_once()


@pytest.mark.fault(4)
def test_an_open_transaction_holds_the_horizon(source: Source, harness: PollerHarness) -> None:
    """However many exact reads pass while a transaction stays open, its commit is archived at last."""
    with source.other() as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO http_requests (id, created_at, completed_at, status) VALUES (7, now(), now(), 200)")
        for first in range(100, 1100, 200):
            source.requests(first, first + 99)
            harness.polled(exact=True)
        slow.execute("COMMIT")
    harness.polled(exact=True)
    assert 7 in harness.ids()
    harness.assert_once()


@pytest.mark.fault(3, 7)
def test_a_row_of_a_savepoint_has_the_savepoints_transaction(source: Source, harness: PollerHarness) -> None:
    """Rows written inside savepoints are archived when their transaction commits, rolled back ones never."""
    with source.other() as slow:
        slow.execute("BEGIN")
        for number, end in ((7, "RELEASE"), (8, "ROLLBACK TO"), (9, "RELEASE")):
            slow.execute("SAVEPOINT one")
            slow.execute("INSERT INTO http_requests (id, created_at, completed_at) VALUES (%s, now(), now())", [number])
            slow.execute(f"{end} SAVEPOINT one".encode())
        source.requests(100, 110)
        harness.polled(exact=True)
        slow.execute("COMMIT")
    harness.polled(exact=True)
    assert harness.ids() == [7, 9, *range(100, 111)]
    harness.assert_once()


@pytest.mark.fault(5)
@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("exact", [False, True])
def test_a_completion_after_archiving(source: Source, harness: PollerHarness, exact: bool) -> None:
    """A request is open until it completes, and then final and counted once, however it is read."""
    source.request(1, completed_at=None, status=None)
    harness.polled(exact=True)
    assert (harness.ids(), harness.open_ids(), harness.requests_counted()) == ([], [1], 0)
    source.run("UPDATE http_requests SET completed_at = '2025-11-19 10:00:05', status = 404 WHERE id = 1")
    harness.polled(exact=exact)
    assert (harness.ids(), harness.open_ids()) == ([1], [])
    assert [str(row[0]) for row in harness.query("SELECT completed_at FROM http_requests")] == ["2025-11-19 10:00:05"]
    assert harness.query("SELECT status FROM http_requests") == [(404,)]
    harness.assert_once()


@pytest.mark.fault(8)
def test_two_updates_between_polls(source: Source, harness: PollerHarness) -> None:
    """Of two completions between polls the last one that was committed is archived."""
    source.request(1, completed_at=None, status=None)
    harness.polled()
    for second, status in ((5, 200), (6, 500)):
        source.run(f"UPDATE http_requests SET completed_at = '2025-11-19 10:00:0{second}', status = {status}")
    harness.polled()
    assert harness.query("SELECT status FROM http_requests") == [(500,)]
    harness.assert_once()


def test_a_final_request_never_changes_again(source: Source, harness: PollerHarness) -> None:
    """A second completion, or its removal, changes no final row."""
    source.request(1, status=200)
    harness.polled()
    source.run("UPDATE http_requests SET status = 500, completed_at = '2025-11-19 11:00:00'")
    harness.polled()
    source.run("UPDATE http_requests SET status = NULL, completed_at = NULL")
    harness.polled()
    assert harness.query("SELECT status, completed_at IS NOT NULL FROM http_requests") == [(200, True)]
    assert harness.open_ids() == []
    harness.assert_once()


def test_an_open_request_shows_its_last_version(source: Source, harness: PollerHarness) -> None:
    """The known values of an open request are retained when it is removed before it completes."""
    source.request(1, completed_at=None, status=None, user_id=None)
    harness.polled()
    source.run("UPDATE http_requests SET user_id = 5, currentsheet = 'Sales/Overview'")
    harness.polled()
    source.run("DELETE FROM http_requests")
    harness.polled()
    assert harness.query("SELECT user_id, workbook FROM http_requests") == [(5, "Sales")]
    harness.assert_once()


def test_an_open_request_ends_with_its_row_or_its_day(source: Source, harness: PollerHarness) -> None:
    """An open request is final, without completion, when the source lost it or after a day, and never twice."""
    source.request(1, completed_at=None)
    source.request(2, completed_at=None)
    harness.polled()
    source.run("DELETE FROM http_requests WHERE id = 1")
    harness.polled()
    assert (harness.ids(), harness.open_ids()) == ([1], [2])
    harness.now += 25 * 3600
    harness.polled()
    assert (harness.ids(), harness.open_ids()) == ([1, 2], [])
    source.run("UPDATE http_requests SET completed_at = now()")
    source.request(1, completed_at="2025-11-19 10:00:09")
    harness.polled(exact=True)
    harness.assert_once()
    assert harness.query("SELECT count(completed_at) FROM http_requests") == [(0,)]


def test_an_open_request_that_changes_every_day(source: Source, harness: PollerHarness) -> None:
    """A request of no time is final a day after it was first seen, not after it was last changed."""
    source.run("INSERT INTO http_requests (id) VALUES (1)")
    harness.polled()
    harness.now += 20 * 3600
    source.run("UPDATE http_requests SET user_id = 5")
    harness.polled()
    assert harness.open_ids() == [1]
    harness.now += 5 * 3600
    harness.polled()
    assert (harness.ids(), harness.open_ids()) == ([1], [])
    assert harness.query("SELECT user_id FROM http_requests") == [(5,)]
    harness.assert_once()


def test_more_open_requests_than_are_asked_for(source: Source, harness: PollerHarness) -> None:
    """Thousands of open requests complete like one."""
    source.run(
        "INSERT INTO http_requests (id, created_at) SELECT n, '2025-11-19 10:00:00' FROM generate_series(1, 7000) AS n"
    )
    harness.polled()
    assert len(harness.open_ids()) == 7000
    source.run("UPDATE http_requests SET completed_at = '2025-11-19 10:00:05' WHERE id % 2 = 0")
    source.run("DELETE FROM http_requests WHERE id % 7 = 1")
    harness.polled()
    assert {number for number in range(2, 7001, 2) if number % 7 != 1} <= set(harness.ids())
    harness.now += 25 * 3600
    harness.polled()
    assert harness.ids() == list(range(1, 7001))
    harness.assert_once()


def test_an_open_request_with_a_used_id_is_told_once(source: Source, harness: PollerHarness) -> None:
    """However often a request is read before it completes, its id was used again once."""
    source.request(1)
    harness.polled()
    source.run("DELETE FROM http_requests")
    source.request(1, created_at="2025-11-19 10:10:00", completed_at=None)
    for _ in range(3):
        harness.polled(exact=True)
    source.run("UPDATE http_requests SET completed_at = '2025-11-19 10:10:05'")
    harness.polled()
    harness.polled(exact=True)
    assert harness.ids() == [1, 1]
    assert harness.incidents() == {"id_reuse": 1}
    harness.assert_once()


@pytest.mark.fault(9)
def test_equal_instants(source: Source, harness: PollerHarness) -> None:
    """Requests of the same instant are different requests."""
    for number in range(1, 51):
        source.request(number, completed_at=None if number % 2 else "2025-11-19 10:00:01")
    harness.polled()
    source.run("UPDATE http_requests SET completed_at = '2025-11-19 10:00:02' WHERE completed_at IS NULL")
    harness.polled()
    assert harness.ids() == list(range(1, 51))
    harness.assert_once()


@pytest.mark.fault(15)
def test_an_empty_table(source: Source, harness: PollerHarness) -> None:
    """An empty table is archived as such, and its first row like any other."""
    harness.polled()
    harness.polled(exact=True)
    assert harness.ids() == []
    source.request(1)
    harness.polled()
    assert harness.ids() == [1]
    assert harness.incidents() == {}


@pytest.mark.fault(6)
def test_completions_between_the_ranges_of_a_full_reading(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows completed, added and removed while a large table is read by ranges are archived once all the same."""
    monkeypatch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: 100)
    monkeypatch.setattr("exporter.poller.batching.batch_rows", lambda _rows: 100)
    monkeypatch.setattr("exporter.poller.archiver.TRANSACTION_ROWS", 1)
    source.requests(1, 1000)
    source.run("UPDATE http_requests SET completed_at = NULL WHERE id % 3 = 0")
    written = 0
    finishing = harness.history.transaction

    def writing(*arguments: object) -> object:
        nonlocal written
        written += 1
        source.run(f"UPDATE http_requests SET completed_at = created_at WHERE id % 3 = 0 AND id % 10 = {written % 10}")
        source.request(2000 + written)
        source.request(-written)
        source.run(f"DELETE FROM http_requests WHERE id = {written * 100 - 50}")
        return finishing(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(harness.history, "transaction", writing)
    harness.polled()
    assert written > 9
    monkeypatch.undo()
    harness.polled(exact=True)
    there = {row[0] for row in source.run("SELECT id FROM http_requests WHERE completed_at IS NOT NULL")}
    assert there <= set(harness.ids())
    assert set(range(1, 1001)) - {written * 100 - 50 for written in range(1, 11)} <= {
        *harness.ids(),
        *harness.open_ids(),
    }
    harness.assert_once()


def test_a_range_that_is_larger_than_was_thought(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by the arriving rows: a copy is cancelled there, and the rest is read from the last id on."""
    monkeypatch.setattr("exporter.repository.binary_copy.CHUNK_ROWS", 64)
    monkeypatch.setattr("exporter.poller.batching.MAX_BATCH_BYTES", 20_000)
    source.requests(1, 1000)
    harness.polled()
    assert harness.ids() == [*range(1, 1001)]
    source.requests(1001, 2000)
    harness.polled(exact=True)
    assert harness.ids() == [*range(1, 2001)]
    harness.assert_once()


def test_an_exact_reading_that_fails(source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast reads go on between exact ones that a slow server cancels: new rows do not wait for the next."""
    harness.polled()
    monkeypatch.setattr("exporter.poller.read_plan.SMALL_BYTES", 0)
    monkeypatch.setattr(
        "exporter.poller.table_reader.horizon_xid", lambda _: "3'::xid) AND 1 / (id - id) = 1 AND age(xmin) <= age('3"
    )
    source.request(1)
    harness.poll(exact=True)
    assert "http_requests" in harness.errors()
    assert harness.ids() == []
    harness.polled()
    assert harness.ids() == [1]


def test_retention_believes_no_clock(source: Source, harness: PollerHarness) -> None:
    """A request of the year 9999 moves no mark that the retention is reckoned from, and stops nothing."""
    source.request(1)
    source.run("INSERT INTO http_requests (id, created_at, completed_at) VALUES (2, '9999-12-31 23:59', now())")
    harness.retention = timedelta(days=30)
    harness.restart()
    harness.polled()
    harness.polled()
    assert harness.ids() == [1, 2]
    assert harness.query("SELECT max(marked_at) < '2100-01-01' FROM marks WHERE name = 'newest'") == [(True,)]


def test_retention(source: Source, harness: PollerHarness) -> None:
    """Older rows are removed a day at a time; counters stay, and rows that are read again are not counted again."""
    source.run(
        "INSERT INTO http_requests (id, created_at, completed_at)"
        " SELECT n, to_timestamp(%s) AT TIME ZONE 'UTC' - n * interval '1 day', to_timestamp(%s) AT TIME ZONE 'UTC'"
        " FROM generate_series(1, 5) AS n",
        harness.now,
        harness.now,
    )
    harness.retention = timedelta(days=3)
    harness.restart()
    for _ in range(6):
        harness.polled()
    assert harness.ids() == [1, 2, 3]
    assert harness.requests_counted() == 5
    source.run("VACUUM FULL http_requests")
    harness.polled()
    assert harness.mode() == "full"
    assert harness.ids() == [1, 2, 3]
    assert harness.requests_counted() == 5
