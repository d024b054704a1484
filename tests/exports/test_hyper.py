"""A .hyper file: each row once, after any interruption, with types that Tableau reads."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from exporter.collectors import discover
from exporter.errors import OutputUnwritable
from exporter.exports import TABLES, ExportOptions
from exporter.history.export_reader import ExportSource, Slices
from exporter.history.history import History
from exporter.history.redaction import Privacy
from tests.exports.requests import HISTORY, NOON, OURS, Requests, ids
from tests.history.synthetic_history import SyntheticHistory, requests
from tests.support.components import require
from tests.support.hyper_server import EXTRACT, ask, left_behind
from tests.support.soak import times

if TYPE_CHECKING:
    from tableauhyperapi import HyperProcess

ROOT = Path(__file__).parents[2]
KILLED = times(3, 100)


def export(*arguments: Any) -> int:
    """Export; the library is there, or the test is skipped."""
    require("hyperd")
    from exporter.exports import hyper

    return hyper.export(*arguments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "requests.hyper"


@pytest.fixture
def read(one_hyperd: "HyperProcess") -> Callable[[Path], list[int]]:
    """Return a reader of the ids of all rows of a file, each as often as it is there."""

    def ids_of(path: Path) -> list[int]:
        return [row[0] for row in ask(one_hyperd, path, f"SELECT id FROM {EXTRACT} ORDER BY 1")]

    return ids_of


def names(folder: Path) -> list[str]:
    """Return the files of a folder."""
    return sorted(found.name for found in folder.iterdir())


def test_appended_once(tmp_path: Path, read: Callable[[Path], list[int]]) -> None:
    """A second export adds no row and leaves the file as it is, a third those archived since."""
    path = tmp_path / "new" / "http_requests.hyper"
    for transactions, new in ((4, 8), (4, 0), (7, 6)):
        before = path.read_bytes() if path.exists() else b""
        assert export(Requests(transactions), str(path.parent), OURS) == new
        assert read(path) == ids(transactions)
        assert (path.read_bytes() == before) == (new == 0)
    assert names(path.parent) == [".http_requests.hyper.export", ".http_requests.hyper.lock", "http_requests.hyper"]
    assert export(Requests(3), f"file://{path}", replace(OURS, rewrite=True)) == 6
    assert read(path) == ids(3)


def test_a_table_that_is_replaced(path: Path, read: Callable[[Path], list[int]]) -> None:
    """The file has the present rows; another history's file is left alone."""
    options = ExportOptions(HISTORY, "poll_log")
    for transactions in (3, 2):
        assert export(Requests(transactions), str(path), options) == 2 * transactions
        assert read(path) == ids(transactions)
    theirs = path.with_name("theirs.hyper")
    theirs.write_text("theirs")
    with pytest.raises(OutputUnwritable, match="was not written by an export"):
        export(Requests(1), str(theirs), options)
    with pytest.raises(OutputUnwritable, match="has the rows of another history"):
        export(Requests(1), str(path), ExportOptions("2024-01-01", "poll_log"))


def test_types_and_values(path: Path, one_hyperd: "HyperProcess") -> None:
    """Numbers, times and days have their types, lists and maps are JSON, NULL is none of them, any text is itself."""
    texts = ["", None, "\0\n\r\t\"'|\\", "Zürich \U0001f600 \u202e\u0000", "x" * 100_000]
    columns = {
        "whole": pa.array([1, None, -(2**63), 2**63 - 1, 0], pa.int64()),
        "small": pa.array([1, None, 3, 4, 5], pa.int32()),
        "hours": pa.array([0.5, None, float("inf"), -0.0, 1e300], pa.float64()),
        "true": pa.array([True, None, False, True, True]),
        "at": pa.array([NOON, None, NOON.replace(year=1), NOON.replace(year=9999, microsecond=999999), NOON]),
        "day": pa.array([NOON.date(), None, date.min, date.max, NOON.date()]),
        'a "text"': pa.array(texts),
        "list": pa.array([["a"], None, [], ["b", None], []], pa.list_(pa.string())),
        "map": pa.array([[("k", "v")], None, [], [], []], pa.map_(pa.string(), pa.string())),
    }
    rows = Requests(1)
    rows.table = pa.table(columns)
    rows.schema = rows.table.schema
    assert export(rows, str(path), ExportOptions(HISTORY, "alerts")) == 5
    found = list(zip(*ask(one_hyperd, path, f"SELECT * FROM {EXTRACT}"), strict=True))
    assert [list(column) for column in found[:4]] == [columns[name].to_pylist() for name in list(columns)[:4]]
    assert [None if at is None else at.to_datetime() for at in found[4]] == columns["at"].to_pylist()
    assert [None if day is None else day.to_date() for day in found[5]] == columns["day"].to_pylist()
    assert list(found[6]) == texts
    assert list(found[7]) == ['["a"]', None, "[]", '["b", null]', "[]"]
    assert list(found[8]) == ['{"k": "v"}', None, "{}", "{}", "{}"]
    kinds = dict(ask(one_hyperd, path, TYPES))
    assert [kinds[name] for name in columns] == EXPECTED_TYPES


TYPES = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
    WHERE attrelid = '"Extract"."Extract"'::regclass AND attnum > 0
"""
EXPECTED_TYPES = ["bigint", "integer", "double precision", "boolean", "timestamp", "date", "text", "text", "text"]


def test_a_column_that_was_added(path: Path, one_hyperd: "HyperProcess") -> None:
    """It is added to the file: rows of before have nothing in it; one that is gone is left empty."""
    export(Requests(1), str(path), OURS)
    wider = Requests(2)
    added = wider.table.append_column('new "one"', pa.array(range(4), pa.int64())).drop_columns(["action"])
    wider.table, wider.schema = added, added.schema
    assert export(wider, str(path), OURS) == 2
    found = ask(one_hyperd, path, f'SELECT id, action, "new ""one""" FROM {EXTRACT} ORDER BY 1')
    assert found == [(0, "show", None), (1, "=1+1", None), (2, None, 2), (3, None, 3)]


def test_every_table_is_what_the_history_has(tmp_path: Path, one_hyperd: "HyperProcess") -> None:
    """Every value of every row, so every count and sum, is that of DuckDB."""
    synthetic = SyntheticHistory(tmp_path / "history.duckdb")
    History(synthetic.file, discover(), Privacy()).prepare(NOON)
    for day in range(3):
        synthetic.poll(NOON.replace(day=1 + day), requests(100 * day, 20, NOON.replace(day=1 + day)))
    # A view of the latest has the columns of its table.
    for table, kind in ((name, kind) for name, kind in TABLES.items() if not name.startswith("latest_")):
        rows = Slices(synthetic.file, ExportSource(table, kind.order, kind.at, kind.base))
        export(rows, str(tmp_path), ExportOptions(rows.history, table))
        with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
            expected = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        path = tmp_path / f"{table}.hyper"
        assert path.exists() == (not kind.order or bool(expected))
        if path.exists():
            found = [tuple(map(plain, row)) for row in ask(one_hyperd, path, f"SELECT * FROM {EXTRACT}")]
            nested = [number for number, field in enumerate(rows.schema) if pa.types.is_nested(field.type)]
            assert sorted(map(repr, read_json(found, nested))) == sorted(map(repr, expected)), table


def plain(value: object) -> object:
    """Return an instant or a day of the library as Python's."""
    convert = getattr(value, "to_datetime", None) or getattr(value, "to_date", None)
    return convert() if convert else value


def read_json(rows: list[tuple[Any, ...]], columns: list[int]) -> list[tuple[Any, ...]]:
    """Return rows whose columns of lists and maps are lists and maps again."""
    return [
        tuple(json.loads(value) if number in columns and value else value for number, value in enumerate(row))
        for row in rows
    ]


def test_an_export_with_an_end(path: Path) -> None:
    """Nothing is appended to it, and it is appended to nothing."""
    bounded = replace(OURS, until=NOON)
    export(Requests(1), str(path), bounded)
    for options in (OURS, bounded):
        with pytest.raises(OutputUnwritable, match=r"requests\.hyper: an export with --until is appended to nothing"):
            export(Requests(2), str(path), options)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """Each is one line that names the place."""
    (tmp_path / "file").write_text("")
    for place, message in (
        (f"{tmp_path}/file/folder", "Not a directory"),
        (f"{tmp_path}/nowhere/requests.hyper", "nowhere: no such folder; make it"),
        ("s3://bucket/folder", r"s3://bucket/folder: a \.hyper file is written in a folder"),
    ):
        with pytest.raises(OutputUnwritable, match=message):
            export(Requests(1), place, OURS)


def test_rows_that_hyperd_lost(path: Path, read: Callable[[Path], list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """hyperd reports success also where a full disk has kept none of them: the file stays as it was."""
    from tableauhyperapi import Connection

    export(Requests(2), str(path), OURS)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "execute_command", lambda *_: 2)
        with pytest.raises(OutputUnwritable, match="of 10 rows hyperd wrote 4; check whether the disk is full"):
            export(Requests(5), str(path), OURS)
    assert names(path.parent) == [".requests.hyper.export", ".requests.hyper.lock", "requests.hyper"]
    assert read(path) == ids(2)
    assert export(Requests(5), str(path), OURS) == 6
    assert read(path) == ids(5)


def test_what_hyperd_refuses(path: Path, one_hyperd: "HyperProcess") -> None:
    """A file that is damaged is one line, and stays."""
    export(Requests(2), str(path), OURS)
    size = path.stat().st_size
    path.write_bytes(b"\0" * size)
    with pytest.raises(OutputUnwritable, match=r"requests\.hyper: hyperd: .+; check the disk") as error:
        export(Requests(3), str(path), OURS)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"\0" * size


def test_a_server_that_does_not_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one line, without the command line of the server."""
    require("hyperd")
    monkeypatch.setattr("exporter.exports.hyper.SETTINGS", {"log_config": "", "memory_limit": "nothing"})
    with pytest.raises(OutputUnwritable, match=r"hyperd: Failed to start .+ exit code: 1; check the disk") as error:
        export(Requests(1), str(path), OURS)
    assert str(error.value).isprintable()
    assert "--" not in str(error.value).replace("--output", "")


def test_interrupted(path: Path, hyper_server: "HyperProcess") -> None:
    """Nothing is half-written, and no server, log or temporary file is left."""
    export(Requests(2), str(path), OURS)

    def interrupt() -> None:
        assert len(left_behind(path.parent)) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(Requests(6, meanwhile=interrupt), str(path), OURS)
    assert left_behind(path.parent) == []
    assert names(path.parent) == [".requests.hyper.export", ".requests.hyper.lock", "requests.hyper"]
    assert [row[0] for row in ask(hyper_server, path, f"SELECT id FROM {EXTRACT} ORDER BY 1")] == ids(2)
    assert not list(Path.cwd().glob("hyperd*.log"))


def test_rights_are_those_of_any_file(path: Path, read: Callable[[Path], list[int]]) -> None:
    """Permissions of a new file follow the umask; those that its owner changes stay."""
    export(Requests(1), str(path), OURS)
    other = path.with_name("any")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode
    path.chmod(0o600)
    export(Requests(2), str(path), OURS)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.timeout(3600 if times(0, 1) else 300)
def test_killed_at_random(tmp_path: Path, hyper_server: "HyperProcess") -> None:
    """Killed at any step, or while hyperd writes, and requests are archived: every row once, and no server is left."""
    synthetic, chance = SyntheticHistory(tmp_path / "history.duckdb"), random.Random(5)
    synthetic.poll(NOON, requests(0, 50, NOON))
    target = tmp_path / "out"
    outcomes = []
    for number in range(1, 1 + KILLED):
        at = NOON.replace(microsecond=number)
        synthetic.poll(at, requests(100 * number, 50, at))
        command = [sys.executable, "-m", "tests.exports.killed_export", "hyper", str(synthetic.file.path), str(target)]
        outcomes.append(subprocess.run([*command, str(chance.randrange(16))], cwd=ROOT, check=False).returncode)
        wait_until_gone(target)
    rows = Slices(synthetic.file, ExportSource("http_requests", "archived_at", "created_at"))
    export(rows, str(target), ExportOptions(rows.history, "http_requests"))
    expected = [100 * number + row for number in range(1 + KILLED) for row in range(50)]
    found = ask(hyper_server, target / "http_requests.hyper", f"SELECT id FROM {EXTRACT} ORDER BY 1")
    assert [row[0] for row in found] == expected
    assert outcomes.count(-signal.SIGKILL) >= KILLED // 2
    assert names(target) == [".http_requests.hyper.export", ".http_requests.hyper.lock", "http_requests.hyper"]


def wait_until_gone(folder: Path) -> None:
    """Wait for a server that ends because its client has."""
    deadline = time.monotonic() + 60
    while left := left_behind(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
