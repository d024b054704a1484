"""PostgreSQL's transaction ids are 32 bits and start again; the archive goes on across that and loses nothing."""

import json
from pathlib import Path

import duckdb
import pytest

from exporter.poller.read_plan import HORIZON_LIMIT
from tests.archive.ledger import Ledger
from tests.archive.steps import Steps
from tests.support.poller_harness import PollerHarness
from tests.support.postgres_cluster import Cluster, cluster
from tests.support.reliability import Tally
from tests.support.soak import times

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.fault(24)
@pytest.mark.usefixtures("fast")
def test_crossing_2_to_the_32(tmp_path: Path, tally: Tally) -> None:
    """Exact readings before, across and after the first transaction of a new epoch miss nothing."""
    for epoch in range(1, times(1, 20) + 1):
        crossing = epoch * 2**32
        with cluster() as primary, Steps(epoch) as steps:
            harness = PollerHarness(primary.readonly, tmp_path / f"{epoch}.duckdb")
            ledger = Ledger(harness)
            steps.write(primary)
            steps.end()
            primary.freeze()
            primary.reset(crossing - 40)
            ledger.poll(primary)
            across = 0
            while primary.next_xid() < crossing + 20:
                steps.write(primary)
                ledger.poll(primary, exact=epoch % 2 == 0 or across % 2 == 0)
                assert harness.mode() != "full"
                across += 1
            assert across > 1
            steps.end()
            ledger.poll(primary)
            assert harness.mode() == "exact"
            ledger.balance(tally)


AWAY = {
    "not quite too far": HORIZON_LIMIT - 2_000,
    "just too far": HORIZON_LIMIT + 2_000,
    "half way round": 2**31 + 2_000,
    "once round": 2**32 + 2_000,
    "nearly once round": 2**32 - 2_000,
}


@pytest.mark.fault(25)
@pytest.mark.parametrize("away", list(AWAY)[: times(3, len(AWAY))])
def test_away_for_long(primary: Cluster, tmp_path: Path, tally: Tally, away: str) -> None:
    """However many transactions passed unseen, and without a restart, the next read misses no row."""
    harness = PollerHarness(primary.readonly, tmp_path / "history.duckdb")
    ledger = Ledger(harness)
    with Steps(25) as steps:
        steps.write(primary)
        ledger.poll(primary)
        horizon = _horizon(harness)
        steps.end()
        steps.write(primary)
        steps.end()
        primary.freeze()
        primary.reset(horizon + AWAY[away])
        _never_restarted(harness, primary)
        steps.write(primary)
        ledger.poll(primary)
        assert harness.mode() == ("exact" if away == "not quite too far" else "full")
        steps.write(primary)
        steps.end()
        ledger.poll(primary)
        assert harness.mode() == "exact"
    ledger.balance(tally)


@pytest.mark.fault(25)
def test_away_for_long_behind_an_open_transaction(tmp_path: Path, tally: Tally) -> None:
    """A transaction that stays open holds the snapshot back, but not the counter that ages are reckoned from."""
    with cluster(max_prepared_transactions="1") as primary, Steps(26) as steps:
        harness = PollerHarness(primary.readonly, tmp_path / "history.duckdb")
        ledger = Ledger(harness)
        steps.write(primary)
        ledger.poll(primary)
        horizon = _horizon(harness)
        steps.end()
        primary.freeze()
        held = horizon + HORIZON_LIMIT - 2_000
        primary.reset(held)
        steps.write(primary)
        steps.end()
        with primary.connection.transaction():
            primary.request(7_000_000)
            primary.run("PREPARE TRANSACTION 'open'")
        primary.reset(horizon + 2**31 + 2_000, held)
        _never_restarted(harness, primary)
        steps.write(primary)
        ledger.poll(primary)
        primary.run("COMMIT PREPARED 'open'")
        ledger.poll(primary)
        ledger.balance(tally)


def _horizon(harness: PollerHarness) -> int:
    return int(harness.query("SELECT horizon FROM positions WHERE source = 'http_requests'")[0][0])


def _never_restarted(harness: PollerHarness, primary: Cluster) -> None:
    """Set the position to the server's present start, as of a server that had run all the time."""
    started_at = primary.run("SELECT pg_postmaster_start_time()::text")[0][0]
    (known,) = harness.query("SELECT identity FROM positions WHERE source = 'http_requests'")[0]
    identity = json.dumps({**json.loads(known), "postmaster_started_at": started_at})
    with duckdb.connect(str(harness.file.path)) as connection:
        connection.execute("UPDATE positions SET identity = ? WHERE source = 'http_requests'", [identity])
    harness.restart()
