"""A whole copy of the history while the agent runs: its bytes under a lock that DuckDB respects, verified afterwards.

A copy has its name only when it has been opened, checked and written through to the disk. One with a fault is called
otherwise, and no faultless one is removed for it: docs/decisions/0009-backup.md.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from exporter.collector import Events
from exporter.errors import HistoryDamaged, HistoryUnwritable
from exporter.history.file import HistoryFile
from exporter.history.locking import exclusive, file_identity, fsync, retry, write_atomically
from exporter.history.opening import LOGS
from exporter.history.tables import table_columns
from exporter.history.verification import Verdict, verify

PART = ".part"
FAULTLESS, FAULTY, DAMAGED = "", ".faulty", ".damaged"
# What is made here, and nothing else: the folder may hold what belongs to others.
_NAME = re.compile(r"(history-\d{8}T\d{6}Z\.duckdb)(\.faulty|\.damaged|)")
_LEFT = re.compile(r"history-\d{8}T\d{6}Z\.duckdb\.part(\.(tmp|wal|wal\.checkpoint|wal\.recovery))?")
LOCK = ".history-backups"
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
        try:
            if not self.folder.is_dir():
                message = f"{self.folder}: No such file or directory; make the folder, for the backups alone"
                raise HistoryUnwritable(message)
            with exclusive(self.folder / LOCK, "another backup is being made here"):
                self._remove_parts()
                try:
                    yield from self._make(events, self._name(now))
                finally:
                    self._remove_parts()
        except OSError as error:
            message = f"{self.folder}: {error.strerror}; no backup was made"
            raise HistoryUnwritable(message) from None

    def _name(self, now: datetime) -> Path:
        """Return the name of the next one. Raises HistoryUnwritable where it would not be the newest."""
        name = self.folder / f"history-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.duckdb"
        newest = max((match[1] for match in self._there()), default="")
        if name.name <= newest:
            message = f"{self.folder}: {newest} is not older than now; set the clock right, or rename what it made"
            raise HistoryUnwritable(message)
        return name

    def _make(self, events: Sequence[Events], name: Path) -> Iterator[Verdict]:
        self._check_space()
        part = name.with_name(name.name + PART)
        held_seconds = copy(self.file, part)
        kind = FAULTLESS
        for verdict in self._verified(HistoryFile(part, self.file.limits, repairs=False), events):
            kind = _worse(kind, verdict)
            yield verdict
        made = name.with_name(name.name + kind)
        fsync(part)
        for suffix in ("", *LOGS):
            with contextlib.suppress(FileNotFoundError):
                part.with_name(part.name + suffix).rename(made.with_name(made.name + suffix))
        fsync(self.folder)
        yield from self._rotate(kind)
        message = f"{made}: {made.stat().st_size / 1e6:.1f} MB, the file was held for {held_seconds:.2f} s"
        yield Verdict(ok=kind != DAMAGED, subject="backup", message=message + _MEANING[kind])

    def _verified(self, copied: HistoryFile, events: Sequence[Events]) -> Iterator[Verdict]:
        """Open a copy, so that its log becomes part of it, and check it. Raises HistoryError where it cannot."""
        try:
            with copied.open() as connection:
                connection.execute("CHECKPOINT")
                self._check_whose(connection)
            yield from verify(HistoryFile(copied.path, copied.limits, read_only=True), events)
        except HistoryDamaged as damage:
            yield Verdict(ok=False, subject="file", message=str(damage), damaged=True)

    def _check_whose(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Raise HistoryUnwritable in another history's folder: the two would rotate each other away."""
        begun = whose(connection)
        lock = self.folder / LOCK
        known, _, path = lock.read_text().partition(" ")
        if begun and not known:
            lock.write_text(f"{begun} {self.file.path.absolute()}")
        elif begun and known != begun:
            message = f"{self.folder}: has the backups of another history, {path}; give each a folder, or remove {lock}"
            raise HistoryUnwritable(message)

    def _check_space(self) -> None:
        sizes = (path.stat().st_size for path in _files(self.file.path))
        free = shutil.disk_usage(self.folder).free
        with contextlib.suppress(FileNotFoundError):  # a log that was there: the agent has just closed the file
            if free < (needed := sum(sizes) + self.file.limits.free_bytes):
                message = (
                    f"{self.folder}: {free // 1_000_000} MB free, {needed // 1_000_000} MB are needed for a backup"
                )
                raise HistoryUnwritable(message)

    def _remove_parts(self) -> None:
        for left in list(self.folder.iterdir()):
            if _LEFT.fullmatch(left.name):
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()

    def _there(self) -> list[re.Match[str]]:
        """Return the names of the copies that are there, the oldest first."""
        names = sorted(path.name for path in self.folder.iterdir())
        return [match for match in map(_NAME.fullmatch, names) if match]

    def _rotate(self, kind: str) -> Iterator[Verdict]:
        """Remove the oldest of a kind; of what cannot be read one is enough."""
        names = [match[0] for match in self._there() if match[2] == kind]
        for name in names[: -1 if kind == DAMAGED else -self.keep]:
            try:
                (self.folder / name).unlink()
                for suffix in LOGS:
                    (self.folder / (name + suffix)).unlink(missing_ok=True)
            except OSError as error:
                yield Verdict(ok=None, subject="backup", message=f"{self.folder / name}: {error.strerror}; it stays")


_MEANING = {
    FAULTLESS: "",
    FAULTY: "; it can be read to its last block, with the faults above; none without a fault was removed for it",
    DAMAGED: "; no backup: it cannot be read; the older ones are kept",
}


def whose(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Return the identity of a history; None where an older version wrote it, or it is none."""
    if not table_columns(connection, "marks"):
        return None
    begun = connection.execute("SELECT strftime(marked_at, '%Y%m%dT%H%M%S.%fZ') FROM marks WHERE name = 'begun'")
    return next((text for (text,) in begun.fetchall()), None)


def _worse(kind: str, verdict: Verdict) -> str:
    if verdict.damaged:
        return DAMAGED
    return FAULTY if verdict.ok is False and kind == FAULTLESS else kind


def copy(file: HistoryFile, target: Path) -> float:
    """Copy a file and its log, byte for byte, while no writer has it open; return for how many seconds it was held.

    The lock is DuckDB's own lock for reading: a writer waits for it as for any reader, and it is gone
    as soon as this process closes the file, by any descriptor.
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
    wait = retry(file.path, file.limits.patience_seconds, file.sleep, file.clock)
    while True:
        try:
            descriptor = os.open(file.path, os.O_RDONLY)
        except OSError as error:
            message = f"{file.path}: {error.strerror}; check history.path and the rights of the file"
            raise HistoryUnwritable(message) from None
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            if file_identity(file.path) == (found.st_dev, found.st_ino):
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


def back_up_key(key: Path, folder: Path, stamp: str) -> Path:
    """Copy a key of pseudonyms unless a copy of it exists; return the copy. No copy is ever replaced.

    Raises HistoryUnwritable.
    """
    copies = [folder / key.name, *sorted(folder.glob(f"{key.stem}-*{key.suffix}"))]
    try:
        wanted = key.read_bytes()
        for copy in copies:
            if copy.is_file() and copy.read_bytes() == wanted:
                return copy
        copy = folder / (f"{key.stem}-{stamp}{key.suffix}" if os.path.lexists(copies[0]) else key.name)
        write_atomically(copy, wanted)
    except OSError as error:
        message = f"{folder / key.name}: {error.strerror}; the history was copied, its key was not"
        raise HistoryUnwritable(message) from None
    return copy
