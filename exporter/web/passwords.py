"""Users and their bcrypt hashes.

A refusal costs the work of the highest cost that any user's hash has, whether the user exists or not and whatever the
cost of the user's own hash. One is computed at a time, off the event loop; a few more wait in a queue of their own. A
right password is remembered as a keyed digest, so that a scrape every few seconds costs next to nothing and waits for
nobody.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping

import bcrypt

from exporter.web.concurrency import FairQueue

_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_BCRYPT_BYTES = 72
_SEATS = 16
# The cost of htpasswd -B in the documents, for a server without users.
_DEFAULT_COST = 10


def is_hash(text: str) -> bool:
    """Return whether a text is a bcrypt hash as htpasswd -B writes it."""
    return _HASH.fullmatch(text) is not None


def matches(password: bytes, hashed: bytes) -> bool:
    """Return whether a password fits a hash; like every bcrypt, by its first 72 bytes."""
    try:
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed)
    except ValueError:
        return False


async def _stays() -> bool:
    return False


class Passwords:
    """The users; ``hashes`` maps a user to a bcrypt hash, ``check`` compares a password with one."""

    def __init__(self, hashes: Mapping[str, str], check: Callable[[bytes, bytes], bool] = matches) -> None:
        self._check = check
        self._hashes = {user: text.encode() for user, text in hashes.items()}
        self._key = secrets.token_bytes(32)
        self._remembered: dict[str, bytes] = {}
        self._queue = FairQueue(_SEATS)

    def adopt(self, other: "Passwords") -> None:
        """Replace the users by those of another; whose hash stays the same stays remembered."""
        self._hashes = other._hashes  # noqa: SLF001 - of its own kind

    async def accepts(
        self, user: str, password: bytes, network: str = "", has_left: Callable[[], Awaitable[bool]] = _stays
    ) -> bool:
        """Return whether the password is that of the user; raise Busy where too many others wait for that.

        ``network`` is where the client is: each configured user queues apart in each network, unknown users together.
        A client that ``has_left`` when its turn comes costs no computation.
        """
        if self._remembers(user, password):
            return True
        async with self._queue.turn((network, user if user in self._hashes else None)):
            if self._remembers(user, password):
                return True
            if await has_left():
                return False
            highest = max(map(_cost, self._hashes.values()), default=_DEFAULT_COST)
            hashed = self._hashes.get(user) or _unmatched(highest)
            fits = await asyncio.to_thread(self._fits, password, hashed, highest)
        # A reload may have replaced the hash meanwhile.
        if not fits or self._hashes.get(user) != hashed:
            return False
        self._remembered[user] = self._digest(user, password, hashed)
        return True

    def _fits(self, password: bytes, hashed: bytes, highest: int) -> bool:
        """Compare a password with a hash; a refusal takes the work of the highest cost.

        Each cost is twice the work of the one below: 2**highest is 2**cost, and once more each of 2**cost up to
        2**(highest - 1).
        """
        if self._check(password, hashed):
            return True
        for cost in range(_cost(hashed), highest):
            self._check(password, _unmatched(cost))
        return False

    def _remembers(self, user: str, password: bytes) -> bool:
        hashed, remembered = self._hashes.get(user), self._remembered.get(user)
        if hashed is None or remembered is None:
            return False
        return hmac.compare_digest(remembered, self._digest(user, password, hashed))

    def _digest(self, user: str, password: bytes, hashed: bytes) -> bytes:
        """Digest a password for one hash alone: with another hash of the same user it is not remembered."""
        return hmac.digest(self._key, hashed + user.encode() + b":" + password, hashlib.sha256)


def _cost(hashed: bytes) -> int:
    return int(hashed.split(b"$")[2])


def _unmatched(cost: int) -> bytes:
    """Make a hash of a cost whose password is unknown."""
    return b"$2b$%02d$" % cost + b"." * 53
