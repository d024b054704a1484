"""Every stored row has its line in the poll log, whichever poll wrote it and however it ended."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.history.test_file import held
from tests.support.poller_harness import WITH_NAMES, PollerHarness
from tests.support.source import Source

LOGGED = "SELECT sum(rows_new) FROM poll_log WHERE source = '{}'"


@pytest.fixture
def in_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Much is read: ranges of a hundred rows, two of them a transaction."""
    monkeypatch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: 100)
    monkeypatch.setattr("exporter.poller.batching.batch_rows", lambda _rows: 100)
    monkeypatch.setattr("exporter.poller.archiver.TRANSACTION_ROWS", 200)


@pytest.mark.usefixtures("in_ranges")
def test_a_reading_that_was_ended(source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that a long read archived before SIGTERM are logged; the rest by the next read."""
    source.requests(1, 1000)
    writing = harness.history.transaction
    transactions: list[int] = []

    def stopping(*arguments: object) -> object:
        transactions.append(1)
        if len(transactions) == 3:
            harness.context.stopped.set()
        return writing(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(harness.history, "transaction", stopping)
    assert not harness.poll()
    archived = len(harness.ids())
    assert 0 < archived < 1000
    assert harness.query(LOGGED.format("http_requests")) == [(archived,)]
    harness.restart()
    harness.polled()
    assert harness.query(LOGGED.format("http_requests")) == [(1000,)]
    lines = harness.query("SELECT rows_new, horizon IS NULL FROM poll_log ORDER BY rowid")
    assert [new for new, _ in lines if new] == [200] * 5
    # Only the last line of a reading has a position.
    assert [unfinished for _, unfinished in lines].count(False) == 1
    harness.assert_once()


@pytest.mark.usefixtures("in_ranges")
def test_large_rows_are_fewer_a_transaction(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of a transaction stay in memory until its end: one with large rows ends earlier."""
    monkeypatch.setattr("exporter.poller.archiver.TRANSACTION_BYTES", 1)
    source.requests(1, 500)
    harness.polled()
    assert [new for (new,) in harness.query("SELECT rows_new FROM poll_log ORDER BY rowid") if new] == [100] * 5
    harness.assert_once()


def test_the_first_poll_is_logged(source: Source, harness: PollerHarness) -> None:
    """One line reports how many requests the first successful poll archived, and its duration; no later poll has it."""
    source.requests(1, 50)
    with capture_logs() as logs:
        with held(harness.file.path):
            assert not harness.poll()
        assert "first poll finished" not in {line["event"] for line in logs}
        harness.polled()
        source.requests(51, 60)
        harness.polled()
        harness.restart()
        harness.polled()
    (line,) = [line for line in logs if line["event"] == "first poll finished"]
    assert (line["log_level"], line["source"], line["requests"], line["seconds"]) == ("info", "repository", 50, 0.0)


def test_a_view_and_logins(source: Source, tmp_path: Path) -> None:
    """Pages of the view, and rows read whole at every poll, are logged where they had new rows."""
    harness = PollerHarness(
        source.readonly, tmp_path / "history.duckdb", collectors=(*WITH_NAMES, "background_jobs", "logins")
    )
    source.run("REVOKE SELECT ON http_requests FROM readonly")
    source.requests(1, 50)
    for _ in range(2):
        harness.polled(exact=True)
    ((logins,),) = harness.query("SELECT count(*) FROM logins")
    assert logins > 0
    assert harness.query(LOGGED.format("logins")) == [(logins,)]
    assert len(harness.query("FROM poll_log WHERE source = 'logins'")) == 1
    assert harness.query(LOGGED.format("http_requests")) == [(50,)]
    harness.assert_once()
