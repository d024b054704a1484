"""Lines of a text file, as bytes and decoded."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from exporter.errors import ImportUnreadable
from exporter.imports import Counts

# A line that is longer is none: the file is something else.
LONGEST_LINE = 16_000_000
_SAMPLE_BYTES = 262_144
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Line:
    """One line: its number, its bytes with their end, its text without."""

    number: int
    original: bytes
    text: str


@dataclass
class Lines:
    """The lines of an open file; UTF-8, and what is none as Windows-1252."""

    file: BinaryIO
    counts: Counts
    number: int = 0
    position: int = 0
    _ends: bytes = field(default=b"\n")

    def __iter__(self) -> Iterator[Line]:
        """Yield the lines one by one. A file whose first line ends as Windows has it ends every line so."""
        for original in iter(lambda: self.file.readline(LONGEST_LINE), b""):
            self.number += 1
            self.position += len(original)
            if self.number == 1 and original.endswith(b"\r\n"):
                self._ends = b"\r\n"
            yield Line(self.number, original, self._decoded(original))

    def ahead(self) -> list[str]:
        """Return some of the lines that come next, without moving on."""
        here = self.file.tell()
        sample = self.file.read(_SAMPLE_BYTES)
        self.file.seek(here)
        lines = sample.split(b"\n")
        whole = lines if len(sample) < _SAMPLE_BYTES else lines[:-1]
        return [line.removesuffix(b"\r").decode("utf-8", "replace") for line in whole]

    def _decoded(self, original: bytes) -> str:
        line = original.removesuffix(self._ends).removesuffix(b"\n")
        if self.number == 1:
            line = line.removeprefix(_BOM)
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.counts.decoded_as_cp1252 += 1
            return line.decode("cp1252", "replace")


def open_text(path: Path) -> BinaryIO:
    """Open a text file. Raises ImportUnreadable."""
    try:
        if not path.is_file():
            message = f"{path}: {'is no file' if path.exists() else 'no such file'}"
            raise ImportUnreadable(message)
        file = path.open("rb")
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ImportUnreadable(message) from None
    if file.read(2) in _UTF_16:
        file.close()
        message = f"{path}: is UTF-16; write it as UTF-8, for example with iconv -f UTF-16 -t UTF-8"
        raise ImportUnreadable(message)
    file.seek(0)
    return file
