"""``history query`` and ``history info`` as commands: formats of the answer, limits, and refusals."""

import json
import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from tests.history.synthetic_history import BEGIN, SyntheticHistory, configured, copied, requests

ROOT = Path(__file__).parents[1]
SQL = "SELECT id, created_at, '=1+1' AS formula, NULL AS nothing, '' AS empty, true AS yes, [1, 2] AS list FROM usage"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of three days in each of two months."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("made") / "history.duckdb")
    for day in (0, 1, 2, 40, 41, 44):
        at = BEGIN + timedelta(days=day)
        synthetic.poll(at + timedelta(hours=2), requests(10 * day, 5, at))
    return synthetic.file.path


@pytest.fixture
def path(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and an environment that names the copy."""
    configured(tmp_path, monkeypatch)
    return copied(made, tmp_path)


def history(*arguments: str, given: str | bytes | None = None) -> Result:
    """Run a command of ``history``."""
    return CliRunner().invoke(main, ["history", *arguments], input=given)


def test_csv_where_no_terminal_is(path: Path) -> None:
    """CSV for spreadsheets: NULL and the empty text are kept apart, no text is a formula, instants are UTC."""
    result = history("query", f"{SQL} ORDER BY id LIMIT 1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout_bytes == (
        b'id,created_at,formula,nothing,empty,yes,list\r\n0,"2025-01-01 00:00:00","\'=1+1",,"","true","[1,2]"\r\n'
    )
    assert history("query", "--format=csv", f"{SQL} ORDER BY id LIMIT 1").stdout == result.stdout


def test_json(path: Path) -> None:
    """One array of objects, types kept, instants as ISO 8601."""
    result = history("query", "--format=json", f"{SQL} ORDER BY id LIMIT 1")
    assert json.loads(result.stdout) == [
        {
            "id": 0,
            "created_at": "2025-01-01T00:00:00Z",
            "formula": "=1+1",
            "nothing": None,
            "empty": "",
            "yes": True,
            "list": [1, 2],
        }
    ]
    sql = (
        "SELECT 'infinity'::TIMESTAMP AS a, TIMESTAMPTZ '2025-01-01 10:00:00.5+02' AS b,"
        " 'nan'::DOUBLE AS c, ['inf'::DOUBLE] AS d"
    )
    found = json.loads(history("query", "--format=json", sql).stdout)
    assert found == [{"a": "infinity", "b": "2025-01-01T08:00:00.5Z", "c": None, "d": [None]}]
    assert history("query", "--format=json", "FROM usage WHERE false").stdout == "[]\n"


def test_json_has_no_two_keys_alike(path: Path) -> None:
    """Two columns of one name would be one in JSON: that is refused, not lost."""
    result = history("query", "--format=json", "SELECT 1 AS a, 2 AS a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "two columns are called 'a', of which JSON keeps one: rename one with AS\n"


def test_a_table(path: Path) -> None:
    """A table for a terminal: nothing is cut, NULL differs from the empty text, control characters are escaped."""
    result = history(
        "query", "--format=table", "SELECT 1 AS id, NULL AS \"no\nthing\", '' AS empty, 'a\x1b[31m' AS name"
    )
    assert result.stdout.splitlines() == [
        "id  no\\nthing  empty  name",
        "--------------------------",
        "1   NULL              a\\x1b[31m",
    ]


def test_a_table_on_a_terminal(path: Path) -> None:
    """On a terminal a table is the default."""
    command = [sys.executable, "-m", "exporter", "history", "query", "SELECT 1 AS one"]
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, stdout=theirs, env=environment, check=True)
        assert terminal.read(1000).split() == [b"one", b"---", b"1"]
    os.close(theirs)


def test_sql_from_standard_input(path: Path) -> None:
    """A dash reads the statement from standard input, which is refused where it is no text."""
    assert history("query", "-", given="-- ü\nSELECT count(*) AS n\nFROM usage;\n").stdout.split() == ["n", "30"]
    result = history("query", "-", given=b"SELECT '\xff'")
    assert (result.exit_code, result.stderr) == (1, "the SQL is no text: it has a zero byte, or is not UTF-8\n")


def test_the_limit_of_rows(path: Path) -> None:
    """A cut answer is reported on stderr, with the remedy."""
    result = history("query", "--limit=7", "FROM usage")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 8)
    assert result.stderr.startswith("the first 7 rows only: there are more; give a greater --limit")
    assert history("query", "--limit=30", "FROM usage").stderr == ""


def test_the_limit_of_time(path: Path) -> None:
    """A query over its time limit ends with 1 and one line."""
    result = history("query", "--timeout=100ms", "SELECT sleep_ms(3600000)")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr == "stopped after 100 ms, so that the agent can write: query less, or give a longer --timeout\n"
    )
    for wrong in ("0s", "8"):
        assert history("query", f"--timeout={wrong}", "SELECT 1").exit_code == 2


def test_output(path: Path, tmp_path: Path) -> None:
    """A file is written whole or not at all, CSV unless another format is given."""
    out = tmp_path / "out"
    result = history("query", f"--output={out}", "SELECT 1 AS a")
    assert (result.exit_code, result.stdout, out.read_text()) == (0, "", "a\n1\n")
    for sql in ("SELECT nope", "SELECT 1 AS a, 2 AS a"):
        assert history("query", "--format=json", f"--output={out}", sql).exit_code == 1
        assert out.read_text() == "a\n1\n"
    result = history("query", f"--output={tmp_path}/nowhere/out", "SELECT 1")
    assert (result.exit_code, "nowhere" in result.stderr) == (1, True)
    assert sorted(left.name for left in tmp_path.iterdir()) == ["history.duckdb", "out"]


def test_mistakes(path: Path) -> None:
    """DuckDB's refusal is one line with its suggestion, and exit code 1."""
    result = history("query", "FROM usag")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert 'Table with name usag does not exist! Did you mean "usage"?' in result.stderr
    assert history("query", "DELETE FROM http_requests").exit_code == 1
    path.unlink()
    assert history("query", "SELECT 1").stderr == f"{path}: no such file; check history.path and --config.file\n"


def test_the_file_is_let_go_before_anything_is_written(path: Path) -> None:
    """While a reader is slow, the agent can write: nothing is sent before the file is closed."""
    program = "FROM range(1000000) SELECT range, repeat('x', 100) AS text"
    command = [sys.executable, "-m", "exporter", "history", "query", "--limit=1000000", "--timeout=10m", program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TABLEAU_EXPORTER_HISTORY__MEMORY_LIMIT": "1GB"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE written (a INTEGER)")
        process.kill()


def test_info(path: Path) -> None:
    """The span, rows by table and month, gaps, losses, positions and last polls, line by line."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO counters VALUES ('tableau_history_possibly_lost_requests_total', [], 7)")
        connection.execute(
            "INSERT INTO incidents VALUES ('2025-01-02', 'truncated', 'first'), ('2025-01-03', 'truncated', 'last')"
        )
    result = history("info")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    for expected in (
        ["requests", "2025-01-01", "00:00", "to", "2025-02-14", "00:00"],
        ["possibly", "lost", "7", "requests", "at", "most"],
        ["last", "polls", "exact", "2025-02-14", "02:00"],
        ["http_requests", "30", "30", "0"],
        ["2025-01", "15", "0"],
        ["2025-02", "15", "0"],
        ["2025-01-04", "2025-02-09", "37"],
        ["2025-02-12", "2025-02-13", "2"],
        ["2025-01-03", "02:00", "2025-02-10", "02:00", "38", "d"],
        ["truncated", "2", "2025-01-03", "00:00", "last"],
        ["http_requests", "1", "10", "2025-02-14", "02:00"],
    ):
        assert expected in lines


def test_info_as_json(path: Path) -> None:
    """The same as one object, whose keys stay."""
    found = json.loads(history("info", "--format=json").stdout)
    assert list(found) == [
        *("path", "bytes", "free_share", "begun", "oldest", "newest", "tables", "months", "gaps", "pauses"),
        *("possibly_lost", "incidents", "positions", "last_polls"),
    ]
    assert (found["path"], found["bytes"]) == (str(path), path.stat().st_size)
    assert 0 <= found["free_share"] < 1
    assert (found["oldest"], found["newest"]) == ("2025-01-01T00:00:00Z", "2025-02-14T00:00:04Z")
    assert {"name": "http_requests", "rows": 30, "archived": 30, "pruned": 0} in found["tables"]
    assert {"name": "positions", "rows": 2, "archived": None, "pruned": None} in found["tables"]
    assert found["months"][0] == {"month": "2025-01", "archived": 15, "pruned": 0}
    assert found["gaps"][1] == {"first": "2025-02-12", "last": "2025-02-13", "days": 2}
    assert {"begin": "2025-02-11T02:00:00Z", "end": "2025-02-14T02:00:00Z", "seconds": 259200.0} in found["pauses"]
    assert (found["possibly_lost"], found["incidents"]) == (0, [])
    assert list(found["positions"][0]) == ["source", "max_id", "horizon", "polled_at", "truncated"]
    assert found["last_polls"] == {"exact": "2025-02-14T02:00:00Z"}


def test_info_of_nothing(path: Path) -> None:
    """A history that nothing was written to yet, one of another program, and one that is held."""
    path.unlink()
    SyntheticHistory(path).history.prepare(datetime(2025, 1, 1))  # noqa: DTZ001 - naive, as in the history
    result = history("info")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "requests       none" in result.stdout.splitlines()
    assert json.loads(history("info", "--format=json").stdout)["oldest"] is None
    path.unlink()
    duckdb.connect(str(path)).close()
    result = history("info")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "not written by this version" in result.stderr
