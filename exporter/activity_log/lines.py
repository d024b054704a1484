"""Files of events as lines: read in pieces of whole lines, split in columns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PIECE_BYTES = 4_000_000
LINES = pa.schema([("file", pa.int64()), ("number", pa.int64()), ("text", pa.string())])
_NEWLINE, _BRACE = b"\n{"
# Before a line that is no text, so that it is no JSON either.
NO_TEXT = "\ufffd"


class Piece(NamedTuple):
    """Whole lines of a file, and the number of the first."""

    file: int
    first: int
    text: str
    bytes: int


def pieces(file: int, content: IO[bytes]) -> Iterator[Piece]:
    """Yield a file in pieces; a line that is longer than a piece is cut, and is no JSON for that."""
    first = 1
    while piece := content.read(PIECE_BYTES):
        piece += (rest := content.readline(PIECE_BYTES))
        while rest and not rest.endswith(b"\n"):
            rest = content.readline(PIECE_BYTES)
        yield Piece(file, first, _decoded(piece), len(piece))
        first += piece.count(b"\n")


def split(pieces: Iterable[Piece]) -> pa.Table:
    """Return the lines of pieces with their files and numbers, as LINES has it; blank lines are left out.

    A line keeps the newline at its end, so that the bytes are not copied line by line.
    """
    some: Sequence[Piece] = list(pieces)
    if not some:
        return LINES.empty_table()
    texts = [piece.text.encode() for piece in some]
    texts = [text if text.endswith(b"\n") else text + b"\n" for text in texts]
    content = np.frombuffer(b"".join(texts), np.uint8)
    ends = np.flatnonzero(content == _NEWLINE) + 1
    starts = np.concatenate(([0], ends[:-1]))
    counts = np.diff(np.searchsorted(ends, np.cumsum([0, *map(len, texts)]), side="right"))
    places = np.repeat(np.arange(len(some)), counts)
    within = np.arange(len(ends)) - np.repeat(np.cumsum(counts) - counts, counts)
    offsets = pa.py_buffer(np.concatenate(([0], ends)).astype(np.int32))
    lines = pa.StringArray.from_buffers(len(ends), offsets, pa.py_buffer(content))
    files = np.array([piece.file for piece in some], np.int64)[places]
    numbers = np.array([piece.first for piece in some], np.int64)[places] + within
    table = pa.table([files, numbers, lines], schema=LINES)
    if (content[starts] == _BRACE).all():
        return table
    return table.filter(pc.not_equal(pc.utf8_trim_whitespace(lines), ""))


def _decoded(piece: bytes) -> str:
    try:
        return piece.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        return "\n".join(map(_decoded_line, piece.split(b"\n")))


def _decoded_line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return NO_TEXT + line.decode(errors="replace")
