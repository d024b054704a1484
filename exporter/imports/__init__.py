"""Readers of foreign files of requests: text files of the older tool, and Parquet of ``history export``.

Each reader yields Arrow tables with columns of ``http_requests``, and what it could not read as :class:`Reject`.
Nothing here knows the history: what a reader yields is not cleaned yet, and not compared with anything.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from exporter.imports.zones import UTC_ZONE, Zone

if TYPE_CHECKING:
    import pyarrow as pa

FINGERPRINT = "fingerprint"
"""The column of the hash of a line: two lines of a file with the same are one request. NULL: each is its own."""
OTHERWISE = {"created_at": "created_otherwise", "completed_at": "completed_otherwise"}
"""The columns of the other reading of a time that the end of summer time repeats; NULL where there is one reading."""


@dataclass(frozen=True)
class Reject:
    """Lines that are no request, as they stand in the file."""

    line: int
    reason: str
    original: bytes


@dataclass
class Counts:
    """What was met in a file beside its requests."""

    recovered: int = 0
    """Requests over several lines, or with delimiters in a text."""
    decoded_as_cp1252: int = 0
    headers: int = 0
    ambiguous_times: int = 0
    missing_times: int = 0
    """Times that the beginning of summer time leaves out."""


@dataclass(frozen=True)
class FileOptions:
    """How text files are to be read; a delimiter of None is read from the header."""

    zone: Zone = UTC_ZONE
    delimiter: str | None = None


class Reader(Protocol):
    """One file, or one folder of Parquet."""

    counts: Counts

    @property
    def size(self) -> int:
        """How much there is to read, in a unit of its own."""

    @property
    def position(self) -> int:
        """How much of it is read."""

    def batches(self, reject: Callable[[Reject], None], /) -> "Iterator[pa.Table]":
        """Yield the requests, so many at a time. Raises ImportUnreadable."""


def open_reader(path: Path, options: FileOptions) -> Reader:
    """Return the reader of a file by what it begins with. Raises ImportUnreadable."""
    from exporter.imports import parquet, text  # noqa: PLC0415 - they import the names above

    return parquet.ParquetReader(path) if parquet.is_parquet(path) else text.TextReader(path, options)
