"""A process that ends at any statement of an archiving transaction leaves all of it or nothing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exporter.history import file as history_file
from tests.archive.rig import Rig
from tests.archive.source import Source

CRASHED = 77
# More than an archiving transaction has.
MOST_STATEMENTS = 200


class CrashingConnection:
    """A connection whose n-th statement is the process's last."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, counter: Iterator[int], last: int) -> None:
        self._connection = connection
        self._counter = counter
        self._last = last

    def execute(self, *arguments: Any) -> Any:  # noqa: ANN401 - DuckDB's own signature
        """Run a statement, and end the process when it was the last."""
        result = self._connection.execute(*arguments)
        if next(self._counter) == self._last:
            os._exit(CRASHED)
        return result

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever DuckDB has
        return getattr(self._connection, name)


def _poll_and_crash(rig: Rig, last: int) -> int:
    """Poll in a process that ends at the n-th statement; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            counter = iter(range(1, 10_000))
            connect = history_file.duckdb.connect
            history_file.duckdb.connect = lambda *arguments, **options: CrashingConnection(  # type: ignore[assignment]
                connect(*arguments, **options), counter, last
            )
            rig.restart()
            os._exit(0 if rig.poll() else 1)
        except BaseException:  # noqa: BLE001 - a forked test must not run on
            os._exit(2)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.slow
def test_every_statement_may_be_the_last(source: Source, tmp_path: Path) -> None:
    """Wherever the process ends, the next one finds rows, counters and position together, and completes them."""
    crashes = 0
    path = tmp_path / "history.duckdb"
    for last in range(1, MOST_STATEMENTS, 2):
        source.requests(last * 10, last * 10 + 4)
        source.request(last * 10 + 5, completed_at=None)
        source.run("UPDATE http_requests SET completed_at = now() WHERE completed_at IS NULL AND id < %s", last * 10)
        code = _poll_and_crash(Rig(source.readonly, path), last)
        assert code in {0, CRASHED}
        crashes += code == CRASHED
        with duckdb.connect(str(path)) as connection:
            counted = connection.execute(
                "SELECT (SELECT count(*) FROM http_requests),"
                " (SELECT coalesce(sum(value), 0) FROM counters WHERE family = 'tableau_http_requests_total'),"
                " (SELECT count(*) FROM duckdb_tables() WHERE table_name = 'http_requests')"
            ).fetchall() if _has_tables(connection) else [(0, 0, 0)]
            assert counted[0][0] == counted[0][1], last
        if code == 0:
            break
    rig = Rig(source.readonly, path)
    rig.polled(exact=True)
    there = {number for (number,) in source.run("SELECT id FROM http_requests")}
    assert {*rig.ids(), *rig.open_ids()} == there
    assert crashes > 10
    rig.assert_once()


def _has_tables(connection: duckdb.DuckDBPyConnection) -> bool:
    rows = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'counters'").fetchall()
    return bool(rows[0][0])


def test_an_error_at_any_statement(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that fails voids its transaction; the poll says so, and the next one archives everything once."""
    rig = Rig(source.readonly, tmp_path / "history.duckdb")
    connect = duckdb.connect
    last, succeeded = 0, False
    while not succeeded:
        last += 1
        source.requests(last * 10, last * 10 + 4)
        statements = 0

        class Failing(CrashingConnection):
            def execute(self, *arguments: Any) -> Any:  # noqa: ANN401
                nonlocal statements
                statements += 1
                if statements == last:
                    raise duckdb.IOException("IO Error: no space left on device")
                return self._connection.execute(*arguments)

        monkeypatch.setattr(
            history_file.duckdb,
            "connect",
            lambda *arguments, failing=Failing, **options: failing(connect(*arguments, **options), iter(()), 0),
        )
        succeeded = rig.poll()
        monkeypatch.setattr(history_file.duckdb, "connect", connect)
        rig.poll()
    assert last > 10
    assert rig.ids() == [number for (number,) in source.run("SELECT id FROM http_requests ORDER BY id")]
    rig.assert_once()
