"""A cluster is put back, or moves to a newer PostgreSQL: the history goes on, with both generations of each id."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.archive.ledger import Ledger
from tests.archive.steps import Steps
from tests.support.poller_harness import PollerHarness
from tests.support.postgres_cluster import DATABASE, Cluster, cluster, reach, upgraded
from tests.support.reliability import Tally
from tests.support.soak import times

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.fault(19)
@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("way", ["running", "stopped"])
def test_an_older_physical_backup(primary: Cluster, tmp_path: Path, tally: Tally, way: str) -> None:
    """The server goes back to a backup and reuses ids and transactions: both generations are retained."""
    harness = PollerHarness(primary.readonly, tmp_path / "history.duckdb")
    ledger = Ledger(harness)
    with Steps(19) as steps:
        for _ in range(3):
            steps.write(primary)
            ledger.poll(primary)
        steps.end()
        # A copy of a stopped server needs no recovery: its statistics go on as well.
        backup, restores = (primary.backup(), times(2, 40)) if way == "running" else (primary.copied(), times(1, 20))
        for restored in range(1, restores + 1):
            for exact in (True, False, True):
                steps.write(primary)
                ledger.poll(primary, exact=exact)
            steps.write(primary)
            ledger.note(primary)
            archived = primary.next_xid()
            steps.end()
            primary.put_back(backup)
            assert primary.next_xid() < archived
            # However much is written before the next poll, up to more transactions than there were.
            while restored % 2 and primary.next_xid() <= archived:
                steps.write(primary)
            ledger.poll(primary, exact=False)
            assert harness.mode() == "full"
            assert harness.incidents()["id_reuse" if restored % 2 else "restored"] > 0
            ledger.balance(tally)


@pytest.mark.fault(26)
@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("way", ["pg_upgrade", "pg_dump"][: times(1, 2)])
def test_a_newer_postgresql(primary: Cluster, tmp_path: Path, tally: Tally, way: str) -> None:
    """The repository moves to PostgreSQL 18: it is reported as restored, and the same history goes on."""
    harness = PollerHarness(primary.readonly, tmp_path / "history.duckdb")
    ledger = Ledger(harness)
    with Steps(26) as steps:
        for exact in (True, False, True):
            steps.write(primary)
            ledger.poll(primary, exact=exact)
        steps.end()
        steps.write(primary)
        steps.end()
        with (upgraded if way == "pg_upgrade" else _moved)(primary, "postgres18") as newer:
            assert newer.run("SHOW server_version_num")[0][0] >= "180000"
            reach(harness, newer.address)
            for mode in ("full", "fast", "exact"):
                steps.write(newer)
                ledger.poll(newer, exact=mode == "exact")
                assert harness.mode() == mode
            steps.end()
            ledger.poll(newer)
            ledger.balance(tally)
    assert harness.incidents() == {"restored": 1}


@contextmanager
def _moved(old: Cluster, component: str) -> Iterator[Cluster]:
    """Move the rows of a cluster to another one, as pg_dump and pg_restore do it."""
    dump = old.program("pg_dump", "--format=custom", f"--dbname={DATABASE}")
    with cluster(component) as newer:
        newer.hang_up()
        newer.program("dropdb", DATABASE)
        newer.program("pg_restore", "--create", "--dbname=postgres", stdin=dump)
        yield newer
