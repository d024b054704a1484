"""Files that an export appends to, in place or in a copy: each row once, over crashes, while others read.

Beside ``requests.csv`` a sidecar, ``.requests.csv.export``, holds how many bytes are committed and the position that
they reach. What stands behind them was torn by a crash, and is cut off by the next run. A file that is begun, or begun
anew, is written under another name and renamed, so a reader finds the old one or the whole new one. So is every version
of a file that cannot be appended to in place.
"""

import contextlib
import fcntl
import filecmp
import io
import json
import os
import shutil
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


class Appender:
    """A file that is appended to, locked against other exports."""

    def __init__(self, target: "_Target", committed: Committed, *, is_new: bool) -> None:
        self._target = target
        self._committed = committed
        self._file: io.FileIO
        self.is_new = is_new
        """Whether it holds nothing yet, not even a header."""

    @property
    def position(self) -> datetime | None:
        """How far the committed rows reach (UTC, naive); None before the first."""
        text = self._committed.position
        return datetime.fromisoformat(text) if text else None

    @property
    def layout(self) -> Mapping[str, Any]:
        """What its first export noted of its form, such as columns and delimiter."""
        return self._committed.layout

    def append(self, content: bytes | memoryview) -> None:
        """Write behind what is there; it does not count before the commit. Raises OutputUnwritable."""
        left = memoryview(content)
        with refusals(self._target.path):
            while left:
                left = left[self._file.write(left) :]

    def commit(self, position: datetime | None) -> None:
        """Make all that was appended count, up to a position. Of a new file it counts when the block ends."""
        with refusals(self._target.path):
            os.fsync(self._file.fileno())
            reached = position.isoformat() if position else None
            self._committed = replace(self._committed, length=self._file.tell(), position=reached)
            if not self.is_new:
                self._target.keep(self._committed)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Open the file for the block; what was not committed is cut off at its beginning and at its end."""
        path = self._target.unborn if self.is_new else self._target.path
        with refusals(self._target.path):
            if self.is_new:
                # What a crash left, or a link that would be written through.
                path.unlink(missing_ok=True)
            self._file = path.open("xb" if self.is_new else "r+b", buffering=0)
        try:
            with self._file:
                with refusals(self._target.path):
                    self._cut()
                    self._file.seek(self._committed.length)
                try:
                    yield
                finally:
                    # Where the disk or the share is gone, the next run cuts.
                    with contextlib.suppress(OSError):
                        self._cut()
        except BaseException:
            if self.is_new:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        if self.is_new:
            self._target.put_in_place(self._committed)

    def _cut(self) -> None:
        # A file that is cut to the length that it has would be newer than its content.
        if os.fstat(self._file.fileno()).st_size > self._committed.length:
            self._file.truncate(self._committed.length)


@contextlib.contextmanager
def appending(
    path: Path, history: str, layout: Mapping[str, Any], *, whole: bool = False, rewrite: bool = False
) -> Iterator[Appender]:
    """Open a file of one history to append to it, or to begin it, with a layout, where there is none.

    With ``whole`` a file of this history is begun anew, with ``rewrite`` any. Raises OutputUnwritable: another export
    writes it, it is no file of this history, it is shorter than it was.
    """
    with _continued(path, history, whole=whole, rewrite=rewrite) as (target, committed):
        appender = Appender(target, committed or Committed(history, layout), is_new=committed is None)
        with appender.opened():
            yield appender


class Renewal:
    """The next version of a file, which another program writes at ``path``, beside the one that it will replace."""

    def __init__(self, target: "_Target", committed: Committed, *, is_new: bool) -> None:
        self._target = target
        self._committed = committed
        self._is_complete = False
        self.path = target.unborn
        self.work = target.work
        """A folder for temporary files; it is made on first use, and removed also after a crash."""
        self.is_new = is_new
        """Whether there is no version before it that is to be continued."""

    @property
    def position(self) -> datetime | None:
        """How far the rows of the version before reach (UTC, naive)."""
        text = self._committed.position
        return datetime.fromisoformat(text) if text else None

    @property
    def layout(self) -> Mapping[str, Any]:
        """What the first export noted of the form of the file."""
        return self._committed.layout

    def begin(self) -> None:
        """Put a copy of the version before in place, if there is one, and make the folder. Raises OutputUnwritable."""
        with refusals(self._target.path):
            self.work.mkdir()
            if not self.is_new:
                shutil.copyfile(self._target.path, self.path)

    def commit(self, position: datetime | None) -> None:
        """Declare the new version complete, up to a position; it counts when the block ends.

        Raises OutputUnwritable.
        """
        with refusals(self._target.path), self.path.open("rb") as file:
            os.fchmod(file.fileno(), self._target.rights())
            os.fsync(file.fileno())
            reached = position.isoformat() if position else None
            self._committed = replace(self._committed, length=os.fstat(file.fileno()).st_size, position=reached)
        self._is_complete = True

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Put the new version in place at the end of the block, if it was committed; leave nothing else behind."""
        self._clear()
        try:
            yield
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
            if not self._is_complete:
                self._clear()
        if self._is_complete:
            self._target.put_in_place(self._committed)

    def _clear(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        # Where it cannot be removed it cannot be written either, and that is reported.
        with contextlib.suppress(OSError):
            self.path.unlink()


@contextlib.contextmanager
def renewing(
    path: Path, history: str, layout: Mapping[str, Any], *, whole: bool = False, rewrite: bool = False
) -> Iterator[Renewal]:
    """Prepare the next version of a file of one history: a copy to append to, or a file that is begun.

    ``whole`` and ``rewrite`` are as for ``appending``. Raises OutputUnwritable.
    """
    with _continued(path, history, whole=whole, rewrite=rewrite) as (target, committed):
        renewal = Renewal(target, committed or Committed(history, layout), is_new=committed is None)
        with renewal.opened():
            yield renewal


@contextlib.contextmanager
def _continued(path: Path, history: str, *, whole: bool, rewrite: bool) -> Iterator[tuple["_Target", Committed | None]]:
    """Lock a file for the block; yield also what it is known to hold, None where it is begun anew."""
    target = _Target(Path(os.path.realpath(path)))
    with target.locked():
        committed = target.settled(lenient=rewrite)
        if not rewrite:
            target.check(committed, history, whole=whole)
        yield target, None if whole or rewrite else committed


class _Target:
    """A file and its companions: the sidecar, the lock, and the file that will replace it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unborn = path.with_name(f".{path.name}.new")
        self.work = path.with_name(f".{path.name}.work")
        self._sidecar = path.with_name(f".{path.name}.export")
        self._lock = path.with_name(f".{path.name}.lock")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
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
