"""A whole copy of the history while the agent runs: its bytes under a lock that DuckDB respects, verified afterwards.

A copy has its name only when it has been opened, checked and written through to the disk; until then, and when it turns
out to be faulty, it is called otherwise, and no older one is removed for it: docs/decisions/0009-backup.md.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from exporter.collector import Events
from exporter.errors import HistoryError, HistoryLocked, HistoryUnwritable
from exporter.history.file import HistoryFile
from exporter.history.holding import identity, patiently, write_through
from exporter.history.recovery import LOGS
from exporter.history.verification import Verdict, verify

PATTERN = "history-*Z.duckdb"
PART, FAULTY = ".part", ".faulty"
_CHUNK_BYTES = 64 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Backups:
    """A folder of copies of one history."""

    file: HistoryFile
    folder: Path
    keep: int

    def make(self, events: Sequence[Events], now: datetime) -> Generator[Verdict, None, None]:
        """Make one more copy, and remove those that are more than were to be kept. Raises HistoryError."""
        with _alone(self.folder):
            self._remove(f"history-*{PART}*")
            name = self.folder / f"history-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.duckdb"
            if name.exists():
                message = f"{name}: is there already; wait a second"
                raise HistoryUnwritable(message)
            part = name.with_name(name.name + PART)
            try:
                yield from self._make(events, name, part)
            finally:
                self._remove(part.name + "*")

    def _make(self, events: Sequence[Events], name: Path, part: Path) -> Iterator[Verdict]:
        self._check_space()
        held_seconds = copy(self.file, part)
        faulty = False
        for verdict in _verified(HistoryFile(part, self.file.limits, repairs=False), events):
            faulty = faulty or verdict.ok is False
            yield verdict
        if faulty:
            aside = name.with_name(name.name + FAULTY)
            for left in self.folder.glob(part.name + "*"):
                left.rename(aside.with_name(left.name.replace(part.name, aside.name)))
            yield Verdict(ok=False, subject="backup", message=f"{aside}: no backup; the older ones are kept")
            return
        write_through(part)
        part.rename(name)
        write_through(self.folder)
        kept = self._rotate(name)
        message = f"{name}: {name.stat().st_size / 1e6:.1f} MB, the file was held for {held_seconds:.2f} s; {kept} kept"
        yield Verdict(ok=True, subject="backup", message=message)

    def _check_space(self) -> None:
        needed = sum(path.stat().st_size for path in _files(self.file.path)) + self.file.limits.free_bytes
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            message = f"{self.folder}: {free // 1_000_000} MB free, {needed // 1_000_000} MB are needed for a backup"
            raise HistoryUnwritable(message)

    def _remove(self, pattern: str) -> None:
        for left in self.folder.glob(pattern):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    def _rotate(self, made: Path) -> int:
        """Remove the oldest copies, never the one just made; return how many are left."""
        others = sorted(path for path in self.folder.glob(PATTERN) if path != made)
        for path in others[: max(0, len(others) + 1 - self.keep)]:
            path.unlink()
        return min(len(others) + 1, self.keep)


def copy(file: HistoryFile, target: Path) -> float:
    """Copy a file and its log, byte for byte, while no writer has it open; return for how many seconds it was held.

    The lock is the one that DuckDB takes itself, for reading: a writer waits for it as for any reader, and it is gone
    as soon as this process closes the file, by whatever descriptor.
    """
    descriptor = _locked(file)
    try:
        begun = file.clock()
        for source, name in _files(file.path).items():
            _copy_bytes(source, target.with_name(target.name + name), descriptor if source == file.path else None)
        return file.clock() - begun
    except OSError as error:
        message = f"{target}: {error.strerror}; no backup was made"
        raise HistoryUnwritable(message) from None
    finally:
        os.close(descriptor)


def _files(path: Path) -> dict[Path, str]:
    """Return the file and the logs that it has, each with what its name adds to the file's."""
    logs = {path.with_name(path.name + suffix): suffix for suffix in LOGS}
    return {path: "", **{log: suffix for log, suffix in logs.items() if log.exists()}}


def _locked(file: HistoryFile) -> int:
    """Open the file with a lock that keeps writers out. Raises HistoryBusy, HistoryUnwritable."""
    wait = patiently(file.path, file.limits.patience_seconds, file.sleep, file.clock)
    while True:
        try:
            descriptor = os.open(file.path, os.O_RDONLY)
        except OSError as error:
            message = f"{file.path}: {error.strerror}; look at history.path and the rights of the file"
            raise HistoryUnwritable(message) from None
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            if identity(file.path) == (found.st_dev, found.st_ino):
                return descriptor
        except OSError:
            pass  # somebody writes
        os.close(descriptor)
        wait("somebody writes it")


def _copy_bytes(source: Path, target: Path, descriptor: int | None) -> None:
    """Copy one file with its rights, within the kernel where it can: on some file systems no byte is moved at all."""
    with contextlib.ExitStack() as opened:
        if descriptor is None:
            descriptor = os.open(source, os.O_RDONLY)
            opened.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        written = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        opened.callback(os.close, written)
        with contextlib.suppress(PermissionError):
            os.fchown(written, found.st_uid, found.st_gid)
        os.fchmod(written, found.st_mode & 0o666)
        left = found.st_size
        while left > 0:
            moved = _some_bytes(descriptor, written, min(left, _CHUNK_BYTES))
            if not moved:
                break
            left -= moved


def _some_bytes(source: int, target: int, count: int) -> int:
    """Move the next bytes from one file to the other; return how many."""
    if hasattr(os, "copy_file_range"):
        with contextlib.suppress(OSError):
            if moved := os.copy_file_range(source, target, count):
                return moved
    read = memoryview(os.read(source, min(count, _BUFFER_BYTES)))
    written = 0
    while written < len(read):
        written += os.write(target, read[written:])
    return written


def _verified(copied: HistoryFile, events: Sequence[Events]) -> Iterator[Verdict]:
    """Open a copy, so that its log becomes part of it, and check it."""
    try:
        with copied.open() as connection:
            connection.execute("CHECKPOINT")
        yield from verify(HistoryFile(copied.path, copied.limits, read_only=True), events)
    except HistoryError as error:
        yield Verdict(ok=False, subject="file", message=str(error))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other backups out of a folder. Raises HistoryUnwritable, HistoryLocked."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        message = f"{folder}: {error.strerror}; make the folder, for the backups alone"
        raise HistoryUnwritable(message) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        message = f"{folder}: another backup is being made here"
        raise HistoryLocked(message) from None
    try:
        yield
    finally:
        os.close(descriptor)
