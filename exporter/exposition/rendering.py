"""An exposition in every form it may be asked for, made of parts that are compressed once and kept.

A compressed part ends on a byte boundary and refers to nothing before it, so that parts joined are one gzip member,
which every client reads (docs/decisions/0005-exposition.md).
"""

import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cached_property

# Level 6 saves a sixth of the bytes and takes more than twice as long.
_LEVEL = 1
_GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_LAST_BLOCK = b"\x03\x00"


@dataclass(frozen=True)
class Part:
    """Some bytes, and the same as a piece of a deflate stream, which may still be in the making."""

    plain: bytes
    deflated: Future[bytes]

    @classmethod
    def of(cls, plain: bytes, pool: Executor) -> "Part":
        """Have some bytes compressed."""
        return cls(plain, pool.submit(_deflate, plain))


@dataclass(frozen=True)
class Rendering:
    """The bytes of ``/metrics``: the text format 0.0.4 and OpenMetrics 1.0.0, each plain and compressed.

    Prometheus asks for gzip, so that is ready; the plain bytes, several times as many, are joined when first asked for.
    """

    text_pieces: Sequence[bytes]
    text_gzip: bytes
    openmetrics_pieces: Sequence[bytes]
    openmetrics_gzip: bytes

    @cached_property
    def text(self) -> bytes:
        """The text format 0.0.4."""
        return b"".join(self.text_pieces)

    @cached_property
    def openmetrics(self) -> bytes:
        """OpenMetrics 1.0.0."""
        return b"".join(self.openmetrics_pieces)

    @classmethod
    def of(cls, text: Sequence[Part], openmetrics: Sequence[Part]) -> "Rendering":
        """Join the parts of both formats; OpenMetrics gets its last line."""
        return cls(
            [each.plain for each in text],
            _gzip([(each.plain, each.deflated.result()) for each in text]),
            [*(each.plain for each in openmetrics), _EOF],
            _gzip([*((each.plain, each.deflated.result()) for each in openmetrics), (_EOF, _deflate(_EOF))]),
        )

    @classmethod
    def empty(cls) -> "Rendering":
        """Return the rendering of nothing."""
        return cls.of((), ())


_EOF = b"# EOF\n"


def _deflate(plain: bytes) -> bytes:
    """Compress some bytes so that they can stand anywhere in a stream."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(plain) + stream.flush(zlib.Z_SYNC_FLUSH)


def _gzip(pieces: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Join plain and compressed pieces to one gzip member (RFC 1952)."""
    checksum = size = 0
    for plain, _ in pieces:
        checksum = zlib.crc32(plain, checksum)
        size += len(plain)
    trailer = struct.pack("<LL", checksum, size % 2**32)
    return b"".join([_GZIP_HEADER, *(deflated for _, deflated in pieces), _LAST_BLOCK, trailer])
