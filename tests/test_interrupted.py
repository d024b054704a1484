"""Ctrl-C during an export or an import, as it is typed: one moment after the other, by the signal itself."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

from exporter.cli import main
from tests.history.synthetic_history import SyntheticHistory, configured
from tests.history.synthetic_history import requests as some
from tests.imports.older_tool import BEGIN, request, written

ROOT = Path(__file__).parents[1]
ROWS = 60


def interrupted(step: int, *command: str) -> None:
    """Run a command that is interrupted: it ends with 130 and prints nothing."""
    run = [sys.executable, "-m", "tests.support.interrupted_history", str(step), *command]
    ended = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.stderr, ended.stdout, ended.returncode) == ("", "", 130)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history that the environment names."""
    return configured(tmp_path, monkeypatch)


def read(format_: str, folder: Path) -> list[int]:
    """Return the ports of the exported rows, each of which is of one row."""
    if format_ == "delta":
        return sorted(DeltaTable(folder).to_pyarrow_table()["port"].to_pylist())
    if format_ == "parquet":
        return sorted(ds.dataset(folder, partitioning="hive").to_table()["port"].to_pylist())
    suffix = {"csv": "csv", "text": "txt"}[format_]
    path = folder / f"http_requests.{suffix}"
    if not path.exists():
        return []
    rows = duckdb.read_csv(str(path), header=True)
    return sorted(port for (port,) in rows.select("port").fetchall())


@pytest.mark.parametrize(("format_", "step"), [("csv", 5), ("parquet", 9), ("delta", 6), ("text", 13)])
def test_an_export(path: Path, tmp_path: Path, format_: str, step: int) -> None:
    """No reader finds a row twice or a part of one, and the next export has every row once."""
    synthetic, folder = SyntheticHistory(path), tmp_path / "out"
    for number in range(0, ROWS, 10):
        rows = some(number, 10, BEGIN).append_column("port", [list(range(number, number + 10))])
        synthetic.poll(BEGIN, rows)
    folder.mkdir()
    command = ("export", f"--format={format_}", "--table=http_requests", f"--output={folder}")
    interrupted(step, *command)
    if format_ != "delta" or (folder / "_delta_log").exists():
        assert set(Counter(read(format_, folder)).values()) <= {1}
    result = CliRunner().invoke(main, ["history", *command])
    assert (result.exit_code, result.stderr) == (0, "")
    assert read(format_, folder) == list(range(ROWS))
    left = [found.name for found in folder.rglob("*") if found.name.endswith((".new", ".part"))]
    assert left == []


def test_an_import(path: Path, tmp_path: Path) -> None:
    """Whole slices are archived or nothing, nothing is left beside the history, and the next import has the rest."""
    SyntheticHistory(path).poll(BEGIN)
    file = tmp_path / "http_requests.txt"
    file.write_text(written(request(number) for number in range(ROWS)) + "cut|off\n")
    before = {found.name for found in tmp_path.iterdir()}
    interrupted(3, "import", str(file))
    assert {found.name for found in tmp_path.iterdir()} - before <= {"history.duckdb.import.lock"}
    assert len(sessions(path)) % 10 == 0
    result = CliRunner().invoke(main, ["history", "import", str(file)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert sessions(path) == [f"S{number:06d}" for number in range(ROWS)]


def sessions(path: Path) -> list[str]:
    """Return the session of each request that is archived."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return [key for (key,) in connection.execute("SELECT session_id FROM http_requests ORDER BY ALL").fetchall()]
