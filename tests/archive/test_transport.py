"""A connection that breaks, a server that freezes, locks and passwords: nothing is lost and the agent goes on."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.demo.postgres import Postgres
from exporter.repository.catalog import Catalog
from exporter.repository.connection import connect
from exporter.repository.session import Session
from tests.support.agent_process import Agent
from tests.support.poller_harness import PollerHarness
from tests.support.postgres import PASSWORD
from tests.support.source import CUT, OURS, Source
from tests.support.wait import PATIENCE_SECONDS


@contextmanager
def _cutting(source: Source, every: float) -> Iterator[list[int]]:
    """Cut the agent's connections again and again."""
    ready, stop, cut = threading.Event(), threading.Event(), [0]

    def run() -> None:
        with connect(source.parameters) as connection:
            ready.set()
            while not stop.wait(every):
                cut[0] += len(connection.execute(CUT.encode()).fetchall())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        yield cut
    finally:
        stop.set()
        thread.join()


@pytest.mark.fault(32)
def test_cut_in_mid_stream(source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full reading that is cut again and again begins again, doubles nothing, and ends when it is let."""
    monkeypatch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: 1000)
    monkeypatch.setattr("exporter.poller.batching.batch_rows", lambda _rows: 1000)
    source.requests(1, 20_000)
    with _cutting(source, 0.15) as cut:
        for _ in range(6):
            harness.poll()
            if cut[0] > 3:
                break
    assert cut[0]
    harness.polled()
    assert harness.ids() == list(range(1, 20_001))
    harness.assert_once()


@pytest.mark.fault(33)
def test_a_frozen_server(source: Source, tmp_path: Path, postgres: Postgres) -> None:
    """A server that accepts and never answers is down within the timeouts, and up again when it answers."""
    source.requests(1, 100)
    settings = {"REPOSITORY__STATEMENT_TIMEOUT": "1s", "REPOSITORY__CONNECT_TIMEOUT": "2s"}
    with Agent(tmp_path, source.readonly, **settings) as agent:
        agent.polled()
        postgres.pause()
        try:
            agent.until(lambda: agent.value("tableau_up", source="repository") == 0, "the repository is down")
        finally:
            postgres.resume()
        source.requests(101, 200)
        agent.until(lambda: agent.value("tableau_up", source="repository") == 1, "the repository is up again")
        agent.polled()
        assert agent.value("tableau_history_rows_total", table="http_requests") == 200


@pytest.mark.fault(33)
def test_a_server_that_freezes_in_mid_poll(
    source: Source, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that falls silent in the middle of a poll is hung up on, for its own timeouts are silent with it."""
    monkeypatch.setattr("exporter.repository.session.GRACE_SECONDS", 0.0)
    source.requests(1, 100)
    harness = PollerHarness(source.readonly, tmp_path / "history.duckdb", statement_timeout=1.0)
    harness.polled()
    source.requests(101, 200)
    looking = Session.load_catalog

    def freezing(session: Session, relations: Collection[str]) -> Catalog:
        postgres.pause()
        return looking(session, relations)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "load_catalog", freezing)
        polling = threading.Thread(target=harness.poll)
        polling.start()
        polling.join(PATIENCE_SECONDS)
        waits = polling.is_alive()
        postgres.resume()
        polling.join()
    assert not waits
    assert not harness.up()
    harness.polled()
    assert harness.ids() == list(range(1, 201))
    harness.assert_once()


@pytest.mark.fault(34)
def test_a_server_that_is_gone(source: Source, tmp_path: Path) -> None:
    """Without a server the agent listens, logs it, and retains its state."""
    source.requests(1, 100)
    harness = PollerHarness(source.readonly, tmp_path / "history.duckdb")
    harness.polled()
    port = harness.repository._options.addresses[0]
    harness.repository._options = type(harness.repository._options)(
        **{
            **harness.repository._options.__dict__,
            "addresses": (type(port)(port.host, 1),),
        }
    )
    assert not harness.poll()
    assert not harness.up()
    assert harness.requests_counted() == 100


@pytest.mark.fault(34)
def test_a_rotated_password(source: Source, tmp_path: Path) -> None:
    """A new password in the password file is used at the next poll."""
    source.requests(1, 10)
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    settings = {"REPOSITORY__PASSWORD": "", "REPOSITORY__PASSWORD_FILE": str(file)}
    with Agent(tmp_path, source.readonly, **settings) as agent:
        try:
            agent.polled()
            source.run("ALTER ROLE readonly PASSWORD 'another one'")
            agent.until(lambda: agent.value("tableau_up", source="repository") == 0, "the password is refused")
            file.write_text("another one")
            agent.until(lambda: agent.value("tableau_up", source="repository") == 1, "the new password is used")
        finally:
            source.run(f"ALTER ROLE readonly PASSWORD '{PASSWORD}'")
        assert "another one" not in agent.logged()


@pytest.mark.fault(35)
def test_a_lock_is_not_waited_for(source: Source, naming_harness: PollerHarness) -> None:
    """While another session locks the table, its collector gives up before a statement would, and the others go on."""
    source.requests(1, 10)
    with source.other() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE http_requests IN ACCESS EXCLUSIVE MODE")
        naming_harness.poll()
        assert set(naming_harness.errors()) == {"http_requests", "active_users"}
        assert "lock timeout" in naming_harness.errors()["http_requests"]
        assert naming_harness.up()
        other.execute("COMMIT")
    naming_harness.polled()
    assert naming_harness.ids() == list(range(1, 11))


def test_the_agent_holds_no_lock_between_readings(source: Source, harness: PollerHarness) -> None:
    """Tableau's own TRUNCATE finds no lock of the agent's after a poll, nor between two ranges of a reading."""
    source.requests(1, 10)
    harness.polled()
    source.run("SET lock_timeout = '1ms'")
    source.run("TRUNCATE http_requests")


def test_the_source_sees_one_connection_and_no_transaction(source: Source, tmp_path: Path) -> None:
    """The agent uses one connection at a time, no lock but ACCESS SHARE, and not a single transaction id."""
    source.requests(1, 10)
    now = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    sessions = f"SELECT count(*), count(backend_xid) FROM pg_stat_activity WHERE {OURS}"
    locks = (
        f"SELECT DISTINCT mode FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE {OURS} AND relation IS NOT NULL"
    )
    seen: set[tuple[int, int]] = set()
    held: set[str] = set()
    with Agent(tmp_path, source.readonly) as agent:
        agent.polled()
        before = source.run(now)
        polls = agent.query("SELECT count(*) FROM poll_log")[0][0]
        stop = threading.Event()

        def sample() -> None:
            with connect(source.parameters) as connection:
                while not stop.wait(0.002):
                    seen.update(connection.execute(sessions.encode()).fetchall())
                    held.update(mode for (mode,) in connection.execute(locks.encode()).fetchall())

        thread = threading.Thread(target=sample)
        thread.start()
        agent.polled(3)
        stop.set()
        thread.join()
        assert agent.query("SELECT count(*) FROM poll_log")[0][0] >= polls + 3
        assert source.run(now) == before
    assert seen == {(0, 0), (1, 0)}
    assert held == {"AccessShareLock"}
