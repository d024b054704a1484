"""Users and their bcrypt hashes.

A wrong password costs one bcrypt computation, whether the user exists or not, and only one is computed at a time, off
the event loop. A right one is remembered as a keyed digest, so that a scrape every few seconds costs next to nothing.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping

import bcrypt

_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_BCRYPT_BYTES = 72


def is_hash(text: str) -> bool:
    """Tell whether a text is a bcrypt hash as htpasswd -B writes it."""
    return _HASH.fullmatch(text) is not None


def matches(password: bytes, hashed: bytes) -> bool:
    """Tell whether a password fits a hash; like every bcrypt, by its first 72 bytes."""
    try:
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed)
    except ValueError:
        return False


class Passwords:
    """Who may come in; ``hashes`` maps a user to a bcrypt hash, ``check`` compares a password with one."""

    def __init__(self, hashes: Mapping[str, str], check: Callable[[bytes, bytes], bool] = matches) -> None:
        self._check = check
        self._hashes = {user: text.encode() for user, text in hashes.items()}
        self._stand_in = _unmatched(max((text.split("$")[2] for text in hashes.values()), default="10"))
        self._key = secrets.token_bytes(32)
        self._remembered: dict[str, bytes] = {}
        self._turn = asyncio.Lock()

    async def accepts(self, user: str, password: bytes) -> bool:
        """Tell whether the password is that of the user."""
        digest = self._digest(user, password)
        if hmac.compare_digest(self._remembered.get(user, bytes(len(digest))), digest):
            return True
        async with self._turn:
            fits = await asyncio.to_thread(self._check, password, self._hashes.get(user, self._stand_in))
        if fits and user in self._hashes:
            self._remembered[user] = digest
            return True
        return False

    def _digest(self, user: str, password: bytes) -> bytes:
        return hmac.digest(self._key, user.encode() + b":" + password, hashlib.sha256)


def _unmatched(cost: str) -> bytes:
    """Make a hash that nobody knows a password for and that costs as much as a real one."""
    return f"$2b${cost}${'.' * 53}".encode()
