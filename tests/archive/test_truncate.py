"""TRUNCATE at each place of a reading: around its lock, its snapshot and its rows."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from exporter.repository import binary_copy
from tests.archive.ledger import Ledger
from tests.archive.steps import Steps
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source
from tests.support.wait import until

pytestmark = pytest.mark.timeout(1800)

WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'http_requests'::regclass"
PLACES = {
    "before the lock": "LOCK TABLE",
    "while the lock is waited for": "LOCK TABLE",
    "between lock and snapshot": "SELECT pg_current_snapshot()",
    "between snapshot and rows": "SELECT oldest.id",
    "among the rows": "COPY",
}


class Emptying:
    """A thread that truncates the table once, when a read reaches a given statement."""

    def __init__(self, source: Source, place: str, first: int) -> None:
        self._source = source
        self._place = place
        # Ids that no request had before: with the newest one's there the table would seem rewritten.
        self.ids = range(first, first + 10)
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Empty the table: now, or while the reading waits, or as soon as it has ended."""
        if self._thread is not None:
            return
        ready = threading.Event()
        self._thread = threading.Thread(target=self._empty, args=(ready,))
        self._thread.start()
        if self._place == "before the lock":
            self._thread.join()
        elif self._place == "while the lock is waited for":
            ready.wait()
        else:
            until(lambda: self._source.run(WAITS) == [(1,)])

    def _empty(self, ready: threading.Event) -> None:
        with self._source.other() as other:
            other.execute("BEGIN")
            other.execute("TRUNCATE http_requests")
            other.execute(
                "INSERT INTO http_requests (id, created_at, completed_at)"
                " SELECT n, clock_timestamp(), now() FROM generate_series(%s::bigint, %s) AS n",
                [self.ids[0], self.ids[-1]],
            )
            ready.set()
            if self._place == "while the lock is waited for":
                until(lambda: other.execute(WAITS.encode()).fetchone() == (1,))
            other.execute("COMMIT")

    def ended(self) -> None:
        """Wait until the table is emptied."""
        assert self._thread is not None
        self._thread.join()


@pytest.mark.fault(12)
@pytest.mark.parametrize("place", PLACES)
def test_truncate_at_each_place(
    source: Source, harness: PollerHarness, tally: Tally, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Rows under the read's lock are archived, rows after TRUNCATE too: in this poll, or in the next one."""
    source.tell_the_truth()
    ledger = Ledger(harness)
    for seed in range(times(1, 30)):
        with Steps(seed) as steps:
            steps.write(source)
            ledger.poll(source)
            steps.write(source)
        ledger.note(source)
        there = {number for (number,) in source.run("SELECT id FROM http_requests")}
        emptying = Emptying(source, place, -10 * (seed + 1))
        with monkeypatch.context() as patch:
            _at(patch, PLACES[place], emptying)
            harness.polled()
        emptying.ended()
        before = PLACES[place] == "LOCK TABLE"
        assert {*harness.ids(), *harness.open_ids()} >= (set(emptying.ids) if before else there)
        ledger.poll(source)
        ledger.poll(source)
        ledger.balance(tally)
        assert harness.incidents()["truncated"] == seed + 1


def _at(patch: pytest.MonkeyPatch, place: str, happens: Callable[[], None]) -> None:
    """Let something happen before the agent's statement that begins so, or after the first rows of a copy."""
    execute, copy_out = psycopg.Connection.execute, binary_copy.copy_out

    def executing(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - psycopg's own
        text = query.decode() if isinstance(query, bytes) else str(query)
        if connection.info.user == "readonly" and text.strip().startswith(place):
            happens()
        return execute(connection, query, *arguments, **options)

    def copied(*arguments: Any) -> Any:  # noqa: ANN401 - the generator's own signature
        with contextlib.closing(copy_out(*arguments)) as batches:
            for batch in batches:
                if place == "COPY":
                    happens()
                yield batch

    patch.setattr(psycopg.Connection, "execute", executing)
    patch.setattr("exporter.repository.session.copy_out", copied)
