"""The watchdog: the polls that it reports, how often, and its stacks."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.poll_progress import Progress
from exporter.poller.watchdog import CHECK_SECONDS, MAX_CHARACTERS, MAX_FRAMES, MAX_THREADS, Watchdog, stacks

LIMIT = 90.0
STUCK = "a poll is stuck: restart the agent if it does not move again, and report this line as a bug"
MOVES = "a poll that was stuck moves again"
ROOT = Path(__file__).parents[2]
# Native code that holds the interpreter's lock until a byte arrives: nothing else of the process runs.
HOLDS_THE_LOCK = """
import ctypes, threading
from exporter.poller import watchdog as module
from exporter.poll_progress import Progress

def a_native_call():
    ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)

module.CHECK_SECONDS = 3600.0
watchdog = module.Watchdog({"rest": Progress()}, {"rest": 0.05})
checked, check = threading.Event(), watchdog.check
watchdog.check = lambda: (check(), checked.set())
threading.Thread(target=watchdog.run, args=(threading.Event(),), daemon=True).start()
checked.wait()
a_native_call()
"""


class Watched:
    """A watchdog over two sources, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.polls = {"repository": Progress(), "rest": Progress()}
        self.changes: list[bool] = []
        self.watchdog = Watchdog(
            self.polls, {"repository": LIMIT, "rest": 2 * LIMIT}, lambda: self.now, self.note_change
        )
        self.stuck: list[tuple[str, str]] = []

    def note_change(self) -> None:
        """Note whether the poll is stuck at the moment of a change."""
        current = self.polls["repository"].current
        self.changes.append(current is not None and current.stuck)

    def look_for(self, seconds: float, moved: Callable[[], None] = lambda: None) -> None:
        """Run the check repeatedly for so long; ``moved`` happens before each."""
        with capture_logs() as logs:
            for _ in range(round(seconds / CHECK_SECONDS)):
                moved()
                self.now += CHECK_SECONDS
                self.watchdog.check()
        self.stuck += [(log["event"], log["source"]) for log in logs]


@pytest.fixture
def watched() -> Watched:
    """A watchdog that has not run yet."""
    return Watched()


def test_a_stuck_poll_is_reported_once(watched: Watched) -> None:
    """Neither before the limit, nor again; while it lasts the poll is marked."""
    repository = watched.polls["repository"]
    with repository.poll(0.0):
        watched.look_for(LIMIT)
        assert watched.stuck == []
        watched.look_for(CHECK_SECONDS)
        assert watched.stuck == [(STUCK, "repository")]
        watched.look_for(10 * LIMIT)
        assert repository.current is not None
        assert repository.current.stuck
    assert watched.stuck == [(STUCK, "repository")]


def test_a_poll_that_moves_again_is_reported_once(watched: Watched) -> None:
    """Once a poll, however often it gets stuck again; the next poll is reported anew."""
    repository = watched.polls["repository"]
    with repository.poll(0.0):
        for _ in range(3):
            watched.look_for(2 * LIMIT)
            repository.moved()
        watched.look_for(CHECK_SECONDS)
        assert repository.current is not None
        assert not repository.current.stuck
    assert watched.stuck == [(STUCK, "repository"), (MOVES, "repository")]
    with repository.poll(0.0):
        watched.look_for(2 * LIMIT)
    watched.look_for(CHECK_SECONDS)
    assert watched.stuck[2:] == [(STUCK, "repository"), (MOVES, "repository")]


def test_each_report_is_rendered_at_once(watched: Watched) -> None:
    """The metrics change with the report, while the poll is under way; not only at its end."""
    with watched.polls["repository"].poll(0.0):
        watched.look_for(10 * LIMIT)
        assert watched.changes == [True]
    watched.look_for(CHECK_SECONDS)
    assert watched.changes == [True, False]


def test_a_long_poll_that_moves_is_not_stuck(watched: Watched) -> None:
    """A first archive of many hours goes on batch by batch; each source has a limit of its own."""
    with watched.polls["repository"].poll(0.0):
        watched.look_for(100 * LIMIT, watched.polls["repository"].moved)
    with watched.polls["rest"].poll(0.0):
        watched.look_for(2 * LIMIT)
        assert watched.stuck == []
        watched.look_for(CHECK_SECONDS)
    assert watched.stuck == [(STUCK, "rest")]


def test_the_pause_between_polls_is_no_poll(watched: Watched) -> None:
    """Nothing is reported while nothing is polled, nor of short polls one after another."""
    watched.look_for(10 * LIMIT)
    for _ in range(10):
        with watched.polls["repository"].poll(0.0):
            watched.look_for(LIMIT / 2)
    assert watched.stuck == []


def test_a_stopped_process_was_not_stuck(watched: Watched) -> None:
    """Time while the whole process was stopped does not count for a poll."""
    with watched.polls["repository"].poll(0.0):
        watched.look_for(CHECK_SECONDS)
        watched.now += 100 * LIMIT
        watched.look_for(CHECK_SECONDS)
    assert watched.stuck == []


@contextmanager
def waiting(name: str, depth: int = 0) -> Iterator[None]:
    """Keep a thread waiting below so many calls, with a secret among its values."""
    there, over = threading.Event(), threading.Event()

    def wait(calls: int) -> None:
        password = "hunter2"
        if calls:
            wait(calls - 1)
        else:
            there.set()
            over.wait()
        del password

    thread = threading.Thread(target=wait, args=(depth,), name=name)
    thread.start()
    there.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_stacks_name_where_each_thread_stands() -> None:
    """Pollers first, the innermost frame first, by module, function and line; no values."""
    with waiting("another"), waiting("rest poller"):
        found = stacks()
    assert found[0].startswith("rest poller: threading.")
    assert "tests.poller.test_watchdog.waiting.<locals>.wait:" in found[0]
    assert any(line.startswith("another: ") for line in found)
    assert any(line.startswith("MainThread: ") for line in found)
    assert "hunter2" not in str(found)


def test_a_report_is_bounded() -> None:
    """Many threads and deep stacks make no long line."""
    with ExitStack() as stack:
        for number in range(2 * MAX_THREADS):
            stack.enter_context(waiting(f"poller {number}", depth=100))
        found = stacks()
    assert len(found) == MAX_THREADS
    assert all(len(line) <= MAX_CHARACTERS and line.count(" < ") < MAX_FRAMES for line in found)


def test_an_interpreter_that_runs_no_python_code_is_reported() -> None:
    """Native code that holds the interpreter's lock stops the watchdog: the stacks come on stderr."""
    command = [sys.executable, "-c", HOLDS_THE_LOCK]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert process.stdin
        lines = iter(process.stderr.readline, "")
        assert next(lines).startswith("Timeout")
        assert any("in a_native_call" in line for line in lines)
        process.stdin.write("x")
        process.stdin.close()
        process.stderr.read()
    assert process.returncode == 0
