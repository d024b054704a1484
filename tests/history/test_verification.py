"""``verify`` finds each broken invariant, and nothing in a valid file."""

import random
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from exporter.errors import HistoryBusy
from exporter.history import consistency, usage
from exporter.history.consistency import Row
from exporter.history.file import HistoryFile, Limits
from exporter.history.verification import Verdict, verify
from tests.history.synthetic_history import BEGIN, EVENTS, REQUESTS, SyntheticHistory, requests
from tests.history.test_backup import _poll_and_crash
from tests.history.test_file import held
from tests.support.forked_process import ENDED, ended
from tests.support.soak import times


@pytest.fixture(scope="module")
def history_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a history of some days, with requests that are open, of no time and of no end of time."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("lived") / "history.duckdb")
    synthetic.live(5)
    synthetic.poll(
        BEGIN + timedelta(days=5), requests(900, 3, BEGIN + timedelta(days=5), completed=False), others=False
    )
    synthetic.poll(BEGIN + timedelta(days=5), requests(950, 1, BEGIN), others=False)
    odd = requests(1000, 3, BEGIN)
    infinite = pa.array([None, 2**63 - 1, -(2**63) + 1], pa.int64()).cast(pa.timestamp("us"))
    synthetic.poll(BEGIN + timedelta(days=6), odd.set_column(1, "created_at", infinite), others=False)
    return synthetic.file.path.read_bytes()


@pytest.fixture
def path(history_bytes: bytes, tmp_path: Path) -> Path:
    """A history of one's own, to be broken."""
    path = tmp_path / "history.duckdb"
    path.write_bytes(history_bytes)
    return path


def verified(path: Path) -> list[Verdict]:
    """Verify a file, without patience."""
    return list(verify(HistoryFile(path, Limits(patience_seconds=0.0), read_only=True), EVENTS))


def faults(path: Path) -> list[str]:
    """Return the subjects of the faults that are found."""
    return [verdict.subject for verdict in verified(path) if verdict.ok is False]


def test_nothing_is_wrong(path: Path) -> None:
    """A history as the poller leaves it has no fault and no note, and verifying leaves its bytes alone."""
    before = path.read_bytes()
    found = verified(path)
    assert [verdict for verdict in found if verdict.ok is not True] == []
    assert {"http_requests by day", "logins once", "every block"} <= {verdict.subject for verdict in found}
    assert "54 rows, 54 archived" in next(v.message for v in found if v.subject == "http_requests by day")
    assert path.read_bytes() == before
    assert [left.name for left in path.parent.iterdir()] == [path.name]


OPENED_WITHOUT_A_TIME = """
    INSERT INTO http_requests_open BY NAME
    SELECT * EXCLUDE (archived_at) REPLACE (NULL AS completed_at) FROM http_requests WHERE created_at IS NULL
"""
BREACHES = {
    "a row is gone": (
        "DELETE FROM http_requests WHERE id = 13",
        {"http_requests by day", "http_requests in the counters"},
    ),
    "a row without a time is gone": (
        "DELETE FROM http_requests WHERE created_at IS NULL",
        {"http_requests by day", "http_requests in the counters"},
    ),
    "a row stands twice": (
        "INSERT INTO http_requests SELECT * FROM http_requests WHERE id = 49",
        {"http_requests by day", "http_requests in the counters", "http_requests once"},
    ),
    "a row without a time stands twice": (
        "INSERT INTO http_requests SELECT * FROM http_requests WHERE created_at IS NULL",
        {"http_requests by day", "http_requests in the counters", "http_requests once"},
    ),
    "a row has another day": (
        "UPDATE http_requests SET created_at = created_at - INTERVAL 1 DAY WHERE id = 30",
        {"http_requests by day"},
    ),
    "a login stands twice": (
        "INSERT INTO logins SELECT * FROM logins LIMIT 1",
        {"logins by day", "logins in the counters", "logins once"},
    ),
    "a job is gone": ("DELETE FROM background_jobs WHERE rowid = 0", {"background_jobs by day"}),
    "a counter counts too much": (
        "UPDATE counters SET value = value + 1 WHERE family = 'tableau_http_requests_total'",
        {"http_requests in the counters"},
    ),
    "the rows are counted otherwise": (
        "UPDATE counters SET value = value - 1 WHERE family = 'tableau_history_rows_total' AND labels = ['logins']",
        {"logins in the counters"},
    ),
    "a histogram is short": (
        "DELETE FROM histograms WHERE family = 'tableau_http_request_duration_seconds'",
        {"http_requests in the counters"},
    ),
    "a counter is below nothing": ("INSERT INTO counters VALUES ('x', [], -1)", {"bookkeeping"}),
    "a counter stands twice": ("INSERT INTO counters VALUES ('x', [], 1), ('x', [], 1)", {"bookkeeping"}),
    "a poll is not told of": (
        "DELETE FROM poll_log WHERE source = 'http_requests' AND rowid = (SELECT min(rowid) FROM poll_log)",
        {"http_requests in the poll log"},
    ),
    "a position stands twice": (
        "INSERT INTO positions SELECT * FROM positions WHERE source = 'http_requests'",
        {"bookkeeping"},
    ),
    "a position was moved": (
        "UPDATE positions SET horizon = horizon - 1 WHERE source = 'http_requests'",
        {"positions"},
    ),
    "a position is ahead": ("UPDATE positions SET xmax = 0 WHERE source = 'background_jobs'", {"positions"}),
    "a mark stands twice": ("INSERT INTO marks SELECT * FROM marks WHERE name = 'newest'", {"bookkeeping"}),
    "the marks are the wrong way round": (
        "UPDATE marks SET marked_at = '2030-01-01' WHERE name = 'oldest'",
        {"marks"},
    ),
    "a request is open and final": (
        "INSERT INTO http_requests_open BY NAME SELECT * EXCLUDE archived_at FROM http_requests WHERE id = 7",
        {"open requests"},
    ),
    "a request without a time is open and final": (
        OPENED_WITHOUT_A_TIME,
        {"open requests"},
    ),
    "a request is open twice": (
        "INSERT INTO http_requests_open SELECT * FROM http_requests_open LIMIT 1",
        {"open requests"},
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_found(path: Path, breach: str) -> None:
    """Whatever does not fit together is a fault of its subject, and of no other."""
    statement, subjects = BREACHES[breach]
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)
    assert set(faults(path)) == subjects


def test_a_fault_says_what_and_what_to_do(path: Path) -> None:
    """The line names the day, the number of rows, and the remedy."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM http_requests WHERE id BETWEEN 30 AND 33")
    (message,) = [verdict.message for verdict in verified(path) if verdict.subject == "http_requests by day"]
    assert "2025-01-04, 4 rows missing" in message
    assert "put a backup back" in message


def test_windows_lose_no_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few keys are compared at a time, a key of the first and one of the last day are found twice."""
    monkeypatch.setattr("exporter.history.consistency.WINDOW_ROWS", 15)
    for number in (1, 49):
        with duckdb.connect(str(path)) as connection:
            connection.execute("INSERT INTO http_requests SELECT * FROM http_requests WHERE id = ?", [number])
            assert "http_requests once" in _without(connection, path)
            connection.execute("DELETE FROM http_requests WHERE id = ?", [number])


def _without(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    connection.execute("CHECKPOINT")
    copy = path.with_name("copy.duckdb")
    copy.write_bytes(path.read_bytes())
    return faults(copy)


def test_a_flipped_byte_is_found(path: Path) -> None:
    """One bit of any block of the file that is not as it was written is a fault."""
    compact = path.with_name("compact.duckdb")
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"ATTACH '{path}' AS source (READ_ONLY)")
        connection.execute(f"ATTACH '{compact}' AS target (STORAGE_VERSION 'v1.5.0')")
        connection.execute("COPY FROM DATABASE source TO target")
    whole = compact.read_bytes()
    assert faults(compact) == []
    chance = random.Random(1)
    for _ in range(times(12, 400)):
        broken = bytearray(whole)
        # The first three pages are the file's heads, one of which is always an old one.
        broken[chance.randrange(3 * 4096, len(whole))] ^= 1 << chance.randrange(8)
        compact.write_bytes(broken)
        assert faults(compact)


def test_another_version(path: Path) -> None:
    """A file of an older version is checked as far as possible, with a note; one of a newer version is not judged."""
    with duckdb.connect(str(path)) as connection:
        _make_old(connection)
    found = verified(path)
    assert [verdict.subject for verdict in found if verdict.ok is not True] == ["file"]
    assert found[0].ok is None
    assert "every block" in {verdict.subject for verdict in found}
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    (verdict,) = verified(path)
    assert verdict.ok is False
    assert "newer" in verdict.message


def _make_old(connection: duckdb.DuckDBPyConnection) -> None:
    """Undo the migrations of tables since the second."""
    freshness = ("freshness_audit", "asset_refreshes", "asset_freshness", "freshness_sources")
    for table in ("archived_days", *freshness, "alerts", "alert_past", *usage.TABLES):
        connection.execute(f"DROP TABLE {table}")
    for column in ("accounted", "settling"):
        connection.execute(f"ALTER TABLE positions DROP COLUMN {column}")
    connection.execute("DELETE FROM marks WHERE name = 'begun'")
    connection.execute("DELETE FROM schema_version WHERE version > 2")


@pytest.mark.parametrize("kind", ["garbage", "empty", "other"])
def test_what_is_no_history(tmp_path: Path, kind: str) -> None:
    """A text file, and another program's database, are one fault."""
    path = tmp_path / "history.duckdb"
    if kind == "other":
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE theirs (a INTEGER)")
    else:
        path.write_bytes(b"not a database" * 1000 if kind == "garbage" else b"")
    assert faults(path) == ["file"]


def test_a_file_that_is_held(path: Path) -> None:
    """A program that writes the file for longer than the timeout is reported."""
    with held(path), pytest.raises(HistoryBusy):
        verified(path)


def test_the_agent_gets_in(path: Path) -> None:
    """A verification of any length closes the file again and again, for longer than a writer pauses."""
    now, slept = [0.0], list[float]()

    def clock() -> float:
        now[0] += 0.3
        return now[0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        with duckdb.connect(str(path)) as connection:
            connection.execute("SELECT 1")

    file = HistoryFile(path, Limits(), sleep, clock, read_only=True, gap_seconds=0.25)
    found = list(verify(file, EVENTS))
    assert all(verdict.ok for verdict in found)
    assert len(slept) > 5
    assert set(slept) == {0.25}


def test_a_ledger_is_begun_for_an_older_file(path: Path) -> None:
    """A file of before the ledger gets one: rows pruned or not logged then are no fault afterwards."""
    with duckdb.connect(str(path)) as connection:
        _make_old(connection)
        connection.execute("DELETE FROM http_requests WHERE id < 20")
        connection.execute("DELETE FROM poll_log WHERE started_at < '2025-01-03'")
    synthetic = SyntheticHistory(path)
    synthetic.history.prepare(BEGIN)
    assert faults(path) == []
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            'SELECT sum("rows"), sum(pruned) FROM archived_days WHERE source = ?', [REQUESTS.table]
        ).fetchall()
    assert found == [(54, 20)]
    assert synthetic.history.totals.counter("tableau_history_pruned_rows_total", "http_requests") == 20
    synthetic.poll(BEGIN + timedelta(days=9), requests(2000, 5, BEGIN + timedelta(days=9)))
    assert faults(path) == []


def test_a_damaged_log_is_left_alone(path: Path) -> None:
    """Read-only access sets nothing aside: a log that cannot be replayed is a fault, and stays as it is."""
    assert ended(_poll_and_crash, path) == ENDED
    log = path.with_name("history.duckdb.wal")
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    log.write_bytes(damaged)
    before = path.read_bytes()
    assert faults(path) == ["file"]
    assert (path.read_bytes(), log.read_bytes()) == (before, bytes(damaged))
    assert sorted(left.name for left in path.parent.iterdir()) == ["history.duckdb", "history.duckdb.wal"]


def test_the_marks_are_looked_at_once(path: Path) -> None:
    """A poll that comes while the marks are compared makes no fault: all are of one moment."""
    with duckdb.connect(str(path)) as connection:

        def ask(sql: str, *parameters: object) -> list[Row]:
            rows = connection.execute(sql, list(parameters)).fetchall()
            connection.execute("INSERT INTO marks VALUES (concat('poll:', uuid()), '2025-01-01')")
            return rows

        assert list(consistency.marks(ask).faults) == []


def test_a_damaged_copy(path: Path) -> None:
    """The message on a damaged file does not claim that the agent cannot archive: it may be a copy."""
    path.write_bytes(b"not a database" * 1000)
    (verdict,) = verified(path)
    assert verdict.message.endswith("; it is damaged, and no backup")
