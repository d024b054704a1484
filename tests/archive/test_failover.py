"""Another server replaces the primary, with all commits or without the last of them, or for a while."""

import contextlib
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from exporter.repository import binary_copy
from tests.archive.ledger import Ledger
from tests.archive.steps import Steps
from tests.support.poller_harness import PollerHarness
from tests.support.postgres_cluster import Cluster, Standby, reach, standby
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.wait import until

pytestmark = pytest.mark.timeout(1800)


def _harness(primary: Cluster, path: Path) -> PollerHarness:
    return PollerHarness(primary.readonly, path / "history.duckdb")


@pytest.mark.fault(20)
@pytest.mark.usefixtures("fast")
def test_failover(primary: Cluster, tmp_path: Path, tally: Tally) -> None:
    """A complete standby is promoted, again and again; the agent finds it among its hosts."""
    harness = _harness(primary, tmp_path)
    ledger = Ledger(harness)
    active = primary
    with contextlib.ExitStack() as stack, Steps(20) as steps:
        for _ in range(times(1, 20)):
            other = stack.enter_context(standby(active))
            reach(harness, other.address, active.address)
            for exact in (True, False, True):
                steps.write(active)
                ledger.poll(active, exact=exact)
                assert harness.store.status.source("repository").address == str(active.address)
            steps.write(active)
            other.caught_up(active)
            steps.end()
            active.kill()
            other.promote()
            steps.write(other)
            ledger.poll(other, exact=False)
            assert harness.mode() == "full"
            ledger.balance(tally)
            active = other
    assert set(harness.incidents()) == {"server_changed"}


# How the agent finds the servers, and whether the counter is further at the next poll than it was at the last.
LOSSES = [("socket", True), ("address", False), ("address", True), ("socket", False)]


@pytest.mark.fault(21)
@pytest.mark.usefixtures("fast")
def test_failover_that_lost_its_tail(primary: Cluster, tmp_path: Path, tally: Tally) -> None:
    """Ids and transactions that the lost tail had are reused, unseen if need be: both generations are retained."""
    harness = _harness(primary, tmp_path)
    ledger = Ledger(harness)
    active = primary
    with contextlib.ExitStack() as stack, Steps(21) as steps:
        for way, further in LOSSES[: times(2, 4)] * times(1, 5):
            other = stack.enter_context(standby(active))
            reach(harness, getattr(active, way), getattr(other, way))
            steps.write(active)
            ledger.poll(active)
            other.caught_up(active)
            other.detach()
            for _ in range(2):
                steps.write(active)
                ledger.poll(active)
            archived = active.next_xid()
            active.kill()
            steps.end()
            other.promote()
            while further and other.next_xid() <= archived:
                steps.write(other)
            ledger.poll(other, exact=False)
            assert harness.mode() == "full"
            ledger.balance(tally)
            active = other
    assert harness.incidents()["id_reuse"] > 0


@pytest.mark.fault(22)
@pytest.mark.usefixtures("fast")
def test_a_lagging_standby_and_back(primary: Cluster, tmp_path: Path, tally: Tally) -> None:
    """Commits that a standby lacks are neither removed nor undone; back at the primary none is missing."""
    harness = _harness(primary, tmp_path)
    ledger = Ledger(harness)
    given_up = "SELECT count(*) FROM http_requests WHERE completed_at IS NULL"
    with standby(primary) as other, Steps(22) as steps:
        for _ in range(times(3, 60)):
            reach(harness, other.address, primary.address)
            other.caught_up(primary)
            other.detach()
            for exact in (True, False, True):
                steps.write(primary)
                ledger.poll(primary, exact=exact)
            before = harness.query(given_up)
            reach(harness, other.address)
            for exact in (False, True):
                steps.write(primary)
                ledger.note(primary)
                ledger.poll(other, exact=exact)
            other.attach()
            other.caught_up(primary)
            ledger.poll(other, exact=False)
            assert harness.query(given_up) == before
            reach(harness, other.address, primary.address)
            steps.write(primary)
            ledger.poll(primary, exact=False)
            assert harness.mode() == "full"
            ledger.balance(tally)
    assert set(harness.incidents()) <= {"server_changed", "id_reuse"}


CAUSES = {
    "vacuum": ("DELETE FROM http_requests WHERE mod(id, 2) = 0", "VACUUM http_requests"),
    "lock": ("TRUNCATE http_requests",),
}

MOMENTS = ("before the copy", "in the copy")


@pytest.mark.fault(23)
def test_a_recovery_conflict(primary: Cluster, tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that stands in the way of the standby's recovery is ended in one line, and the next one completes."""
    monkeypatch.setattr("exporter.repository.binary_copy.CHUNK_ROWS", 256)
    harness = _harness(primary, tmp_path)
    ledger = Ledger(harness)
    settings = {"max_standby_streaming_delay": "0", "log_recovery_conflict_waits": "on", "deadlock_timeout": "20ms"}
    with standby(primary, **settings) as other:
        for cause, moment in [*product(CAUSES, MOMENTS)] * times(1, 10):
            primary.run(
                "INSERT INTO http_requests (id, created_at, completed_at, http_referer)"
                " SELECT n, now(), now(), repeat('x', 3000) FROM generate_series(1, 4500) AS n"
            )
            reach(harness, primary.address)
            ledger.poll(primary)
            reach(harness, other.address)
            other.caught_up(primary)
            with monkeypatch.context() as patch:
                _in_the_way(patch, moment, partial(_conflict, primary, other, cause))
                harness.poll()
            assert "conflict with recovery" in harness.errors()["http_requests"]
            other.caught_up(primary)
            ledger.poll(other, exact=False)
            primary.run("DELETE FROM http_requests")
            ledger.balance(tally)


def _conflict(primary: Cluster, other: Standby, cause: str) -> None:
    """Recovery cancels a read that conflicts with it; one whose rows are already received ends afterwards."""
    reported = other.server.log.read_text().count("recovery still waiting")
    for statement in CAUSES[cause]:
        primary.run(statement)
    # VACUUM leaves it to others to flush its log; a standby receives only flushed records.
    primary.run("CHECKPOINT")
    written = primary.position()
    waits = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn OR EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
    until(
        lambda: (
            other.run(waits, written) == [(True,)]
            or other.server.log.read_text().count("recovery still waiting") > reported
        )
    )


def _in_the_way(patch: pytest.MonkeyPatch, moment: str, happens: Callable[[], None]) -> None:
    """Let something happen once, when a reading has its snapshot."""
    copy_out = binary_copy.copy_out
    left = [happens]

    def copied(*arguments: Any) -> Any:  # noqa: ANN401 - the generator's own signature
        if moment == "before the copy" and left:
            left.pop()()
        with contextlib.closing(copy_out(*arguments)) as batches:
            for batch in batches:
                yield batch
                if left:
                    left.pop()()

    patch.setattr("exporter.repository.session.copy_out", copied)


@pytest.mark.usefixtures("fast")
def test_a_crash_that_the_postmaster_outlives(primary: Cluster, tmp_path: Path, tally: Tally) -> None:
    """After one of its processes was killed, a server reuses transaction ids that it had not yet written down."""
    harness = _harness(primary, tmp_path)
    ledger = Ledger(harness)
    for seed in range(times(1, 10)):
        with Steps(seed) as steps:
            steps.write(primary)
            steps.end()
            primary.run("CHECKPOINT")
            with primary.nothing_written():
                for _ in range(10):
                    primary.run("BEGIN")
                    primary.request(5_000_000)
                    primary.run("ROLLBACK")
                ledger.poll(primary)
                archived = primary.next_xid()
                primary.crash()
            assert primary.next_xid() < archived
            while primary.next_xid() < archived + 2:
                steps.write(primary)
            steps.end()
            ledger.poll(primary)
            ledger.balance(tally)
    assert set(harness.incidents()) == {"server_changed"}
