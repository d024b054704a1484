"""DuckDB refuses a damaged file or its content; the agent logs it once, serves, and waits for a good one."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.agent_process import Agent
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source

# DuckDB's file: three headers, then blocks.
HEADERS, BLOCK = 3 * 4096, 262_144
POLLS = 4

Damage = Callable[[random.Random, Sequence[bytes]], bytes]


def flipped(chance: random.Random, versions: Sequence[bytes]) -> bytes:
    """Flip one bit anywhere."""
    damaged = bytearray(versions[-1])
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def overwritten(chance: random.Random, versions: Sequence[bytes]) -> bytes:
    """Put other bytes in the place of some."""
    damaged = bytearray(versions[-1])
    size = chance.choice((64, 4096, BLOCK))
    at = chance.randrange(len(damaged) - size)
    damaged[at : at + size] = chance.randbytes(size)
    return bytes(damaged)


def cut(chance: random.Random, versions: Sequence[bytes]) -> bytes:
    """Lose the end."""
    return versions[-1][: chance.randrange(1, len(versions[-1]))]


def misplaced(chance: random.Random, versions: Sequence[bytes]) -> bytes:
    """Exchange two blocks: each is whole by its checksum."""
    damaged = bytearray(versions[-1])
    one, other = (_block(number) for number in chance.sample(range(_blocks(damaged)), 2))
    damaged[one], damaged[other] = damaged[other], damaged[one]
    return bytes(damaged)


def stale(chance: random.Random, versions: Sequence[bytes]) -> bytes:
    """Forget that a block was written, as a disk does that lies about it; or that the headers were."""
    damaged, older = bytearray(versions[-1]), chance.choice(versions[:-1])
    place = chance.choice((slice(4096, HEADERS), _block(chance.randrange(_blocks(older)))))
    damaged[place] = older[place]
    return bytes(damaged)


def _blocks(file: bytes | bytearray) -> int:
    return (len(file) - HEADERS) // BLOCK


def _block(number: int) -> slice:
    return slice(HEADERS + number * BLOCK, HEADERS + (number + 1) * BLOCK)


@pytest.fixture
def versions(source: Source, harness: PollerHarness) -> Sequence[bytes]:
    """One file as it was after each of some polls."""
    found = []
    for poll in range(POLLS):
        source.requests(poll * 5000 + 1, poll * 5000 + 5000)
        source.request(100_000 + poll, completed_at=None)
        source.run("UPDATE http_requests SET completed_at = created_at WHERE completed_at IS NULL AND id % 2 = 0")
        harness.polled(exact=True)
        found.append(harness.file.path.read_bytes())
    return found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("damage", [flipped, overwritten, cut, misplaced, stale])
def test_whatever_is_damaged(
    damage: Damage, source: Source, harness: PollerHarness, versions: Sequence[bytes], tmp_path: Path, tally: Tally
) -> None:
    """A damaged file raises no unexpected error: the line names the remedy, and a good file in its place goes on."""
    chance = random.Random(damage.__name__)
    found = 0
    for run in range(100):
        # Which bytes are read is chance: until some of them are damaged no fault is found.
        if run >= times(2, 100) and found:
            break
        path = tmp_path / f"{run}.duckdb"
        path.write_bytes(damage(chance, versions))
        damaged = PollerHarness(source.readonly, path)
        source.requests(200_000 + run * 10, 200_000 + run * 10 + 4)
        # Not all that is damaged is read at once, and a stale block that is whole has no fault.
        if not damaged.poll(exact=True):
            found += 1
            assert "nothing is archived until a backup is put back" in damaged.errors()["http_requests"]
        path.write_bytes(versions[-1])
        path.with_name(path.name + ".wal").unlink(missing_ok=True)
        _polled_until_whole(damaged)
        there = sorted(number for (number,) in source.run("SELECT id FROM http_requests"))
        here = sorted([*damaged.ids(), *damaged.open_ids()])
        tally.run(lost=len(set(there) - set(here)), doubled=len(here) - len(set(here)))
        assert here == there
        damaged.assert_once()
        path.unlink()
    assert found


def _polled_until_whole(harness: PollerHarness) -> None:
    """Poll a file that was put back: the first poll may find that it is not the one it knew."""
    for _ in range(2):
        # What a damaged file counted is no measure.
        harness._before.clear()
        harness.poll(exact=True)
    harness.polled(exact=True)


def _flipped_pages(file: bytes) -> bytes:
    """Flip a bit in every page of a file but its headers: it opens, and nothing in it can be read."""
    damaged = bytearray(file)
    for at in range(HEADERS + 100, len(damaged), 4096):
        damaged[at] ^= 1
    return bytes(damaged)


def test_the_agent_serves_and_waits_for_a_good_file(source: Source, tmp_path: Path) -> None:
    """Damage at run time is logged once, no poll succeeds, pages are served, and a good file needs no restart."""
    source.requests(1, 100)
    with Agent(tmp_path, source.readonly) as agent:
        agent.polled()
        with agent.between_polls() as path:
            good = path.read_bytes()
            path.write_bytes(_flipped_pages(good))
            source.requests(101, 110)
        agent.until(lambda: agent.value("tableau_collector_success", collector="http_requests") == 0, "the poll fails")
        agent.polled_somehow()
        assert agent.value("tableau_up", source="repository") == 1
        assert agent.value("tableau_history_rows_total", table="http_requests") == 100
        assert agent.logged().count("the history was not written") == 1
        assert "nothing is archived until a backup is put back" in agent.logged()
        assert "internal error" not in agent.logged()
        agent.history.write_bytes(good)
        agent.until(lambda: agent.value("tableau_history_rows_total", table="http_requests") == 110, "it goes on")
        agent.polled()
        assert (agent.value("tableau_history_incidents_total", kind="file_damaged") or 0) > 1
        assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(110, 110)]
        assert agent.stop() == 0


def test_a_damaged_file_at_start(source: Source, tmp_path: Path) -> None:
    """An agent that starts on a damaged file listens, logs the remedy, and begins anew when the file is moved away."""
    source.requests(1, 100)
    (tmp_path / "history.duckdb").write_bytes(b"no history" * 10_000)
    with Agent(tmp_path, source.readonly) as agent:
        agent.until(lambda: agent.value("tableau_collector_success", collector="http_requests") == 0, "the poll fails")
        agent.polled_somehow()
        assert agent.value("tableau_history_rows_total", table="http_requests") is None
        assert agent.logged().count("the history was not written") == 1
        agent.history.rename(tmp_path / "moved.duckdb")
        agent.polled()
        assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(100, 100)]
