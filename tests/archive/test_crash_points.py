"""A process that ends, or an error, at any statement of an archiving transaction leaves all of it or nothing."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import duckdb
import pytest

from tests.support.failing_connection import failing_at
from tests.support.forked_process import ENDED, ended
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.source import Source

CRASHED = 78
# More than a poll has.
MOST_STATEMENTS = 400


def _crash() -> NoReturn:
    os._exit(CRASHED)


def _fail() -> NoReturn:
    raise duckdb.IOException("IO Error: no space left on device")


def _poll_until(parameters: Mapping[str, str | int], path: Path, last: int) -> None:
    """Poll in a process that ends at the n-th statement."""
    duckdb.connect = failing_at(duckdb.connect, last, _crash)
    PollerHarness(parameters, path).polled()


@pytest.mark.slow
@pytest.mark.fault(36)
def test_every_statement_may_be_the_last(source: Source, tmp_path: Path, tally: Tally) -> None:
    """Wherever the process ends, the next one finds rows, counters and position together, and completes them."""
    path = tmp_path / "history.duckdb"
    together = """
        SELECT
            (SELECT count(*) FROM http_requests),
            (SELECT coalesce(sum(value), 0) FROM counters WHERE family = 'tableau_http_requests_total'),
            (SELECT coalesce(sum(value), 0) FROM counters WHERE family = 'tableau_history_rows_total'),
            (SELECT coalesce(max(max_id), 0) FROM positions),
            (SELECT greatest((SELECT max(id) FROM http_requests), (SELECT max(id) FROM http_requests_open), 0))
    """
    crashes = 0
    for last in range(1, MOST_STATEMENTS):
        source.requests(last * 10, last * 10 + 4)
        source.request(last * 10 + 5, completed_at=None)
        source.run("UPDATE http_requests SET completed_at = now() WHERE completed_at IS NULL AND id < %s", last * 10)
        code = ended(_poll_until, source.readonly, path, last)
        assert code in {ENDED, CRASHED}
        if code == ENDED:
            break
        crashes += 1
        tally.run()
        with duckdb.connect(str(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            if {"http_requests", "counters", "positions"} <= tables:
                rows, requests, counted, position, newest = connection.execute(together).fetchall()[0]
                assert rows == requests == counted
                assert position == newest
    assert 20 < crashes < MOST_STATEMENTS - 1
    rig = PollerHarness(source.readonly, path)
    rig.polled(exact=True)
    there = {number for (number,) in source.run("SELECT id FROM http_requests")}
    assert {*rig.ids(), *rig.open_ids()} == there
    rig.assert_once()


@pytest.mark.slow
@pytest.mark.fault(39)
def test_an_error_at_any_statement(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that fails voids its transaction; the poll says so, and the next one archives everything once."""
    rig = PollerHarness(source.readonly, tmp_path / "history.duckdb")
    connect = duckdb.connect
    failures, succeeded = 0, False
    while not succeeded:
        failures += 1
        source.requests(failures * 10, failures * 10 + 4)
        monkeypatch.setattr(duckdb, "connect", failing_at(connect, failures, _fail))
        succeeded = rig.poll()
        monkeypatch.setattr(duckdb, "connect", connect)
        rig.poll()
        # The next failure follows after some statements more: there are as many as in a whole poll.
        failures += 2 * (not succeeded)
    assert failures > 20
    assert rig.ids() == [number for (number,) in source.run("SELECT id FROM http_requests ORDER BY id")]
    rig.assert_once()
