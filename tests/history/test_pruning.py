"""Old rows go in small steps, by any command; counted rows stay counted, and are never counted again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from exporter.errors import HistoryUnwritable
from exporter.history.file import HistoryFile, Limits
from exporter.history.pruning import Pruned, newest_request, prune_in_steps
from exporter.history.verification import verify
from tests.history.synthetic_history import BEGIN, EVENTS, SyntheticHistory, requests

DAYS = 8
NOW = BEGIN + timedelta(days=DAYS)
BEFORE = BEGIN + timedelta(days=3, hours=12)


@pytest.fixture(scope="module")
def history_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Eight days of ten requests, a job and a login each."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("lived") / "history.duckdb")
    synthetic.live(DAYS)
    return synthetic.file.path.read_bytes()


@pytest.fixture
def synthetic(history_bytes: bytes, tmp_path: Path) -> SyntheticHistory:
    """A copy of these days."""
    path = tmp_path / "history.duckdb"
    path.write_bytes(history_bytes)
    return SyntheticHistory(path, retention=timedelta(days=3))


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> int:
    """Few rows a step."""
    monkeypatch.setattr("exporter.history.pruning.STEP_ROWS", 7)
    return 7


def prune(synthetic: SyntheticHistory, before: datetime) -> list[Pruned]:
    """Prune from outside the agent."""
    file = HistoryFile(synthetic.file.path, Limits(patience_seconds=0.0), lambda _: None)
    return list(prune_in_steps(file, EVENTS, before))


def ask(synthetic: SyntheticHistory, sql: str) -> list[tuple[object, ...]]:
    """Query the history."""
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def counted(synthetic: SyntheticHistory) -> list[tuple[object, ...]]:
    """Return all counters but that of pruned rows, and the positions."""
    counters = "SELECT family, labels::VARCHAR, value FROM counters WHERE family NOT LIKE '%pruned%'"
    histograms = "SELECT family, labels::VARCHAR || le, observations FROM histograms"
    return ask(
        synthetic,
        f"{counters} UNION ALL {histograms} UNION ALL SELECT source, identity, version FROM positions ORDER BY ALL",
    )


def assert_verified(synthetic: SyntheticHistory) -> None:
    """Nothing contradicts itself."""
    file = HistoryFile(synthetic.file.path, Limits(patience_seconds=0.0), read_only=True)
    assert [verdict for verdict in verify(file, EVENTS) if verdict.ok is False] == []


def test_steps_are_small(synthetic: SyntheticHistory, small_steps: int) -> None:
    """No step removes more rows of a table than it may, and together they remove all that is older, and no more."""
    before = counted(synthetic)
    steps = prune(synthetic, BEFORE)
    assert all(count <= small_steps for step in steps for count in step.rows.values())
    assert [step.finished for step in steps] == [False] * (len(steps) - 1) + [True]
    assert sum(step.rows.get("http_requests", 0) for step in steps) == 40
    assert ask(synthetic, "SELECT min(id), count(*) FROM http_requests") == [(40, 40)]
    # The job and the login of the fourth day came at 23 o'clock.
    assert ask(synthetic, "SELECT count(*) FROM background_jobs") == [(5,)]
    assert ask(synthetic, "SELECT count(*) FROM logins") == [(5,)]
    assert counted(synthetic) == before
    pruned = ask(synthetic, "SELECT labels[1], value FROM counters WHERE family LIKE '%pruned%' ORDER BY ALL")
    assert pruned == [("background_jobs", 3), ("http_requests", 40), ("logins", 3)]
    assert_verified(synthetic)


def test_an_interrupted_pruning(synthetic: SyntheticHistory, small_steps: int) -> None:
    """A half-done command leaves a valid file, is reported, and is finished by the next pruning."""
    assert small_steps
    steps = prune_in_steps(HistoryFile(synthetic.file.path, Limits(), lambda _: None), EVENTS, BEFORE)
    next(steps)
    next(steps)
    steps.close()
    assert ask(synthetic, "SELECT count(*) FROM http_requests") == [(66,)]
    file = HistoryFile(synthetic.file.path, Limits(), read_only=True)
    (note,) = [verdict for verdict in verify(file, EVENTS) if verdict.ok is not True]
    assert (note.ok, note.subject) == (None, "marks")
    assert "26 requests are older" in note.message
    prune(synthetic, BEGIN + timedelta(days=1))
    assert ask(synthetic, "SELECT min(id) FROM http_requests") == [(40,)]
    assert_verified(synthetic)


def test_pruning_again_changes_nothing(synthetic: SyntheticHistory) -> None:
    """Pruned rows are not counted as pruned a second time, and an earlier instant restores none."""
    prune(synthetic, BEFORE)
    before = (
        synthetic.file.path.stat().st_size,
        ask(synthetic, "FROM archived_days ORDER BY ALL"),
        ask(synthetic, "FROM poll_log"),
    )
    for instant in (BEFORE, BEGIN):
        assert [step.rows for step in prune(synthetic, instant)] == [{}]
    assert ask(synthetic, "SELECT marked_at FROM marks WHERE name = 'pruned'") == [(BEFORE,)]
    assert (
        synthetic.file.path.stat().st_size,
        ask(synthetic, "FROM archived_days ORDER BY ALL"),
        ask(synthetic, "FROM poll_log"),
    ) == before


def test_the_poll_log_adds_up(synthetic: SyntheticHistory) -> None:
    """The polls of days that are gone become one line a day and source, and their sums stay."""
    sums = "SELECT source, sum(rows_read), sum(rows_new), sum(rows_open) FROM poll_log GROUP BY ALL ORDER BY ALL"
    synthetic.poll(BEGIN + timedelta(days=1), requests(500, 3, BEGIN + timedelta(days=1)))
    before = ask(synthetic, sums)
    prune(synthetic, BEFORE)
    assert ask(synthetic, sums) == before
    lines = ask(synthetic, "SELECT started_at, source, rows_new FROM poll_log WHERE mode = 'day' ORDER BY ALL")
    assert len(lines) == 3 * 3
    assert (BEGIN + timedelta(days=1), "http_requests", 13) in lines
    assert ask(synthetic, "SELECT min(started_at) FROM poll_log WHERE mode <> 'day'") == [
        (BEGIN + timedelta(days=3, hours=23),)
    ]
    assert_verified(synthetic)


def test_rows_are_not_archived_again(synthetic: SyntheticHistory) -> None:
    """Rows that another program pruned while the agent read are not archived by it, with any earlier state."""
    synthetic.history.prepare(NOW)
    # The agent knows the file as it was; in between, a command prunes it.
    prune(synthetic, BEFORE)
    before = counted(synthetic)
    synthetic.poll(NOW, requests(0, 10, BEGIN), others=False)
    assert ask(synthetic, "SELECT count(*) FROM http_requests WHERE id < 10") == [(0,)]
    assert [row for row in counted(synthetic) if row not in before] == [("http_requests", "{}", 9)]
    assert_verified(synthetic)


def test_an_open_request_is_waited_for(tmp_path: Path) -> None:
    """Nothing is pruned that is younger than a request that is still open: it is counted, once, when it is final."""
    synthetic = SyntheticHistory(tmp_path / "history.duckdb")
    synthetic.poll(BEGIN + timedelta(hours=1), requests(1, 1, BEGIN), others=False)
    synthetic.poll(
        BEGIN + timedelta(hours=2), requests(2, 1, BEGIN + timedelta(hours=1), completed=False), others=False
    )
    synthetic.poll(BEGIN + timedelta(hours=2), requests(3, 1, BEGIN + timedelta(hours=2)), others=False)
    (step,) = prune(synthetic, BEGIN + timedelta(hours=3))
    assert step.before == BEGIN + timedelta(hours=1)
    assert ask(synthetic, "SELECT id FROM http_requests") == [(3,)]
    synthetic.poll(BEGIN + timedelta(hours=4), requests(2, 1, BEGIN + timedelta(hours=1)), others=False)
    assert ask(synthetic, "SELECT id FROM http_requests ORDER BY id") == [(2,), (3,)]
    assert synthetic.history.totals.counter("tableau_history_rows_total", "http_requests") == 3
    assert_verified(synthetic)


def test_the_agent_finishes_a_day_before_the_next(synthetic: SyntheticHistory, small_steps: int) -> None:
    """The agent's retention removes a bounded number of rows a poll, a day after the other, until all is gone."""
    assert small_steps
    synthetic.history.prepare(NOW)
    left = []
    while (before := synthetic.history.prunable_before(NOW)) is not None:
        with synthetic.history.transaction(NOW) as transaction:
            transaction.prune(before)
        left.append(ask(synthetic, "SELECT count(*) FROM http_requests")[0][0])
    assert left[:5] == [73, 70, 63, 60, 53]
    assert ask(synthetic, "SELECT min(created_at) FROM http_requests") == [(BEGIN + timedelta(days=5),)]
    assert_verified(synthetic)


def test_the_agent_prunes_once_an_hour(synthetic: SyntheticHistory) -> None:
    """Rows that have just become too old wait until an hour of them is due: not every poll prunes."""
    synthetic.history.prepare(NOW)
    while (before := synthetic.history.prunable_before(NOW)) is not None:
        with synthetic.history.transaction(NOW) as transaction:
            transaction.prune(before)
    synthetic.poll(NOW, requests(900, 1, NOW))
    assert synthetic.history.prunable_before(NOW + timedelta(minutes=59)) is None
    hour = timedelta(hours=1)
    assert synthetic.history.prunable_before(NOW + hour) == NOW + hour - timedelta(days=3)


@pytest.mark.fault(43)
def test_a_clock_that_jumps_ahead(synthetic: SyntheticHistory) -> None:
    """An agent whose clock is years ahead retains the configured time, by the newest request."""
    future = datetime(2060, 1, 1, tzinfo=UTC)
    synthetic.history.prepare(future)
    polls = 0
    while (before := synthetic.history.prunable_before(future)) is not None:
        polls += 1
        assert polls < 100
        with synthetic.history.transaction(future) as transaction:
            transaction.prune(before)
    assert ask(synthetic, "SELECT count(*) FROM http_requests WHERE created_at >= '2025-01-07'") == [(20,)]


def test_another_version(tmp_path: Path, synthetic: SyntheticHistory) -> None:
    """A file that this version has not written is not pruned by it."""
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 2")
    for path in (synthetic.file.path, tmp_path / "new.duckdb"):
        with pytest.raises(HistoryUnwritable, match="let the agent of this version open it once"):
            newest_request(HistoryFile(path))


def test_the_newest_request(synthetic: SyntheticHistory) -> None:
    """An instant is compared with the newest request of a plausible time."""
    assert newest_request(synthetic.file) == BEGIN + timedelta(days=DAYS - 1, seconds=9)
