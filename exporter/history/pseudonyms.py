"""Users and addresses under the privacy options: keyed hashes whose key stays beside the history, not in it."""

import hashlib
import ipaddress
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from exporter.errors import HistoryUnwritable
from exporter.history.locking import write_atomically
from exporter.history.redaction import ADDRESS_COLUMNS, Privacy

KEY_BYTES = 32
HASH_BYTES = 12
_IPV4_PREFIX, _IPV6_PREFIX = 24, 48


class Pseudonyms:
    """Keyed hashes of names and person numbers; the same person has the same hash as long as the key is kept."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, text: str) -> str:
        """Return the hash of a name, 24 hexadecimal digits."""
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._key, digest_size=HASH_BYTES).hexdigest()

    def number(self, person: int) -> int:
        """Return the hash of a person's number, a positive 63-bit integer."""
        digest = hashlib.blake2b(str(person).encode(), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1


def load_key(path: Path) -> bytes:
    """Read the key, or make it: readable by its owner alone. Raises HistoryUnwritable."""
    try:
        # An empty one was left by a crash, and nothing was hashed with it.
        if os.path.lexists(path) and path.stat().st_size:
            return _read_key(path)
        key = os.urandom(KEY_BYTES)
        write_atomically(path, key)
    except OSError as error:
        message = f"{path}: {error.strerror}; make the folder writable or set privacy.key_file"
        raise HistoryUnwritable(message) from None
    return key


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror}; make it readable for the agent, or set privacy.key_file"
        raise HistoryUnwritable(message) from None
    if len(key) != KEY_BYTES:
        message = (
            f"{path}: not a key of {KEY_BYTES} bytes; put the right file back, or remove it to start new pseudonyms"
        )
        raise HistoryUnwritable(message)
    return key


def truncated(address: str) -> str | None:
    """Return each address of a list cut to its network (/24, /48); None when one is not an address."""
    try:
        return ", ".join(_network(part.strip()) for part in address.split(","))
    except ValueError:
        return None


def _network(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    prefix = _IPV4_PREFIX if isinstance(parsed, ipaddress.IPv4Address) else _IPV6_PREFIX
    return str(ipaddress.ip_network((parsed, prefix), strict=False).network_address)


def without_addresses(rows: pa.Table, privacy: Privacy) -> pa.Table:
    """Cut the addresses of requests to their networks where the options require it, each distinct text once."""
    if privacy.addresses != "truncated":
        return rows
    for name in ADDRESS_COLUMNS:
        if name in rows.column_names:
            coded = pc.dictionary_encode(rows.column(name).cast(pa.string())).unify_dictionaries()
            chunks = [
                pa.array(
                    [None if text is None else truncated(text) for text in chunk.dictionary.to_pylist()], pa.string()
                ).take(chunk.indices)
                for chunk in coded.chunks
            ]
            rows = rows.set_column(rows.column_names.index(name), name, pa.chunked_array(chunks, pa.string()))
    return rows
