"""Files of events as lines: read in pieces of whole lines, split in columns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

PIECE_BYTES = 4_000_000
LINES = pa.schema([("file", pa.int64()), ("number", pa.int64()), ("text", pa.string())])
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
    """Return the lines of pieces with their files and numbers, as LINES has it; blank lines are left out."""
    some: Sequence[Piece] = list(pieces)
    lists = pc.split_pattern(pa.array([piece.text for piece in some], pa.string()), pattern="\n")
    lines, parents = lists.flatten(), pc.list_parent_indices(lists)
    starts = pc.take(pc.cast(lists.offsets, pa.int64()), parents)
    firsts = pc.take(pa.array([piece.first for piece in some], pa.int64()), parents)
    numbers = pc.add(pc.subtract(pa.array(range(len(lines)), pa.int64()), starts), firsts)
    files = pc.take(pa.array([piece.file for piece in some], pa.int64()), parents)
    table = pa.table([files, numbers, lines], schema=LINES)
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
