"""A query in its own process: one that exceeds its limits ends, and leaves no file."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from exporter.errors import QueryFailed
from exporter.history import query_process
from exporter.history.file import HistoryFile, Limits
from exporter.history.query_process import Bounds, run
from tests.history.synthetic_history import SyntheticHistory, copied
from tests.history.test_file import held
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
SHORT = Bounds(100, 0.5)
FOREVER = "SELECT count(*) FROM range(1000000000000000000) WHERE hash(range) = 0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("made") / "history.duckdb")
    synthetic.live(2)
    return synthetic.file.path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return copied(made, tmp_path)


def opened(path: Path, memory: str = "64MB") -> HistoryFile:
    """Return a history opened read-only."""
    return HistoryFile(path, Limits(memory, patience_seconds=0.0), read_only=True, repairs=False)


def is_free(path: Path) -> bool:
    """Whether no process has the file open."""
    try:
        duckdb.connect(str(path)).close()
    except duckdb.IOException:
        return False
    return True


ENDLESS = [
    FOREVER,
    "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT count(*) FROM a",
    "SELECT count(*) FROM range(1000000000) AS a, range(100000) AS b WHERE a.range % 7 + b.range < 0",
    "SELECT sleep_ms(3600000)",
    # One call of one function, which DuckDB does not interrupt.
    "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))",
    "SELECT lpad('a', 2147483647, 'b')",
]
GREEDY = [
    "SELECT repeat('a', 2000000000)",
    "SELECT length(repeat(repeat('a', 1000000), 3000)) FROM range(3)",
    "SELECT range(2000000000)",
    "SELECT list(repeat('ab', 100000) || range) FROM range(1000000)",
    "SELECT string_agg(repeat('a', 1000000) || range, '') FROM range(100000)",
    "SELECT reduce(range(50000000), lambda x, y: x + y)",
    "SELECT printf('%1000000000d', 1)",
    "SELECT repeat('x', 10000000) || range FROM range(100000)",
    "FROM range(1000000000) ORDER BY hash(range)",
]


@pytest.mark.parametrize("number", range(len(ENDLESS)))
def test_what_runs_for_ever_is_stopped(path: Path, number: int) -> None:
    """The time limit holds whatever DuckDB is in the middle of; the file is free then."""
    with pytest.raises(QueryFailed, match=r"^stopped after 500 ms, .* give a longer --timeout$|more memory than"):
        run(opened(path), ENDLESS[number], SHORT)
    assert is_free(path)


@pytest.mark.parametrize("number", range(len(GREEDY)))
def test_what_takes_too_much_memory_is_stopped(path: Path, number: int) -> None:
    """The memory limit holds for every text that a function makes, too."""
    with pytest.raises(QueryFailed, match=r"more memory than history\.memory_limit|most likely for want of memory"):
        run(opened(path), GREEDY[number], Bounds(1_000_000, 600.0))
    assert is_free(path)


def test_an_answer(path: Path) -> None:
    """The process's output is the answer, with any character in it."""
    answer = run(opened(path), "SELECT id, 'ü\n\t\"' AS text FROM http_requests ORDER BY id", Bounds(2, 60.0))
    assert [column.name for column in answer.columns] == ["id", "text"]
    assert list(answer.values()) == [[0, 'ü\n\t"'], [1, 'ü\n\t"']]
    assert answer.is_cut


def test_a_file_that_is_held(path: Path) -> None:
    """A writer is waited for; after the timeout it is one line."""
    with held(path), pytest.raises(QueryFailed, match="Could not set lock on file"):
        run(opened(path), "SELECT 1", Bounds(100, 60.0))


def test_secrets_stay_with_the_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that runs SQL of others has no variable of the configuration, which may be a secret."""
    seen = []

    def noted(_command: list[str], env: dict[str, str], **_options: object) -> None:
        seen.append(env)
        raise KeyboardInterrupt

    monkeypatch.setenv("TABLEAU_EXPORTER_REPOSITORY__PASSWORD", "hunter2")
    monkeypatch.setattr(subprocess, "Popen", noted)
    with pytest.raises(KeyboardInterrupt):
        run(opened(path), "SELECT 1", SHORT)
    assert seen
    assert "hunter2" not in str(seen)


def test_no_alarm_is_left() -> None:
    """Code after a block that ended in time is not stopped by its alarm."""
    with query_process._alarm(600.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_the_process_writes_no_file(tmp_path: Path) -> None:
    """The operating system refuses every write to a file, from any code."""
    program = (
        "import pathlib, sys; from exporter.history.query_process import _forbid_files; _forbid_files();"
        " pathlib.Path(sys.argv[1]).write_text('x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "new")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "File too large" in done.stderr
    assert (tmp_path / "new").read_bytes() == b""


@contextmanager
def endless(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A command that would run for an hour, and has the file open."""
    environment = {**os.environ, "TABLEAU_EXPORTER_HISTORY__PATH": str(path), "PYTHONPATH": str(ROOT)}
    environment["TABLEAU_EXPORTER_REPOSITORY__HOSTS"] = "db"
    command = [sys.executable, "-m", "exporter", "history", "query", "--timeout=1h", FOREVER]
    with subprocess.Popen(
        command,
        cwd=path.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            until(lambda: not is_free(path))
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("to_all", [True, False])
def test_interrupted(path: Path, to_all: bool) -> None:
    """Ctrl-C ends both processes, with 130 and without a word."""
    with endless(path) as process:
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_SECONDS) == ("", "")
        assert process.returncode == 130
        until(lambda: is_free(path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_command(path: Path, number: signal.Signals) -> None:
    """Where the command is killed, the process that has the file ends too."""
    with endless(path) as process:
        process.send_signal(number)
        process.wait(PATIENCE_SECONDS)
        until(lambda: is_free(path))
