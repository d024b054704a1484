"""A disk that is full, a real one of some megabytes: with room again, nothing is lost and nothing is doubled."""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.history.file import Limits
from tests.archive.mounts import Disk, small_disk
from tests.support.agent_process import Agent
from tests.support.forked_process import ENDED, ended
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source

pytestmark = pytest.mark.fault(39)

POLLS = 2
ROOMY = Limits(free_bytes=0)


def some(source: Source) -> None:
    """A poll's few rows."""
    source.requests(2001, 2010)


def many(source: Source) -> None:
    """More rows than are written in one go: they are read in ranges."""
    source.requests(2001, 12_000)


def wide(source: Source) -> None:
    """Rows that do not fit into memory."""
    many(source)
    source.run("UPDATE http_requests SET http_user_agent = repeat(md5(id::text), 100) WHERE id > 2000")


def columns(source: Source) -> None:
    """Another column, which the history adds and checkpoints at once."""
    some(source)
    source.run("ALTER TABLE http_requests ADD COLUMN tenant text DEFAULT 'none'")


def emptied(source: Source) -> None:
    """A table that is read whole, in ranges."""
    source.run("TRUNCATE http_requests")
    many(source)


@dataclass(frozen=True)
class Place:
    """The place of a full disk: the write that fills it, the room left, and DuckDB's message."""

    befalls: Callable[[Source], None]
    most_free: int
    says: str
    least_free: int = 0
    known: bool = True
    memory: str = "256MB"


PLACES = {
    "creating": Place(some, 12_000, "Could not write file", known=False),
    "tables": Place(some, 400_000, "Failed to create checkpoint", 20_000, known=False),
    "log": Place(many, 600_000, "history.duckdb.wal"),
    "log of ranges": Place(emptied, 600_000, "history.duckdb.wal"),
    "checkpoint": Place(columns, 500_000, "Failed to create checkpoint", 20_000),
    "temporary folder": Place(wide, 3_000_000, "failed to offload", 100_000, memory="16MB"),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of the history's own."""
    with small_disk(tmp_path / "disk", 160) as made:
        yield made


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PLACES)
def test_full(name: str, source: Source, disk: Disk, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the disk is full, the polls report it once, and with room again everything is archived once."""
    monkeypatch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: 5000)
    place = PLACES[name]
    chance = random.Random(name)
    errors = set()
    for run in range(times(1, 9)):
        path = disk.folder / str(run) / "history.duckdb"
        path.parent.mkdir()
        harness = PollerHarness(
            source.readonly, path, limits=Limits(memory=place.memory, free_bytes=0), tables=place.known
        )
        source.requests(1, 2000)
        if place.known:
            harness.polled()
        place.befalls(source)
        archived = {*harness.ids()} if place.known else set()
        disk.leave(chance.randint(place.least_free, place.most_free))
        errors |= _failed(harness)
        if chance.random() < 0.5:
            # The agent is restarted meanwhile.
            harness.restart()
            errors |= _failed(harness)
        disk.clear()
        harness.polled(exact=True)
        there = {number for (number,) in source.run("SELECT id FROM http_requests")} | archived
        here = [*harness.ids(), *harness.open_ids()]
        tally.run(lost=len(there - set(here)), doubled=len(here) - len(set(here)))
        assert sorted(here) == sorted(there)
        harness.assert_once()
        # A full disk is not the log's fault.
        assert not list(path.parent.glob("*.damaged-*"))
        assert "log_quarantined" not in harness.incidents()
        assert harness.incidents()["file_unwritable"] > 0
        source.run("TRUNCATE http_requests")
        source.run("ALTER TABLE http_requests DROP COLUMN IF EXISTS tenant")
        shutil.rmtree(path.parent)
    assert all("nothing is archived until there is more room" in error for error in errors)
    assert any(place.says in error for error in errors)


def _failed(harness: PollerHarness) -> set[str]:
    """Poll while the disk is full; return the logged errors."""
    with capture_logs() as logged:
        for _ in range(POLLS):
            assert not harness.poll(exact=True)
    errors = [event["error"] for event in logged if event["event"].startswith("the history was not written")]
    assert len(errors) == len(set(errors))
    return set(errors)


def test_a_checkpoint_that_fails_at_closing(source: Source, disk: Disk) -> None:
    """With room for the log alone the rows are archived: the next checkpoint moves them into the file."""
    harness = PollerHarness(source.readonly, disk.folder / "history.duckdb", limits=ROOMY, tables=False)
    log = disk.folder / "history.duckdb.wal"
    source.requests(1, 2000)
    harness.polled()
    disk.leave(60_000)
    source.requests(3000, 3004)
    harness.polled(exact=True)
    assert log.stat().st_size > 0
    source.requests(3010, 3014)
    # What the checkpoint has begun to write takes the room of the next log.
    harness.poll(exact=True)
    harness.restart()
    harness.poll(exact=True)
    disk.clear()
    harness.polled(exact=True)
    assert not log.exists()
    assert harness.ids() == [number for (number,) in source.run("SELECT id FROM http_requests ORDER BY id")]
    harness.assert_once()


def _crash(parameters: Mapping[str, str | int], path: Path) -> None:
    with Source(parameters) as source:
        harness = PollerHarness(source.readonly, path, limits=ROOMY, tables=False)
        harness.polled()
        harness.file._keep_for = float("inf")
        wide(source)
        harness.polled(exact=True)


@pytest.mark.parametrize("memory", ["16MB", "256MB"], ids=["spilling", "checkpointing"])
def test_a_crash_and_then_no_room(memory: str, source: Source, disk: Disk) -> None:
    """A log that a crash has left and that finds no room when it is replayed is not blamed: it is replayed later."""
    source.requests(1, 2000)
    path = disk.folder / "history.duckdb"
    assert ended(_crash, source.parameters, path) == ENDED
    harness = PollerHarness(source.readonly, path, limits=Limits(memory=memory, free_bytes=0), tables=False)
    disk.leave(3_000_000)
    assert "nothing is archived until there is more room" in _failed(harness).pop()
    assert not list(disk.folder.glob("*.damaged-*"))
    disk.clear()
    harness.file.limits = ROOMY
    harness.polled(exact=True)
    assert harness.ids() == [number for (number,) in source.run("SELECT id FROM http_requests ORDER BY id")]
    assert "log_quarantined" not in harness.incidents()
    harness.assert_once()


def test_the_agent_serves_on(source: Source, disk: Disk, tmp_path: Path) -> None:
    """An agent whose disk fills up logs it once, serves its state, and archives again when there is room."""
    source.requests(1, 100)
    path = disk.folder / "history.duckdb"
    with Agent(tmp_path, source.readonly, HISTORY__PATH=str(path)) as agent:
        agent.history = path
        agent.polled()
        with agent.between_polls():
            disk.leave(500_000)
            source.requests(101, 110)
        agent.until(lambda: agent.value("tableau_collector_success", collector="http_requests") == 0, "the poll fails")
        agent.polled_somehow()
        assert agent.value("tableau_up", source="repository") == 1
        assert agent.value("tableau_history_rows_total", table="http_requests") == 100
        assert agent.logged().count("the history was not written") == 1
        assert "less than 100 MB free; nothing is archived until there is more room" in agent.logged()
        disk.clear()
        agent.until(lambda: agent.value("tableau_history_rows_total", table="http_requests") == 110, "it goes on")
        assert (agent.value("tableau_history_incidents_total", kind="file_unwritable") or 0) > 0
        assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(110, 110)]
        assert agent.stop() == 0
