"""Files of events as lines: every line with its number, whatever stands in it."""

import io

import pytest

from exporter.activity_log import lines
from exporter.activity_log.lines import NO_TEXT, pieces, split


def read(content: bytes) -> list[tuple[int, str]]:
    """Return the lines of a file with their numbers."""
    table = split(pieces(7, io.BytesIO(content)))
    assert set(table.column("file").to_pylist()) <= {7}
    return list(zip(table.column("number").to_pylist(), table.column("text").to_pylist(), strict=True))


@pytest.mark.parametrize("piece_bytes", [5, 8_000_000])
def test_lines_keep_their_numbers(monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    """Blank lines are left out and counted, in whatever pieces a file is read."""
    monkeypatch.setattr(lines, "PIECE_BYTES", piece_bytes)
    content = b"\xef\xbb\xbf{}\n\n \n{}\r\n{}"
    assert read(content) == [(1, "{}\n"), (4, "{}\r\n"), (5, "{}\n")]
    assert read(b"") == []


def test_a_line_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is marked, so that it is no JSON, and the others around it are as they were."""
    assert read(b'{"a":"\xff"}\n{"a":"\xc3\xa9"}') == [(1, NO_TEXT + '{"a":"\ufffd"}\n'), (2, '{"a":"é"}\n')]


def test_a_line_that_is_longer_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut, and the lines behind it keep their places."""
    monkeypatch.setattr(lines, "PIECE_BYTES", 10)
    found = read(b"{" + b" " * 100 + b"}\n{}\n")
    assert [text.strip() for _, text in found] == ["{", "{}"]
