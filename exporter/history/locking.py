"""Locks on the history file: DuckDB's errors of a held lock, the file's identity, retries, exclusive locks, fsync.

And the descriptors that DuckDB needs to open it.
"""

import contextlib
import fcntl
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from exporter.errors import HistoryBusy, HistoryLocked, HistoryUnwritable

# DuckDB's errors when another process holds the file, on Unix and on Windows.
_HELD = ("Could not set lock", "used by another process")
_RETRY_SECONDS = (0.02, 0.2)

# The file, its log, the files that DuckDB spills into: it opens them one by one while it works.
RESERVED_DESCRIPTORS = 32


class Reserve:
    """File descriptors kept for DuckDB, which aborts the whole process where it is opened and none is free."""

    def __init__(self) -> None:
        self._kept: list[int] = []

    def keep(self) -> bool:
        """Open as many as are missing; return whether all are kept."""
        try:
            while len(self._kept) < RESERVED_DESCRIPTORS:
                self._kept.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Close them all."""
        while self._kept:
            os.close(self._kept.pop())

    def use(self) -> None:
        """Close them all for DuckDB to use; raises HistoryUnwritable, and keeps what there is, unless all are kept."""
        if not self.keep():
            message = (
                f"the history is not opened: fewer than {RESERVED_DESCRIPTORS} file descriptors are free;"
                " raise the limit of open files (systemd: LimitNOFILE, containers: ulimits, a shell: ulimit -n)"
            )
            raise HistoryUnwritable(message)
        self.release()


def is_held(error: duckdb.Error) -> bool:
    """Whether another process has the file."""
    return any(words in str(error) for words in _HELD)


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return which file stands at a path; None while there is none."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def fsync(path: Path) -> None:
    """Wait until a file, or a folder's list of its files, stands on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Make a file that only its owner may read, whole under its name or not there. Raises OSError."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fsync(part)
    part.rename(path)
    fsync(path.parent)


def open_lock(path: Path) -> int:
    """Open a lock file, or make it; a link in its place is not followed, for it may lead anywhere. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


@contextlib.contextmanager
def exclusive(lock: Path, others: str) -> Iterator[None]:
    """Hold a file that is there only to be held: one process at a time. Raises HistoryLocked, HistoryUnwritable."""
    try:
        descriptor = open_lock(lock)
    except OSError as error:
        message = f"{lock}: {error.strerror}; make the folder exist and writable"
        raise HistoryUnwritable(message) from None
    try:
        _lock_at_once(descriptor, lock, others)
        yield
    finally:
        os.close(descriptor)


def _lock_at_once(descriptor: int, lock: Path, others: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"{lock}: {others}"
        raise HistoryLocked(message) from None
    except OSError as error:
        message = f"{lock}: cannot be locked: {error.strerror}"
        raise HistoryUnwritable(message) from None


def retry(
    path: Path, seconds: float, sleep: Callable[[float], None], clock: Callable[[], float]
) -> Callable[[str], None]:
    """Return a function that waits before the next try to open a held file; HistoryBusy after the deadline."""
    deadline = clock() + seconds

    def wait(why: str) -> None:
        if clock() >= deadline:
            message = f"{path}: {why}; what was polled is not lost, it is written later"
            raise HistoryBusy(message)
        sleep(random.uniform(*_RETRY_SECONDS))  # noqa: S311 - not a secret

    return wait
