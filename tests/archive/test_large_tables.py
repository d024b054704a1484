"""A table too large for one statement is read by several; no other session waits longer than for one statement."""

import contextlib
import threading
from dataclasses import replace

import pyarrow as pa
import pytest

from exporter.errors import SourceError
from exporter.metrics import Block, Family
from exporter.poller.table_reader import TableRead, TableReader
from exporter.self_metrics import EXACT_INTERVAL
from tests.support.poller_harness import PollerHarness
from tests.support.source import Source

# TableRead as ``readonly`` takes this long for each row, as from a disk that is busy; the planner has the cost.
SLOW = """
    CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql VOLATILE COST 100000 AS
    'BEGIN PERFORM pg_sleep({}); RETURN true; END'
"""


def make_slow(source: Source, seconds: float) -> None:
    """Let every row cost so many seconds for a session with a reader's rights."""
    source.run(SLOW.format(seconds))
    source.run("CREATE POLICY slow ON http_requests USING (slow())")
    source.run("ALTER TABLE http_requests ENABLE ROW LEVEL SECURITY")


@pytest.fixture
def windowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is small, and a window is a hundred rows or so."""
    monkeypatch.setattr("exporter.poller.read_plan.SMALL_BYTES", -1)
    monkeypatch.setattr("exporter.poller.batching.WINDOW_BYTES", 12_000)
    monkeypatch.setattr("exporter.poller.batching.MIN_ROWS", 50)


@pytest.mark.usefixtures("windowed")
def test_an_exact_reading_by_windows(source: Source, harness: PollerHarness) -> None:
    """Late commits, completions and removals are found wherever their ids lie, one window after the other."""
    source.requests(1, 2000)
    source.run("UPDATE http_requests SET completed_at = NULL WHERE id % 5 = 0")
    harness.polled(exact=True)
    source.run("VACUUM ANALYZE http_requests")
    source.run("UPDATE http_requests SET completed_at = created_at WHERE id % 10 = 0")
    source.run("DELETE FROM http_requests WHERE id % 15 = 0")
    source.requests(-20, 0)
    source.requests(3000, 3300)
    source.request(2**63 - 1)
    harness.polled(exact=True)
    assert harness.mode() == "exact"
    assert sorted([*harness.ids(), *harness.open_ids()]) == [*range(-20, 2001), *range(3000, 3301), 2**63 - 1]
    assert harness.open_ids() == [
        number for number in range(1, 2001) if number % 5 == 0 and number % 10 and number % 15
    ]
    harness.assert_once()


@pytest.mark.usefixtures("windowed")
def test_more_is_new_in_a_window_than_in_a_range(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window full of new rows is read by ranges, and the next window begins behind it."""
    monkeypatch.setattr("exporter.poller.batching.batch_rows", lambda _rows: 30)
    source.requests(1, 500)
    harness.polled(exact=True)
    source.run("UPDATE http_requests SET status = 201")
    source.requests(501, 900)
    # Where nothing is known of a table's rows, one window is as large as all of this.
    source.run("ANALYZE http_requests")
    harness.polled(exact=True)
    assert harness.ids() == list(range(1, 901))
    harness.assert_once()


@pytest.mark.parametrize("first", [True, False], ids=["full", "exact"])
def test_a_statement_that_takes_too_long(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """Rows that exceed the server's time are read by smaller and smaller parts, in the same poll."""
    monkeypatch.setattr("exporter.poller.batching.MIN_ROWS", 10)
    monkeypatch.setattr("exporter.poller.batching.FIRST_BATCH_ROWS", 300)
    source.requests(1, 300)
    if not first:
        harness.polled()
        source.run("DELETE FROM http_requests WHERE id <= 200")
        source.requests(301, 500)
        source.run("ANALYZE http_requests")
    make_slow(source, 0.005)
    _give_statements(harness, 1.0)
    harness.polled(exact=True)
    assert harness.mode() == ("full" if first else "exact")
    assert harness.ids() == list(range(1, 301 if first else 501))
    harness.assert_once()


def test_a_truncate_waits_no_longer_than_a_statement_may_take(source: Source, harness: PollerHarness) -> None:
    """However many statements a read has, a session that waits for its lock waits no longer than for one of them."""
    source.requests(1, 3)
    make_slow(source, 1.5)
    _give_statements(harness, 4.0)
    reading = threading.Thread(target=harness.poll)
    with source.other() as other:
        # Two statements of a reading together would take 7 s.
        other.execute("SET lock_timeout = '6s'")
        reading.start()
        locked = "SELECT count(*) FROM pg_locks WHERE relation = 'http_requests'::regclass AND mode = 'AccessShareLock'"
        while source.run(f"{locked} AND pid <> pg_backend_pid()") == [(0,)]:
            assert reading.is_alive()
        other.execute("TRUNCATE http_requests")
    reading.join()


def test_a_reader_that_stands_still_is_hung_up_on(source: Source, harness: PollerHarness) -> None:
    """A stalled COPY holds its lock no longer than the server's timeout for the client."""
    source.run(
        "INSERT INTO http_requests (id, http_referer)"
        " SELECT n, repeat(md5(n::text), 300) FROM generate_series(1, 6000) AS n"
    )
    _give_statements(harness, 2.0)
    truncated = False
    with contextlib.suppress(SourceError), harness.repository.session() as session, session.snapshot("http_requests"):
        session._connection.pgconn.send_query(b"COPY http_requests (http_referer) TO STDOUT (FORMAT binary)")
        with source.other() as other:
            other.execute("SET lock_timeout = '60s'")
            other.execute("TRUNCATE http_requests")
            truncated = True
    assert truncated


def test_exact_readings_come_rarer_while_they_take_long(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read of two minutes is not repeated for forty; a quick one restores the interval."""
    monkeypatch.setattr("exporter.poller.read_plan.SMALL_BYTES", -1)
    harness.polled(exact=True)
    opening, took = TableReader.open, 120.0

    def slowly(reader: TableReader, *, exact_due: bool) -> tuple[TableRead, pa.Table, bool]:
        harness.now += took if exact_due else 0.0
        return opening(reader, exact_due=exact_due)

    monkeypatch.setattr(TableReader, "open", slowly)
    modes = []
    for passed in (1000.0, 1000.0, 1000.0, 400.0, 1000.0):
        harness.now += passed
        begun = harness.now
        harness.polled()
        modes.append((harness.mode(), _shown(harness, EXACT_INTERVAL)))
        harness.now = begun
        took = 120.0 if len(modes) == 1 else 0.0
    assert modes == [("exact", 2400.0), ("fast", 2400.0), ("fast", 2400.0), ("exact", 1000.0), ("exact", 1000.0)]


def _give_statements(harness: PollerHarness, seconds: float) -> None:
    harness.repository._options = replace(harness.repository._options, statement_timeout=seconds)


def _shown(harness: PollerHarness, family: Family) -> object:
    """Return the one sample of a family as it would be scraped."""
    block = next(block for block in harness.store.blocks(harness.now) if block.family == family)
    assert isinstance(block, Block)
    assert not callable(block.values)
    return block.values[0]
