"""The compressed forms: one gzip member each, whatever parts they were made of."""

import gzip
import random
import shutil
import subprocess
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exposition import Rendering
from exporter.exposition.rendering import Piece


def rendering(*pieces: bytes) -> Rendering:
    """Return the same pieces in both formats."""
    made = [Piece.of(piece) for piece in pieces]
    return Rendering.of(made, made)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200) | st.integers(0, 100_000).map(lambda size: b"tableau " * size), max_size=5))
def test_what_is_decompressed_is_what_is_served_plain(pieces: list[bytes]) -> None:
    """Parts of any size, empty ones among them, make up one stream with the right checksum and length."""
    made = rendering(*pieces)
    assert made.text == b"".join(pieces)
    assert made.openmetrics == made.text + b"# EOF\n"
    assert gzip.decompress(made.text_gzip) == made.text
    assert gzip.decompress(made.openmetrics_gzip) == made.openmetrics
    for openmetrics in (False, True):
        for form in (False, True):
            size, chunks = made.body(openmetrics=openmetrics, gzip=form)
            name = ("openmetrics" if openmetrics else "text") + ("_gzip" if form else "")
            assert b"".join(chunks) == getattr(made, name)
            assert size == len(getattr(made, name))


def test_what_stood_there_already_is_not_compressed_again() -> None:
    """The same bytes give the same piece, others another, whatever stood there."""
    last = Piece.of(b"one")
    assert Piece.of(b"one", last) is last
    assert list(Piece.of(b"two", last).parts()) == [b"two"]


def test_plain_bytes_come_in_small_parts() -> None:
    """However large a piece is, a reader of the plain bytes holds 256 kB of it at a time."""
    pieces = [b"tableau " * 300_000, random.Random(1).randbytes(1_000_000), b"tableau_up 1\n"]
    made = rendering(*pieces)
    parts = list(made.text_form.chunks())
    assert b"".join(parts) == b"".join(pieces)
    assert max(map(len, parts)) == 256 * 1024


def test_a_rendering_is_one_gzip_member() -> None:
    """Clients that stop after the first member, such as httpx, read everything."""
    made = rendering(b"one\n", b"two\n")
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert reader.decompress(made.text_gzip) == b"one\ntwo\n"
    assert reader.eof
    assert not reader.unused_data


def test_gzip_itself_finds_no_fault() -> None:
    """The command that everybody has tests checksum and length."""
    command = shutil.which("gzip")
    if command is None:
        pytest.skip("gzip is missing; to get it: apt-get install gzip")
    made = rendering(b"one\n", b"", b"two\n" * 100_000)
    result = subprocess.run([command, "-dc"], input=made.openmetrics_gzip, capture_output=True, check=True)
    assert result.stdout == made.openmetrics
    assert result.stderr == b""


def test_the_empty_rendering_is_valid() -> None:
    """Before the first rendering there is an exposition of nothing, which OpenMetrics ends all the same."""
    empty = Rendering.empty()
    assert (empty.text, empty.openmetrics) == (b"", b"# EOF\n")
    assert gzip.decompress(empty.text_gzip) == b""
    assert gzip.decompress(empty.openmetrics_gzip) == b"# EOF\n"
