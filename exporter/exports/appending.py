"""Files that an export appends to, in place or in a copy: each row once, over crashes, while others read.

What stands behind the committed bytes was torn by a crash, and is cut off by the next run. A file that is begun, or
begun anew, is written under another name and renamed, so a reader finds the old one or the whole new one. So is every
version of a file that cannot be appended to in place.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from exporter.exports.output_file import Committed, OutputFile, continued, refusals


class _Continued:
    """A file that is continued or begun; ``is_new``: it holds nothing yet, not even a header."""

    def __init__(self, target: OutputFile, committed: Committed, *, is_new: bool) -> None:
        self._target = target
        self._committed = committed
        self.is_new = is_new

    @property
    def position(self) -> datetime | None:
        """How far the committed rows reach (UTC, naive); None before the first."""
        return self._committed.reached

    @property
    def layout(self) -> Mapping[str, Any]:
        """The form that its first export recorded, such as columns and delimiter."""
        return self._committed.layout


class Appender(_Continued):
    """A file that is appended to, locked against other exports."""

    _file: io.FileIO

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
    with continued(path, history, whole=whole, rewrite=rewrite) as (target, committed):
        appender = Appender(target, committed or Committed(history, layout), is_new=committed is None)
        with appender.opened():
            yield appender


class Renewal(_Continued):
    """The next version of a file, which another program writes at ``path``, beside the one that it will replace."""

    def __init__(self, target: OutputFile, committed: Committed, *, is_new: bool) -> None:
        super().__init__(target, committed, is_new=is_new)
        self._is_complete = False
        self.path = target.unborn
        self.work = target.work
        """A folder for temporary files; it is made on first use, and removed also after a crash."""

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
    with continued(path, history, whole=whole, rewrite=rewrite) as (target, committed):
        renewal = Renewal(target, committed or Committed(history, layout), is_new=committed is None)
        with renewal.opened():
            yield renewal
