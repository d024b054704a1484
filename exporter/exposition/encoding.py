"""An exposition in every format and encoding, made of pieces that are compressed once and kept.

A compressed piece ends on a byte boundary and refers to nothing before it, so that pieces joined are one gzip member,
which every client reads (docs/decisions/0005-exposition.md). Both formats share them; the plain bytes, many times as
many, are not kept.
"""

import hashlib
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from isal import isal_zlib as zlib

from exporter.metrics import Family

if TYPE_CHECKING:
    import pyarrow as pa

_LEVEL = 1
# Smaller chunks are put together, those that are larger are left as they are.
_CHUNK = 128 * 1024
# So much is decompressed at once: each reader of the plain bytes holds that much of them.
_PART = 256 * 1024
_GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_LAST_BLOCK = b"\x03\x00"


@dataclass(frozen=True)
class Piece:
    """Some bytes as a piece of a deflate stream: their number, their digest, and their CRC-32."""

    size: int
    digest: bytes
    deflated: bytes
    checksum: int

    @classmethod
    def of(cls, plain: "bytes | pa.Buffer", last: "Piece | None" = None) -> "Piece":
        """Compress some bytes, or reuse the last piece where its bytes are the same."""
        view = memoryview(plain)
        digest = hashlib.sha256(view).digest()
        if last is not None and (last.size, last.digest) == (view.nbytes, digest):
            return last
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        return cls(view.nbytes, digest, stream.compress(view) + stream.flush(zlib.Z_SYNC_FLUSH), zlib.crc32(view))

    def parts(self) -> Iterator[bytes]:
        """Yield the plain bytes, a part at a time."""
        stream, rest = zlib.decompressobj(-zlib.MAX_WBITS), self.deflated
        while part := stream.decompress(rest, _PART):
            yield part
            rest = stream.unconsumed_tail


_EOF = Piece.of(b"# EOF\n")


@dataclass(frozen=True)
class Body:
    """One format of an exposition, compressed and plain. Sizes are known before anything is joined or decompressed."""

    pieces: tuple[Piece, ...]
    trailer: bytes

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "Body":
        """Join pieces to one gzip member (RFC 1952), whose checksum is combined from theirs."""
        checksum = total = 0
        for piece in pieces:
            checksum = zlib.crc32_combine(checksum, piece.checksum, piece.size)
            total += piece.size
        return cls(tuple(pieces), struct.pack("<LL", checksum, total % 2**32))

    @property
    def size(self) -> int:
        """How many bytes it is."""
        return sum(piece.size for piece in self.pieces)

    @property
    def gzip_size(self) -> int:
        """How many bytes it is when compressed."""
        around = len(_GZIP_HEADER) + len(_LAST_BLOCK) + len(self.trailer)
        return around + sum(len(piece.deflated) for piece in self.pieces)

    def chunks(self) -> Iterator[bytes]:
        """Yield the plain bytes, decompressing them part by part."""
        return _chunks(chain.from_iterable(piece.parts() for piece in self.pieces))

    def gzip_chunks(self) -> Iterator[bytes]:
        """Yield the compressed bytes."""
        return _chunks(chain([_GZIP_HEADER], (piece.deflated for piece in self.pieces), [_LAST_BLOCK, self.trailer]))


@dataclass(frozen=True)
class EncodedFamily:
    """A family as it is served: above its lines a head for each format. ``declared_by`` is None for the agent's own."""

    family: Family
    heads: tuple[Piece, Piece]
    lines: tuple[Piece, ...]
    declared_by: frozenset[str] | None = None

    def of_collectors(self, collectors: Collection[str]) -> "EncodedFamily | None":
        """Return the part of it that these collectors have, None for nothing; its pieces are not compressed again.

        Families of the agent belong to every collector, except for lines with a label ``collector``: these are few,
        and are filtered.
        """
        if self.declared_by is not None:
            return None if self.declared_by.isdisjoint(collectors) else self
        if self.family.labels[:1] != ("collector",):
            return self
        begins = tuple(f'{self.family.name}{{collector="{name}"'.encode() for name in collectors)
        lines = b"".join(part for piece in self.lines for part in piece.parts()).splitlines(keepends=True)
        kept = b"".join(line for line in lines if line.startswith(begins))
        return replace(self, lines=(Piece.of(kept),)) if kept else None


@dataclass(frozen=True)
class Exposition:
    """The bytes of ``/metrics``: the text format 0.0.4 and OpenMetrics 1.0.0."""

    families: tuple[EncodedFamily, ...] = ()

    def of_collectors(self, collectors: Collection[str]) -> "Exposition":
        """Return a rendering of the families of these collectors, and of the agent's own."""
        found = (family.of_collectors(collectors) for family in self.families)
        return Exposition(tuple(family for family in found if family is not None))

    @cached_property
    def text_body(self) -> Body:
        """The text format."""
        return Body.of([piece for each in self.families for piece in (each.heads[False], *each.lines)])

    @cached_property
    def openmetrics_body(self) -> Body:
        """OpenMetrics, with its last line."""
        return Body.of([*(piece for each in self.families for piece in (each.heads[True], *each.lines)), _EOF])

    def body(self, *, openmetrics: bool, gzip: bool) -> tuple[int, Iterator[bytes]]:
        """Return how many bytes an answer has, and an iterator over them; each may take milliseconds."""
        form = self.openmetrics_body if openmetrics else self.text_body
        return (form.gzip_size, form.gzip_chunks()) if gzip else (form.size, form.chunks())

    @property
    def text(self) -> bytes:
        """The text format 0.0.4, whole."""
        return b"".join(self.text_body.chunks())

    @property
    def text_gzip(self) -> bytes:
        """The same, compressed."""
        return b"".join(self.text_body.gzip_chunks())

    @property
    def openmetrics(self) -> bytes:
        """OpenMetrics 1.0.0, whole."""
        return b"".join(self.openmetrics_body.chunks())

    @property
    def openmetrics_gzip(self) -> bytes:
        """The same, compressed."""
        return b"".join(self.openmetrics_body.gzip_chunks())


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Put small pieces together, none larger than it must be."""
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        if size and size + len(piece) > _CHUNK:
            yield b"".join(small)
            small, size = [], 0
        small.append(piece)
        size += len(piece)
    if size:
        yield b"".join(small)
