"""The file of rejected rows: before each, a line with its place and the reason, then its original bytes.

It holds what nobody has redacted, so only its owner may read it.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from exporter.errors import OutputUnwritable
from exporter.imports import Reject
from exporter.output import NO_OUTPUT, is_database
from exporter.texts import one_line

SUFFIX = ".rejects"
_PART = ".part"


@dataclass
class Rejects:
    """A file that is made with the first reject, and put in place when all is read."""

    path: Path
    count: int = 0
    written: bool = True
    """Whether there is to be a file at all."""
    _file: BinaryIO | None = None

    @classmethod
    def beside(cls, source: Path, *, written: bool = True) -> "Rejects":
        """Return those of a file that is imported, which stand beside it."""
        return cls(source.with_name(source.name + SUFFIX), written=written)

    def check(self, sources: Sequence[Path]) -> None:
        """Refuse to replace what is imported, a database, or what is no file. Raises OutputUnwritable."""
        with self._faults():
            if not self.written or not self.path.exists():
                return
            for source in sources:
                if self.path.samefile(source):
                    raise self._refusal("it is imported, and is not replaced")
            if not self.path.is_file():
                raise self._refusal("is no file")
            if is_database(self.path):
                raise self._refusal(NO_OUTPUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the file in place, or leave nothing behind. Raises OutputUnwritable."""
        kept = False
        try:
            if kind is None:
                self._keep()
                kept = True
        finally:
            if self._file is not None and not kept:
                self._file.close()
                self._part.unlink(missing_ok=True)

    def add(self, source: Path, reject: Reject) -> None:
        """Write one down. Raises OutputUnwritable."""
        self.count += 1
        if not self.written:
            return
        with self._faults():
            if self._file is None:
                self._file = self._create()
            self._file.write(f"# {source.name}, line {reject.line}: {one_line(reject.reason)}\n".encode())
            self._file.write(reject.original if reject.original.endswith(b"\n") else reject.original + b"\n")

    def _keep(self) -> None:
        if self._file is not None:
            with self._faults():
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                self._part.replace(self.path)

    @property
    def _part(self) -> Path:
        return self.path.with_name(self.path.name + _PART)

    def _create(self) -> BinaryIO:
        self._part.unlink(missing_ok=True)
        return os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refusal(error.strerror) from None

    def _refusal(self, reason: str | None) -> OutputUnwritable:
        return OutputUnwritable(f"{self.path}: {reason}; name another file with --rejects")
