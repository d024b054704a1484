"""Many requests of the older tool, some of them broken: imported, exported and imported again, none lost or doubled.

``make soak`` does it with a million.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from exporter.cli import main
from exporter.imports.dialect import COLUMNS, NEWER_NAMES
from tests.history.synthetic_history import SyntheticHistory, configured
from tests.imports.older_tool import BEGIN, line, request
from tests.support.soak import LONG, times

ROWS = times(20_000, 1_000_000)
EVERY = times(200, 1_000)
"""Of so many lines one is broken."""
KINDS = 5
_NUMBER = re.compile(r"views/Sales/Overview(\d+)\|")


def broken(number: int) -> str:
    """Return a request as a text file has it after an accident, each time another."""
    agent = {"http_user_agent": f"Mozilla/5.0 (odd\nand | even) of {number}"}
    whole = line(request(number))
    return [
        whole[: 99 + number // EVERY % 90] + "\n",
        line(request(number, http_user_agent=f"Mozilla/5.0 (of\ntwo lines) {number}")),
        line(request(number, http_request_uri=f"/views/Sales/Overview|{number}")),
        line(request(number, **agent)),
        whole.replace("|8001|", "|port|"),
    ][number // EVERY % KINDS]


def lines() -> Iterator[str]:
    """Yield the lines of the file."""
    yield "|".join(NEWER_NAMES) + "\n"
    for number in range(ROWS):
        yield broken(number) if number % EVERY == EVERY // 2 else line(request(number))


def history(*arguments: str) -> str:
    """Run a command of ``history``, which succeeds, and return its report."""
    result = CliRunner().invoke(main, ["history", *arguments])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def contents(path: Path) -> list[tuple[object, ...]]:
    """Return how many requests are archived, and a sum of all that text files have of them."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(f"SELECT count(*), sum(hash({', '.join(COLUMNS)})) FROM http_requests").fetchall()


@pytest.mark.timeout(7200 if LONG else 300)
def test_each_line_is_a_request_or_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken lines are recovered or among the rejects; all others are the same set after an export and two imports."""
    path, other = configured(tmp_path, monkeypatch), tmp_path / "other.duckdb"
    for each in (path, other):
        SyntheticHistory(each).poll(BEGIN)
    with (tmp_path / "file.txt").open("w", newline="") as file:
        file.writelines(lines())
    history("import", "file.txt")
    with duckdb.connect(str(path), read_only=True) as connection:
        sessions = {key for (key,) in connection.execute("SELECT session_id FROM http_requests").fetchall()}
    rejected = {f"S{int(number):06d}" for number in _NUMBER.findall((tmp_path / "file.txt.rejects").read_text())}
    assert sessions | rejected == {f"S{number:06d}" for number in range(ROWS)}
    assert not sessions & rejected
    assert len(rejected) == ROWS // EVERY * 2 // KINDS
    before = contents(path)
    (tmp_path / "exported").mkdir()
    history("export", "--format=text", "--table=http_requests", "--output=exported")
    exported = "exported/http_requests.txt"
    assert f"0 requests imported; {len(sessions):,} are archived already" in history("import", exported)
    assert contents(path) == before
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", str(other))
    assert f"{len(sessions):,} requests imported" in history("import", exported)
    assert contents(other) == before
    assert before[0][0] == len(sessions)
