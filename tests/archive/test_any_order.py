"""Seeded sequences of a writer and a poller: in any order, each request that was committed is archived once."""

from collections.abc import Callable
from random import Random

import pytest

from tests.archive.ledger import Ledger
from tests.archive.steps import Steps
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source

pytestmark = pytest.mark.timeout(1800)

POLLS = 8


@pytest.mark.fault(1, 2, 3, 5, 7, 8, 14)
@pytest.mark.usefixtures("fast")
def test_any_order(source: Source, harness: PollerHarness, tally: Tally) -> None:
    """Blocks of ids, slow transactions, rollbacks, savepoints, completions, cleanups, between fast and exact polls."""
    source.tell_the_truth()
    ledger = Ledger(harness)
    for seed in range(times(3, 300)):
        chance = Random(seed)
        with Steps(seed) as steps:
            for _ in range(POLLS):
                steps.write(source)
                ledger.poll(source, exact=chance.random() < 0.6)
        ledger.poll(source)
        ledger.balance(tally)


def _truncate(source: Source) -> None:
    source.run("TRUNCATE http_requests")


def _restart(source: Source) -> None:
    source.run("TRUNCATE http_requests RESTART IDENTITY")


def _delete(source: Source) -> None:
    source.run("DELETE FROM http_requests WHERE completed_at IS NOT NULL")


def _vacuum(source: Source) -> None:
    source.run("VACUUM FULL http_requests")


REMOVALS = {
    "truncate": pytest.param(_truncate, marks=pytest.mark.fault(11)),
    "restart": pytest.param(_restart, marks=pytest.mark.fault(10, 13)),
    "delete": pytest.param(_delete, marks=pytest.mark.fault(10, 14)),
    "vacuum": pytest.param(_vacuum, marks=pytest.mark.fault(16)),
}


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
def test_removals_in_any_order(
    source: Source, harness: PollerHarness, tally: Tally, remove: Callable[[Source], None]
) -> None:
    """The table is emptied or rewritten at any time, and the ids that were free are reused."""
    source.tell_the_truth()
    ledger = Ledger(harness)
    for seed in range(times(1, 100)):
        chance = Random(seed)
        with Steps(seed) as steps:
            for _ in range(POLLS // 2):
                steps.write(source)
                if chance.random() < 0.4:
                    steps.end()
                    remove(source)
                    if chance.random() < 0.5:
                        steps.write(source)
                ledger.poll(source, exact=chance.random() < 0.4)
        ledger.poll(source)
        ledger.balance(tally)


@pytest.mark.fault(4)
@pytest.mark.usefixtures("fast")
def test_an_hour_long_transaction(source: Source, harness: PollerHarness, tally: Tally) -> None:
    """A transaction that commits after an hour is archived by the next exact poll, however many came before."""
    source.tell_the_truth()
    ledger = Ledger(harness)
    modes = set()
    with Steps(4) as steps, source.other() as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO http_requests (id, created_at, completed_at) VALUES (-7, now(), now())")
        for _ in range(12):
            harness.now += 300
            steps.write(source)
            ledger.poll(source, exact=False)
            modes.add(harness.mode())
        slow.execute("COMMIT")
        while harness.mode() != "exact" or -7 not in harness.ids():
            harness.now += 300
            ledger.poll(source, exact=False)
            modes.add(harness.mode())
            assert harness.now < 1_763_548_200 + 6_000
    assert modes == {"full", "fast", "exact"}
    ledger.poll(source)
    ledger.balance(tally)


@pytest.mark.fault(10)
@pytest.mark.parametrize("completed", [False, True])
def test_an_id_used_again(source: Source, harness: PollerHarness, completed: bool) -> None:
    """A request whose id was given to another one is gone, and archived as it was read last; both are retained."""
    source.request(1, completed_at="2025-11-19 10:00:01" if completed else None)
    harness.polled()
    source.run("DELETE FROM http_requests")
    source.request(1, created_at="2025-11-19 10:10:00", completed_at=None)
    harness.polled()
    harness.polled()
    assert (harness.ids(), harness.open_ids()) == ([1], [1])
    source.run("UPDATE http_requests SET completed_at = '2025-11-19 10:10:01'")
    harness.polled()
    assert (harness.ids(), harness.open_ids()) == ([1, 1], [])
    assert harness.incidents() == {"id_reuse": 1}
    harness.assert_once()
