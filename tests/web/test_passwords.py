"""Passwords: right, wrong, unknown, and what each of them costs."""

import asyncio

import bcrypt
import pytest

from exporter.web.passwords import Passwords, is_hash, matches

HASHES = {
    "alice": bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode(),
    "bob": bcrypt.hashpw(b"builder", bcrypt.gensalt(5)).decode().replace("$2b$", "$2y$"),
}


class Counted:
    """A check that notes the hashes it was asked to compare with."""

    def __init__(self) -> None:
        self.hashes: list[bytes] = []

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        """Compare for real."""
        self.hashes.append(hashed)
        return matches(password, hashed)


@pytest.mark.parametrize(
    ("user", "password", "accepted"),
    [
        ("alice", b"wonderland", True),
        ("bob", b"builder", True),
        ("alice", b"builder", False),
        ("alice", b"", False),
        ("alice", b"wonderland\x00", False),
        ("Alice", b"wonderland", False),
        ("", b"", False),
        ("mallory", b"wonderland", False),
    ],
)
def test_only_the_right_password_of_a_known_user_is_accepted(user: str, password: bytes, accepted: bool) -> None:
    """A password is accepted where it is that of this very user, in whichever dialect of bcrypt it was hashed."""
    assert asyncio.run(Passwords(HASHES).accepts(user, password)) is accepted


def test_an_unknown_user_costs_as_much_as_a_known_one() -> None:
    """A user who does not exist costs one computation, at the highest cost in use, each time."""
    check = Counted()
    passwords = Passwords(HASHES, check)
    for _ in range(2):
        asyncio.run(passwords.accepts("mallory", b"guess"))
    assert [hashed.split(b"$")[2] for hashed in check.hashes] == [b"05", b"05"]


def test_a_right_password_is_computed_once() -> None:
    """A password that was right costs no second computation."""
    check = Counted()
    passwords = Passwords(HASHES, check)
    assert [asyncio.run(passwords.accepts("alice", b"wonderland")) for _ in range(3)] == [True] * 3
    assert len(check.hashes) == 1


def test_a_wrong_password_is_computed_each_time() -> None:
    """A wrong password is never remembered, not even after the right one."""
    check = Counted()
    passwords = Passwords(HASHES, check)
    guesses = [b"wonderland", b"wrong", b"wrong", b"wonderland"]
    assert [asyncio.run(passwords.accepts("alice", guess)) for guess in guesses] == [True, False, False, True]
    assert len(check.hashes) == 3


def test_nobody_is_remembered_in_clear() -> None:
    """What is remembered of a password is a digest under a key of this process."""
    one, other = Passwords(HASHES), Passwords(HASHES)
    for passwords in (one, other):
        asyncio.run(passwords.accepts("alice", b"wonderland"))
    assert b"wonderland" not in one._remembered["alice"]
    assert one._remembered != other._remembered


def test_a_long_password_counts_by_its_first_72_bytes() -> None:
    """A password longer than bcrypt reads is accepted like everywhere else, and breaks nothing."""
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4))
    assert matches(b"x" * 100, hashed)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        *((hashed, True) for hashed in HASHES.values()),
        ("wonderland", False),
        ("", False),
        (HASHES["alice"][:-1], False),
        (HASHES["alice"] + "\n", False),
        (HASHES["alice"].replace("$04$", "$03$"), False),
        (HASHES["alice"].replace("$04$", "$32$"), False),
        (HASHES["alice"].replace("$2b$", "$1$"), False),
    ],
    # Hashes are salted anew each time; the tests' names stay.
    ids=[*HASHES, "password", "nothing", "short", "line", "cheap", "dear", "old"],
)
def test_a_hash_is_told_from_a_password(text: str, valid: bool) -> None:
    """A text is a hash only where bcrypt can compute it."""
    assert is_hash(text) is valid
