"""The history's folder becomes read-only, or disappears: one line reports it; the agent needs no restart."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from exporter.errors import HistoryLocked
from exporter.history.file import HistoryFile
from tests.archive.mounts import read_only
from tests.support.agent_process import Agent
from tests.support.poller_harness import PollerHarness
from tests.support.source import Source

pytestmark = pytest.mark.fault(42)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """Rename a folder, and give it its name back, as an unmounted disk comes back."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    yield
    aside.rename(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The history's own folder."""
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


@pytest.fixture
def agent(source: Source, tmp_path: Path, folder: Path) -> Iterator[Agent]:
    """An agent with its history in that folder, and its log elsewhere."""
    made = Agent(tmp_path, source.readonly, HISTORY__PATH=str(folder / "history.duckdb"))
    made.history = folder / "history.duckdb"
    with made as started:
        yield started


@pytest.mark.parametrize("befalls", [read_only, away], ids=["read-only", "away"])
def test_while_the_agent_runs(
    befalls: Callable[[Path], AbstractContextManager[None]], source: Source, folder: Path, agent: Agent
) -> None:
    """While the folder cannot be written the rows wait in the source; afterwards they are archived, once."""
    source.requests(1, 100)
    agent.polled()
    with agent.between_polls():
        incidents = befalls(folder)
        incidents.__enter__()
        source.requests(101, 110)
    try:
        agent.until(lambda: agent.value("tableau_collector_success", collector="http_requests") == 0, "it fails")
        agent.polled_somehow()
        assert agent.value("tableau_up", source="repository") == 1
        assert agent.value("tableau_history_rows_total", table="http_requests") == 100
        assert agent.logged().count("the history was not written") == 1
    finally:
        incidents.__exit__(None, None, None)
    agent.until(lambda: agent.value("tableau_history_rows_total", table="http_requests") == 110, "it goes on")
    assert (agent.value("tableau_history_incidents_total", kind="file_unwritable") or 0) > 0
    assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(110, 110)]
    assert "internal error" not in agent.logged()
    assert agent.stop() == 0


def test_removed_and_made_again(source: Source, folder: Path, agent: Agent) -> None:
    """An empty folder in the place of the removed one: the history is begun anew, and no second agent may write it."""
    source.requests(1, 100)
    agent.polled()
    with agent.between_polls():
        shutil.rmtree(folder)
        folder.mkdir()
        source.requests(101, 110)
    agent.until(lambda: agent.value("tableau_history_rows_total", table="http_requests") == 110, "it is begun anew")
    agent.polled()
    assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(110, 110)]
    with pytest.raises(HistoryLocked):
        HistoryFile(agent.history).lock()


@pytest.mark.parametrize("befalls", [read_only, away], ids=["read-only", "away"])
def test_at_start(
    befalls: Callable[[Path], AbstractContextManager[None]], source: Source, tmp_path: Path, folder: Path
) -> None:
    """An agent that cannot write its history from the start ends with one line that names the remedy."""
    with befalls(folder):
        agent = Agent(tmp_path, source.readonly, HISTORY__PATH=str(folder / "history.duckdb"))
        assert agent.start(wait=False).process.wait(60.0) == 1
    (line,) = [line for line in agent.logged().splitlines() if "history.duckdb" in line]
    assert "make the folder exist and writable for the agent, or set history.path" in line
    assert "Traceback" not in agent.logged()


def test_another_agent_has_taken_the_folder_made_anew(source: Source, folder: Path) -> None:
    """An agent whose lock was removed and that finds another's in its place writes no more."""
    harness = PollerHarness(source.readonly, folder / "history.duckdb")
    harness.file.lock()
    source.requests(1, 10)
    harness.polled()
    shutil.rmtree(folder)
    folder.mkdir()
    other = HistoryFile(harness.file.path)
    other.lock()
    assert not harness.poll()
    assert "another agent writes this history" in harness.errors()["http_requests"]
    assert not harness.file.path.exists()
    other.unlock()
    for _ in range(2):
        harness._before.clear()
        harness.poll()
    harness.polled()
    assert harness.ids() == list(range(1, 11))
    harness.file.unlock()
