"""One file for one agent, and for any number of readers: readers delay a poll, agents refuse to be two."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from exporter.history.file import Limits
from tests.support.agent_process import Agent
from tests.support.components import refuse
from tests.support.poller_harness import PollerHarness
from tests.support.program import run
from tests.support.source import Source
from tests.support.wait import PATIENCE_SECONDS

OPENINGS = 50
OLDEST_DUCKDB = "1.5.5"

EXACT_AT = "SELECT epoch(max(marked_at)) FROM marks WHERE name IN ('poll:exact', 'poll:full')"

OPEN = """
import sys, time, duckdb
path, openings = sys.argv[1], int(sys.argv[2])
worst = 0.0
for _ in range(openings):
    begun = time.monotonic()
    while True:
        try:
            with duckdb.connect(path, read_only=True) as connection:
                connection.execute("SELECT count(*) FROM http_requests").fetchall()
            break
        except duckdb.IOException:
            if time.monotonic() - begun > 2.0:
                raise
            time.sleep(0.01)
    worst = max(worst, time.monotonic() - begun)
    time.sleep(0.07)
print(f"{worst:.3f}")
"""


@pytest.mark.fault(40)
def test_a_second_process_reads_while_the_agent_polls(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of fifty readers opens the file within two seconds, and the agent loses nothing by them."""
    source.requests(1, 1000)
    with Agent(tmp_path, source.readonly) as agent:
        agent.polled()
        read = [sys.executable, "-c", OPEN, str(agent.history), str(OPENINGS)]
        worst = subprocess.run(read, check=True, capture_output=True, text=True).stdout.strip()
        source.requests(1001, 1010)
        agent.polled()
        assert agent.value("tableau_history_rows_total", table="http_requests") == 1010
        with capsys.disabled():
            print(f"\n{OPENINGS} openings while the agent polls every second: the slowest took {worst} s")  # noqa: T201


@pytest.mark.fault(40)
def test_a_reader_delays_and_loses_nothing(source: Source, tmp_path: Path) -> None:
    """A reader who holds the file for some seconds is waited for; then everything is written, without an incident."""
    with Agent(tmp_path, source.readonly) as agent:
        agent.polled()
        with _reading(agent.history) as held:
            written_at = held.execute(EXACT_AT).fetchall()[0][0]
            source.requests(1, 10)
            end = time.monotonic() + 4.0
            while time.monotonic() < end:
                time.sleep(0.2)
                assert agent.value("tableau_up", source="repository") == 1
            # Printed in seconds, stored in microseconds.
            assert agent.exact_at() <= written_at + 0.001
        agent.polled()
        assert agent.value("tableau_history_rows_total", table="http_requests") == 10
        assert agent.value("tableau_history_incidents_total", kind="file_busy") == 0


def _reading(path: Path) -> duckdb.DuckDBPyConnection:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return duckdb.connect(str(path), read_only=True)
        except duckdb.IOException:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.fault(40)
def test_patience_that_runs_out(source: Source, tmp_path: Path) -> None:
    """A reader who stays longer than the agent's patience is an incident; the rows wait in the source."""
    path = tmp_path / "history.duckdb"
    harness = PollerHarness(source.readonly, path, limits=Limits(patience_seconds=0.2))
    harness.polled()
    reader = "import sys, duckdb; c = duckdb.connect(sys.argv[1], read_only=True); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", reader, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        source.requests(1, 10)
        for _ in range(2):
            assert not harness.poll()
            assert "http_requests" in harness.errors()
        harness.restart()
        assert not harness.poll()
        process.kill()
    harness.polled()
    # Counted once a poll; those of an agent that ended before it could write are not known.
    assert harness.incidents() == {"file_busy": 1}
    assert harness.ids() == list(range(1, 11))
    harness.assert_once()


@pytest.mark.fault(40)
def test_a_second_agent_ends(source: Source, tmp_path: Path) -> None:
    """A second agent on the same file ends at once with one line that has the reason."""
    with Agent(tmp_path, source.readonly) as agent:
        second = run("run", environment={"PATH": "/usr/bin:/bin", **agent.environment})
        assert second.returncode == 1
        messages = [line for line in second.stderr.splitlines() if line]
        assert "another agent writes this history" in messages[-1]
        assert "Traceback" not in second.stderr
        agent.polled()


@pytest.mark.fault(41)
@pytest.mark.parametrize("taken", ["history.duckdb", "history.duckdb.wal"])
def test_the_file_is_replaced(source: Source, harness: PollerHarness, taken: str) -> None:
    """A file that is removed while the agent runs is begun anew; it gets all rows that the source still has."""
    source.requests(1, 10)
    harness.polled()
    harness.file.path.with_name(taken).unlink(missing_ok=True)
    harness._before.clear()
    harness.poll()
    harness._before.clear()
    harness.poll()
    harness.polled()
    assert harness.ids() == list(range(1, 11))
    harness.assert_once()


@pytest.mark.fault(41)
def test_the_file_is_replaced_after_a_column_was_added(source: Source, harness: PollerHarness) -> None:
    """A file that is begun anew has the columns that Tableau has added since the agent started."""
    source.requests(1, 10)
    harness.polled()
    source.run("ALTER TABLE http_requests ADD COLUMN brand_new text DEFAULT 'there'")
    harness.polled()
    harness.file.path.unlink()
    for _ in range(2):
        harness._before.clear()
        harness.poll()
    harness.polled()
    assert harness.query("SELECT count(*), count(brand_new) FROM http_requests") == [(10, 10)]


@pytest.mark.fault(41)
def test_an_older_copy_is_put_back(source: Source, harness: PollerHarness) -> None:
    """An older copy of the file is completed from the rows that the source still has."""
    source.requests(1, 10)
    harness.polled()
    copy = harness.file.path.read_bytes()
    source.requests(11, 20)
    harness.polled()
    harness.file.path.write_bytes(copy)
    harness._before.clear()
    harness.poll()
    source.requests(21, 30)
    harness.polled()
    assert harness.ids() == list(range(1, 31))
    harness.assert_once()


@pytest.mark.fault(41)
def test_an_older_copy_is_put_back_under_a_running_agent(source: Source, tmp_path: Path) -> None:
    """An agent that finds an older copy in the place of its file completes it at the next polls, without a restart."""
    with Agent(tmp_path, source.readonly) as agent:
        source.requests(1, 10)
        agent.polled()
        with agent.between_polls() as path:
            copy = path.read_bytes()
        source.requests(11, 20)
        agent.polled()
        with agent.between_polls() as path:
            path.write_bytes(copy)
            source.requests(21, 30)
        agent.until(lambda: agent.value("tableau_history_rows_total", table="http_requests") == 30, "it is completed")
        agent.polled()
        assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(30, 30)]
        assert (agent.value("tableau_history_incidents_total", kind="file_replaced") or 0) > 0
        assert "internal error" not in agent.logged()
        assert agent.stop() == 0


def test_the_oldest_duckdb_reads_the_file(
    source: Source, naming_harness: PollerHarness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The owner's tools open the file with DuckDB 1.5.5, and ``usage`` has one row a request, with names."""
    book, namespace = source.run(
        "SELECT w.repository_url, coalesce(nullif(s.url_namespace, ''), 'default') FROM workbooks AS w"
        " JOIN sites AS s ON s.id = w.site_id JOIN views AS v ON v.workbook_id = w.id WHERE w.site_id = 1 LIMIT 1"
    )[0]
    for number in range(1, 21):
        source.request(number, currentsheet=f"{book}/Anything" if number % 2 else None, user_id=number)
    naming_harness.polled()
    folder = tmp_path_factory.mktemp("duckdb")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", f"--target={folder}"]
    if subprocess.run([*install, f"duckdb=={OLDEST_DUCKDB}"], capture_output=True, check=False).returncode:
        refuse(f"duckdb {OLDEST_DUCKDB} cannot be installed; the test needs pip and a package index")
    script = f"""
import sys; sys.path.insert(0, {str(folder)!r})
import duckdb
assert duckdb.__version__ == {OLDEST_DUCKDB!r}
with duckdb.connect({str(naming_harness.file.path)!r}, read_only=True) as connection:
    print(connection.execute("SELECT count(*), count(DISTINCT id), count(user_name), count(workbook_name),"
        " count(project_name), count(owner_name), min(site), max(site) FROM usage").fetchall()[0])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    rows, ids, users, books, projects, owners, first, last = ast.literal_eval(answer)
    assert (rows, ids, books, projects, owners) == (20, 20, 10, 10, 10)
    assert users > 10
    assert (first, last) == (namespace, namespace)
