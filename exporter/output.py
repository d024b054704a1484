"""Where output goes: stdout, or a file, written whole or not at all: under another name first, then put in place."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from exporter.errors import OutputUnwritable

NO_OUTPUT = "it is a DuckDB file, such as a history, and is not replaced"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it takes the place of what is there when the block has ended well.

    What is no file, such as a pipe or a terminal, is written as it is. A database of DuckDB is never replaced: it may
    be the history, or a backup. Raises OutputUnwritable.
    """
    real = Path(os.path.realpath(path))
    try:
        if real.is_file() and is_database(real):
            raise OutputUnwritable(f"{path}: {NO_OUTPUT}; name another file")
        if real.exists() and not real.is_file():
            with real.open("wb") as file:
                yield file
            return
        with _unborn(real) as file:
            yield file
    except OSError as error:
        message = f"{path}: {error.strerror}; name another file, or make its folder writable"
        raise OutputUnwritable(message) from None


def is_database(path: Path) -> bool:
    """Whether a file begins as DuckDB's files do: eight bytes of a checksum, then its mark. Raises OSError."""
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def to_stdout(pieces: Iterable[bytes]) -> None:
    """Write to standard output. Raises OutputUnwritable, and BrokenPipeError where the reader has gone: no fault."""
    try:
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"standard output: {error.strerror}; make room where it goes, or name a file with --output"
        raise OutputUnwritable(message) from None


@contextlib.contextmanager
def _unborn(path: Path) -> Iterator[BinaryIO]:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_mode(path))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int:
    """Return the rights of the file that is there, or those that a new one would get."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
