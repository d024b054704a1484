"""A history after a crash: its last transactions stand in its write-ahead log alone."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.forked_process import ENDED, ended
from tests.support.poller_harness import PollerHarness
from tests.support.source import Source

POLLS = 4


def leave_behind(source: Source, path: Path) -> None:
    """Poll a few times and crash: the log holds the last polls. A copy of before is beside it."""
    assert ended(_poll_and_crash, source.parameters, path) == ENDED
    assert log_of(path).stat().st_size > 10_000


def _poll_and_crash(parameters: Mapping[str, str | int], path: Path) -> None:
    with Source(parameters) as source:
        harness = PollerHarness(source.readonly, path)
        source.requests(1, 50)
        harness.polled()
        shutil.copy(path, path.with_name("before.duckdb"))
        source.requests(60, 69)
        harness.polled()
        harness.file._keep_for = float("inf")
        for poll in range(2, POLLS + 1):
            source.requests(poll * 100, poll * 100 + 49)
            source.request(poll * 100 + 60, completed_at=None)
            source.run("UPDATE http_requests SET completed_at = created_at WHERE id = %s", poll * 100 - 40)
            harness.polled(exact=True)


def log_of(path: Path) -> Path:
    """Return the write-ahead log of a file."""
    return path.with_name(path.name + ".wal")


class Copies:
    """One copy of a leftover after the other, each with its log as a test wants it."""

    def __init__(self, left: Path) -> None:
        self._left = left
        self._made = 0
        self.log = log_of(left).read_bytes()
        self.file = left.read_bytes()
        self.before = left.with_name("before.duckdb").read_bytes()

    @contextlib.contextmanager
    def copy(self, log: bytes, file: bytes | None = None) -> Iterator[Path]:
        """Make a copy, and remove it."""
        self._made += 1
        folder = self._left.parent / str(self._made)
        folder.mkdir()
        path = folder / self._left.name
        path.write_bytes(self.file if file is None else file)
        log_of(path).write_bytes(log)
        yield path
        shutil.rmtree(folder)
