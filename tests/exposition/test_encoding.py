"""The compressed forms: one gzip member each, whatever parts they were made of."""

import gzip
import random
import shutil
import subprocess
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exposition import Exposition
from exporter.exposition.encoding import EncodedFamily, Piece
from exporter.metrics import Family


def family(
    name: str,
    *lines: bytes,
    heads: tuple[Piece, Piece] | None = None,
    collector: str | None = None,
    label: str = "site",
) -> EncodedFamily:
    """Return a family with these lines, a piece each, below a head that names the format."""
    heads = heads or (Piece.of(f"# text {name}\n".encode()), Piece.of(f"# openmetrics {name}\n".encode()))
    declared = Family(name, "gauge", "Some.", (label,))
    return EncodedFamily(declared, heads, tuple(map(Piece.of, lines)), frozenset({collector}) if collector else None)


def rendering(*pieces: bytes) -> Exposition:
    """Return the same pieces in both formats."""
    nothing = Piece.of(b"")
    return Exposition((family("tableau_up", *pieces, heads=(nothing, nothing)),))


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
    parts = list(made.text_body.chunks())
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
    """The gzip command verifies checksum and length."""
    command = shutil.which("gzip")
    if command is None:
        pytest.skip("gzip is missing; to get it: apt-get install gzip")
    made = rendering(b"one\n", b"", b"two\n" * 100_000)
    result = subprocess.run([command, "-dc"], input=made.openmetrics_gzip, capture_output=True, check=True)
    assert result.stdout == made.openmetrics
    assert result.stderr == b""


def test_the_empty_rendering_is_valid() -> None:
    """Before the first rendering there is an exposition of nothing, which OpenMetrics ends all the same."""
    empty = Exposition()
    assert (empty.text, empty.openmetrics) == (b"", b"# EOF\n")
    assert gzip.decompress(empty.text_gzip) == b""
    assert gzip.decompress(empty.openmetrics_gzip) == b"# EOF\n"


OWN = family("tableau_up", b"tableau_up 1\n")
ABOUT_COLLECTORS = family(
    "tableau_collector_success",
    b'tableau_collector_success{collector="views"} 1\ntableau_collector_success{collector="views_2"} 0\n',
    b'tableau_collector_success{collector="users"} 1\n',
    label="collector",
)
VIEWS = family("tableau_view_requests_total", b"tableau_view_requests_total 7\n", collector="views")
USERS = family("tableau_users", b"tableau_users 1\n", b"tableau_users 2\n", collector="users")
WHOLE = Exposition((ABOUT_COLLECTORS, OWN, USERS, VIEWS))


def test_a_rendering_of_some_collectors_has_theirs_and_what_is_the_agents_own() -> None:
    """Families of other collectors are left out with their heads, and lines that are labelled with another one."""
    chosen = WHOLE.of_collectors({"views"})
    body = b'tableau_collector_success{collector="views"} 1\n', b"tableau_up 1\n", b"tableau_view_requests_total 7\n"
    names = "tableau_collector_success", "tableau_up", "tableau_view_requests_total"
    pairs = list(zip(names, body, strict=True))
    assert chosen.text == b"".join(f"# text {name}\n".encode() + lines for name, lines in pairs)
    written = b"".join(f"# openmetrics {name}\n".encode() + lines for name, lines in pairs)
    assert chosen.openmetrics == written + b"# EOF\n"
    assert gzip.decompress(chosen.text_gzip) == chosen.text
    assert gzip.decompress(chosen.openmetrics_gzip) == chosen.openmetrics


def test_a_rendering_of_no_collector_is_what_is_the_agents_own() -> None:
    """A family without a line for any of the collectors has no head either."""
    assert WHOLE.of_collectors(()).text == b"# text tableau_up\ntableau_up 1\n"


def test_choosing_collectors_compresses_nothing_again() -> None:
    """A collector's response consists of the very pieces that were compressed when it was rendered."""
    chosen = WHOLE.of_collectors({"users", "views"})
    assert [family for family in chosen.families if family.declared_by] == [USERS, VIEWS]
    assert all(mine is whole for mine, whole in zip(chosen.families[-2:], WHOLE.families[-2:], strict=True))
    assert chosen.families[1] is OWN
