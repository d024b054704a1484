"""Pseudonyms that stay the same as long as their key, and addresses cut to their networks."""

import stat
from pathlib import Path

import pyarrow as pa
import pytest

from exporter.errors import HistoryUnwritable
from exporter.history.pseudonyms import Pseudonyms, load_key, truncated, without_addresses
from exporter.history.redaction import Privacy

ADDRESSES = {
    "203.0.113.77": "203.0.113.0",
    "203.0.113.77, 10.1.2.3": "203.0.113.0, 10.1.2.0",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1::",
    "::ffff:203.0.113.77": "203.0.113.0",
    "localhost": None,
    "203.0.113.77:8000": None,
    "": None,
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_cut(address: str) -> None:
    """An address is cut to /24 or /48; other texts are not stored."""
    assert truncated(address) == ADDRESSES[address]


def test_only_where_asked_for() -> None:
    """Addresses are cut in every chunk of both columns, and only under that option."""
    chunks = pa.chunked_array([["203.0.113.77", None], ["203.0.113.78", "x"]], pa.string_view())
    rows = pa.table({"id": pa.array([1, 2, 3, 4]), "remote_ip": chunks, "user_ip": chunks})
    assert without_addresses(rows, Privacy()) is rows
    cut = without_addresses(rows, Privacy(addresses="truncated"))
    for name in ("remote_ip", "user_ip"):
        assert cut.column(name).to_pylist() == ["203.0.113.0", None, "203.0.113.0", None]


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """The key is made for its owner alone, and read again the next time."""
    path = tmp_path / "key"
    key = load_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path) == key
    assert load_key(tmp_path / "other") != key


def test_a_broken_key_is_refused(tmp_path: Path) -> None:
    """A key of another length would change every pseudonym: it is refused, and so is a folder that is not there."""
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(HistoryUnwritable, match="not a key of 32 bytes"):
        load_key(tmp_path / "key")
    with pytest.raises(HistoryUnwritable, match="No such file or directory"):
        load_key(tmp_path / "nowhere" / "key")


def test_pseudonyms() -> None:
    """The same person has the same hash under one key and another under another; a number stays a positive number."""
    one, other = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)
    assert one.of("ann") == one.of("ann") != one.of("bob")
    assert one.of("ann") != other.of("ann")
    assert len(one.of("ann")) == 24
    assert 0 <= one.number(7) < 2**63
    assert one.number(7) == one.number(7) != other.number(7)


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    """A key file that is a folder is a fault in one line, not an internal error."""
    with pytest.raises(HistoryUnwritable, match="make it readable"):
        load_key(tmp_path)


def test_an_empty_key(tmp_path: Path) -> None:
    """A key that a crash left empty is made anew, whole or not at all, and is the same from then on."""
    path = tmp_path / "history.key"
    path.touch(0o600)
    key = load_key(path)
    assert (len(key), load_key(path), path.stat().st_mode & 0o777) == (32, key, 0o600)
    assert [left.name for left in tmp_path.iterdir()] == ["history.key"]
