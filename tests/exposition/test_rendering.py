"""The compressed forms: one gzip member each, whatever parts they were made of."""

import gzip
import shutil
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition import Rendering
from exporter.exposition.rendering import Part


def rendering(*pieces: bytes) -> Rendering:
    """Return the same pieces in both formats."""
    with ThreadPoolExecutor(1) as pool:
        parts = [Part.of(piece, pool) for piece in pieces]
    return Rendering.of(parts, parts)


@given(st.lists(st.binary(max_size=200) | st.integers(0, 100_000).map(lambda size: b"tableau " * size), max_size=5))
def test_what_is_decompressed_is_what_is_served_plain(pieces: list[bytes]) -> None:
    """Parts of any size, empty ones among them, make up one stream with the right checksum and length."""
    made = rendering(*pieces)
    assert made.text == b"".join(pieces)
    assert made.openmetrics == made.text + b"# EOF\n"
    assert gzip.decompress(made.text_gzip) == made.text
    assert gzip.decompress(made.openmetrics_gzip) == made.openmetrics


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
