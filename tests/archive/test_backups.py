"""A cluster is put back, or moves to a newer PostgreSQL: the history goes on, with both generations of each id."""

from pathlib import Path

import pytest

from tests.archive.clusters import Cluster
from tests.archive.ledger import Ledger
from tests.archive.rig import Rig
from tests.archive.steps import Steps
from tests.reliability import Tally
from tests.soak import times


@pytest.mark.fault(19)
@pytest.mark.usefixtures("fast")
def test_an_older_physical_backup(primary: Cluster, tmp_path: Path, tally: Tally) -> None:
    """The server goes back to a backup and gives the same ids and transactions again: both generations are kept."""
    rig = Rig(primary.readonly, tmp_path / "history.duckdb")
    ledger = Ledger(rig)
    with Steps(19) as steps:
        for _ in range(3):
            steps.write(primary)
            ledger.poll(primary)
        steps.end()
        backup = primary.backup()
        for restored in range(1, times(3, 60) + 1):
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
            assert rig.mode() == "full"
            assert rig.incidents()["id_reuse" if restored % 2 else "restored"] > 0
            ledger.balance(tally)
