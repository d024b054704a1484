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
from tests.support.soak import LONG
from tests.support.source import Source

CRASHED = 78
# More than a poll has.
MOST_STATEMENTS = 400
TOGETHER = """
    SELECT
        (SELECT count(*) FROM http_requests),
        (SELECT coalesce(sum(value), 0) FROM counters WHERE family = 'tableau_http_requests_total'),
        (SELECT coalesce(sum(value), 0) FROM counters WHERE family = 'tableau_history_rows_total'),
        (SELECT coalesce(max(max_id), 0) FROM positions),
        (SELECT greatest((SELECT max(id) FROM http_requests), (SELECT max(id) FROM http_requests_open), 0))
"""


def _crash() -> NoReturn:
    os._exit(CRASHED)


def _fail() -> NoReturn:
    raise duckdb.IOException("IO Error: no space left on device")


def _poll_until(parameters: Mapping[str, str | int], path: Path, last: int) -> None:
    """Poll in a process that ends at the n-th statement."""
    duckdb.connect = failing_at(duckdb.connect, last, _crash)
    PollerHarness(parameters, path, tables=False).polled()


def _crash_at_statements(source: Source, path: Path, tally: Tally, step: int) -> int:
    """Poll in processes that end at one statement after the other, until one ends by itself; return how many crashed.

    After each crash the history has rows, counters and position together.
    """
    for crashes, last in enumerate(range(1, MOST_STATEMENTS, step)):
        first = (source.run("SELECT coalesce(max(id), 0) FROM http_requests")[0][0] // 10 + 1) * 10
        source.requests(first, first + 4)
        source.request(first + 5, completed_at=None)
        source.run("UPDATE http_requests SET completed_at = now() WHERE completed_at IS NULL AND id < %s", first)
        code = ended(_poll_until, source.readonly, path, last)
        assert code in {ENDED, CRASHED}
        if code == ENDED:
            return crashes
        tally.run()
        with duckdb.connect(str(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            if {"http_requests", "counters", "positions"} <= tables:
                rows, requests, counted, position, newest = connection.execute(TOGETHER).fetchall()[0]
                assert rows == requests == counted
                assert position == newest
    raise AssertionError(f"a poll has more than {MOST_STATEMENTS} statements")


def _is_complete(source: Source, path: Path) -> None:
    harness = PollerHarness(source.readonly, path, tables=False)
    harness.polled(exact=True)
    there = {number for (number,) in source.run("SELECT id FROM http_requests")}
    assert {*harness.ids(), *harness.open_ids()} == there
    harness.assert_once()


@pytest.mark.slow
@pytest.mark.fault(36)
def test_every_statement_may_be_the_last(source: Source, tmp_path: Path, tally: Tally) -> None:
    """A poll that crashes leaves rows, counters and position together, and the next one completes them."""
    path = tmp_path / "history.duckdb"
    source.requests(1, 4)
    # The tables are made in a transaction before that of the rows.
    PollerHarness(source.readonly, path, tables=False).polled()
    assert _crash_at_statements(source, path, tally, 1) > 20
    _is_complete(source, path)


@pytest.mark.slow
@pytest.mark.fault(36)
def test_a_crash_while_the_history_is_created(source: Source, tmp_path: Path, tally: Tally) -> None:
    """A first poll that crashes leaves a file that the next one completes."""
    path = tmp_path / "history.duckdb"
    assert _crash_at_statements(source, path, tally, 1 if LONG else 7) > 10
    _is_complete(source, path)


@pytest.mark.slow
@pytest.mark.fault(39)
def test_an_error_at_any_statement(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing statement voids its transaction; the poll reports it, and the next one archives everything once."""
    harness = PollerHarness(source.readonly, tmp_path / "history.duckdb", tables=False)
    connect = duckdb.connect
    failures, succeeded = 0, False
    while not succeeded:
        failures += 1
        source.requests(failures * 10, failures * 10 + 4)
        monkeypatch.setattr(duckdb, "connect", failing_at(connect, failures, _fail))
        succeeded = harness.poll()
        monkeypatch.setattr(duckdb, "connect", connect)
        harness.poll()
        # The next failure follows after some statements more: there are as many as in a whole poll.
        failures += 2 * (not succeeded)
    assert failures > 20
    assert harness.ids() == [number for (number,) in source.run("SELECT id FROM http_requests ORDER BY id")]
    harness.assert_once()
