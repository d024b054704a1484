"""A file of an export and its companions: the sidecar with what is committed, the lock, and the next version.

Beside ``requests.csv`` a sidecar, ``.requests.csv.export``, holds how many bytes are committed and the position that
they reach.
"""

import contextlib
import fcntl
import filecmp
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from exporter.errors import OutputUnwritable
from exporter.exports.stores import local_path
from exporter.texts import safe_uri

_REWRITE: Final = "--rewrite begins it anew"


@dataclass(frozen=True)
class Committed:
    """What a file is known to hold; ``replacing``: the rename that begins it may not be done yet."""

    history: str
    layout: Mapping[str, Any] = field(default_factory=dict)
    length: int = 0
    position: str | None = None
    replacing: bool = False

    @property
    def reached(self) -> datetime | None:
        """How far the committed rows reach (UTC, naive); None before the first."""
        return datetime.fromisoformat(self.position) if self.position else None


class OutputFile:
    """A file and its companions: the sidecar, the lock, and the file that will replace it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unborn = path.with_name(f".{path.name}.new")
        self.work = path.with_name(f".{path.name}.work")
        self._sidecar = path.with_name(f".{path.name}.export")
        self._lock = path.with_name(f".{path.name}.lock")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file for the block. Raises OutputUnwritable where another export has the lock."""
        with refusals(self.path):
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputUnwritable(f"{self.path}: another export writes it; try again") from None
            except OSError as error:
                raise OutputUnwritable(f"{self.path}: cannot be locked: {error.strerror}") from None
            yield
        finally:
            os.close(descriptor)

    def rights(self) -> int:
        """Return the rights of the file that is there, or those that a file of this process has."""
        return (self.path if self.path.is_file() else self._lock).stat().st_mode & 0o777

    def settled(self, *, lenient: bool) -> Committed | None:
        """Return what the file is known to hold; finish a rename that a crash broke off."""
        known = self._known(lenient=lenient)
        if known and known.replacing:
            with refusals(self.path):
                return self._put_in_place(known)
        return known

    def check(self, known: Committed | None, history: str, *, whole: bool) -> None:
        """Raise OutputUnwritable for a file that is not this history's, or has lost rows that nobody will write."""
        if known is None:
            if os.path.lexists(self.path):
                raise self._refused(f"was not written by an export, or its {self._sidecar.name} is gone")
            return
        if known.history != history:
            raise self._refused("has the rows of another history")
        length = self.path.stat().st_size if self.path.is_file() else None
        if not whole and (length is None or length < known.length):
            raise self._refused("is gone" if length is None else "is shorter than what was exported into it")

    def _known(self, *, lenient: bool) -> Committed | None:
        if not os.path.lexists(self._sidecar):
            return None
        try:
            with refusals(self._sidecar):
                known = Committed(**json.loads(self._sidecar.read_bytes()))
            datetime.fromisoformat(known.position or "2000-01-01")
        except (ValueError, TypeError):
            if lenient:
                return None
            raise self._refused(f"its {self._sidecar.name} cannot be read") from None
        return known

    def _refused(self, reason: str) -> OutputUnwritable:
        return OutputUnwritable(f"{self.path}: {reason}; name another --output, or {_REWRITE}")

    def keep(self, committed: Committed) -> None:
        """Write the sidecar, whole or not at all."""
        new = self._sidecar.with_name(self._sidecar.name + ".new")
        new.unlink(missing_ok=True)
        with new.open("x", encoding="ascii") as file:
            json.dump(asdict(committed), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._sidecar)
        _sync(self._sidecar.parent)

    def put_in_place(self, committed: Committed) -> None:
        """Replace the old file by the new one where it differs; the next run finishes what a crash broke off."""
        with refusals(self.path):
            if os.path.lexists(self.path) and not self.path.is_file():
                raise OutputUnwritable(f"{self.path}: is no file; name another --output")
            if self.path.is_file() and filecmp.cmp(self.unborn, self.path, shallow=False):
                # It stays the file that readers hold, with its times.
                self.keep(committed)
                self.unborn.unlink()
                return
            self.keep(replace(committed, replacing=True))
            self._put_in_place(committed)

    def _put_in_place(self, committed: Committed) -> Committed:
        with contextlib.suppress(FileNotFoundError):
            self.unborn.replace(self.path)
        _sync(self.path.parent)
        known = replace(committed, replacing=False)
        self.keep(known)
        return known


@contextlib.contextmanager
def continued(path: Path, history: str, *, whole: bool, rewrite: bool) -> Iterator[tuple[OutputFile, Committed | None]]:
    """Lock a file for the block; yield also what it is known to hold, None where it is begun anew."""
    target = OutputFile(Path(os.path.realpath(path)))
    with target.locked():
        committed = target.settled(lenient=rewrite)
        if not rewrite:
            target.check(committed, history, whole=whole)
        yield target, None if whole or rewrite else committed


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some shares cannot; their server does it.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_of(path: Path, table: str, suffix: str) -> Path:
    """Return a file that is named itself, or that of a table in a folder, which is made. Raises OutputUnwritable."""
    if path.suffix.lower() == suffix:
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{path}: {error.strerror}; check --output and the rights to write there"
        raise OutputUnwritable(message) from None
    return path / f"{table}{suffix}"


def local_file(target: str, table: str, suffix: str) -> Path:
    """Return the file that a target stands for, which must be a local one. Raises OutputUnwritable."""
    path = local_path(target)
    if path is None:
        message = f"{safe_uri(target)}: a {suffix} file is written in a folder, not in an object store"
        raise OutputUnwritable(message)
    return file_of(path, table, suffix)


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into OutputUnwritable."""
    try:
        yield
    except OSError as error:
        if not path.parent.is_dir():
            raise OutputUnwritable(f"{path.parent}: no such folder; make it, or name another --output") from None
        raise OutputUnwritable(f"{path}: {error.strerror}; check --output and the rights there") from None
