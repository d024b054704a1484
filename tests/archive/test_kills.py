"""SIGKILL at chosen and at random moments of a poll: the next poll archives the missing rows, once."""

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from exporter.poller import archiver, batching
from exporter.repository.session import Session
from tests.support.forked_process import ENDED, started
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source

pytestmark = pytest.mark.fault(36)

PATIENCE_SECONDS = 60.0
RANGE_ROWS = 1000
# A history of its own for so many kills; it grows, and so does the time that it takes to compare it.
KILLS_EACH = 15


@dataclass(frozen=True)
class Victim:
    """A process that polls, observed from outside."""

    process: BaseProcess
    history: Path
    has_read: Path

    def begun(self) -> bool:
        """Whether it runs."""
        return self.process.pid is not None

    def read(self) -> bool:
        """Whether it has rows in hand that are not written yet."""
        return self.has_read.exists()

    def opened(self) -> bool:
        """Whether it has the history open."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        try:
            return any(entry.readlink() == self.history for entry in folder.iterdir())
        except OSError:
            return False

    def logged(self) -> bool:
        """Whether something stands in the write-ahead log: it is in the midst of COMMIT, or after it."""
        try:
            return self.has_read.exists() and self._log.stat().st_size > 0
        except FileNotFoundError:
            return False

    def checkpointed(self) -> bool:
        """Whether the log is gone again: it is at the end of the checkpoint, or closing."""
        return not self._log.exists()

    @property
    def _log(self) -> Path:
        return self.history.with_name(self.history.name + ".wal")

    def wait(self, moment: Callable[["Victim"], bool]) -> None:
        """Wait for a moment as closely as one can, unless the process ends before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not moment(self) and self.process.exitcode is None:
            assert time.monotonic() < deadline

    def kill(self) -> bool:
        """Kill it; return whether it was still alive."""
        self.process.kill()
        self.process.join()
        assert self.process.exitcode in {-signal.SIGKILL, ENDED}
        return self.process.exitcode != ENDED


# The moments to wait for, one after the other, and until how long after the last of them the kill comes.
MOMENTS: dict[str, tuple[tuple[Callable[[Victim], bool], ...], float]] = {
    "at any time": ((Victim.begun,), 1.0),
    "while it reads": ((Victim.read,), 0.03),
    "while it writes": ((Victim.read, Victim.opened), 0.1),
    "in COMMIT": ((Victim.logged,), 0.003),
    "in the checkpoint": ((Victim.logged,), 0.02),
    "at closing": ((Victim.logged, Victim.checkpointed), 0.002),
}


def _few(*_: object, **__: object) -> int:
    return RANGE_ROWS


def _poll(parameters: Mapping[str, str | int], path: Path, has_read: Path, *, by_ranges: bool) -> None:
    """Poll in a process of its own, reporting when rows have been read."""
    if by_ranges:
        batching.estimated_batch_rows = _few
        batching.batch_rows = _few
        archiver.TRANSACTION_ROWS = RANGE_ROWS
    copied = Session.copy_some

    def telling(*arguments: object) -> object:
        rows = copied(*arguments)  # type: ignore[arg-type]
        has_read.touch()
        return rows

    Session.copy_some = telling  # type: ignore[assignment, method-assign]
    PollerHarness(parameters, path, tables=False).polled(exact=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("by_ranges", [False, True], ids=["exact", "full"])
@pytest.mark.parametrize("name", MOMENTS)
def test_killed(name: str, by_ranges: bool, source: Source, tmp_path: Path, tally: Tally) -> None:
    """Whenever it is killed, once or twice in a row, the next poll completes the history; rows and counters agree."""
    moments, seconds = MOMENTS[name]
    chance = random.Random(f"{name}/{by_ranges}")
    kills = attempts = 0
    path, archived = tmp_path / "history.duckdb", set[int]()
    harness = PollerHarness(source.readonly, path, tables=False)
    while kills < times(2, 42):
        attempts += 1
        assert attempts < 1000, "the process is too quick to be killed"
        if attempts % KILLS_EACH == 0:
            path, archived = tmp_path / f"{attempts}.duckdb", set[int]()
            harness = PollerHarness(source.readonly, path, tables=False)
        _write(source, attempts, by_ranges=by_ranges)
        killed = 0
        for _ in range(chance.choice((1, 1, 2))):
            has_read = tmp_path / "has_read"
            has_read.unlink(missing_ok=True)
            process = started(_poll_ranges if by_ranges else _poll_once, source.readonly, path, has_read)
            victim = Victim(process, path, has_read)
            for moment in moments:
                victim.wait(moment)
            victim.wait(_after(chance.uniform(0.0, seconds)))
            killed += victim.kill()
        kills += killed
        harness.restart()
        harness.polled(exact=True)
        archived |= {number for (number,) in source.run("SELECT id FROM http_requests")}
        here = [*harness.ids(), *harness.open_ids()]
        for number in range(killed):
            tally.run(
                lost=len(archived - set(here)) * (not number), doubled=(len(here) - len(set(here))) * (not number)
            )
        assert sorted(here) == sorted(archived)
        harness.assert_once()


def _poll_once(parameters: Mapping[str, str | int], path: Path, has_read: Path) -> None:
    _poll(parameters, path, has_read, by_ranges=False)


def _poll_ranges(parameters: Mapping[str, str | int], path: Path, has_read: Path) -> None:
    _poll(parameters, path, has_read, by_ranges=True)


def _after(seconds: float) -> Callable[[Victim], bool]:
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() >= end


def _write(source: Source, attempt: int, *, by_ranges: bool) -> None:
    """Write some requests, complete some; or let the table be another, which is read whole."""
    first = attempt * 10_000
    if by_ranges:
        source.run("TRUNCATE http_requests")
        source.requests(first, first + 5 * RANGE_ROWS)
    else:
        source.requests(first, first + 50)
        source.run("UPDATE http_requests SET completed_at = created_at WHERE completed_at IS NULL")
    source.request(first + 9000, completed_at=None)
