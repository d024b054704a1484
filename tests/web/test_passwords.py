"""Passwords: right, wrong, unknown, and the cost of each."""

import asyncio
import threading
from collections.abc import Callable

import bcrypt
import pytest

from exporter.web.concurrency import Busy
from exporter.web.passwords import Passwords, is_hash, matches

HASHES = {
    "alice": bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode(),
    "bob": bcrypt.hashpw(b"builder", bcrypt.gensalt(5)).decode().replace("$2b$", "$2y$"),
}


class Counted:
    """A check that records the hashes it compares with."""

    def __init__(self) -> None:
        self.hashes: list[bytes] = []

    @property
    def work(self) -> int:
        """How much was computed, in rounds of bcrypt's key setup: two to the power of each hash's cost."""
        return sum(2 ** int(hashed.split(b"$")[2]) for hashed in self.hashes)

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


COSTS = {"low": 4, "middle": 6, "high": 9}
OF_COSTS = {user: bcrypt.hashpw(b"right", bcrypt.gensalt(cost)).decode() for user, cost in COSTS.items()}


@pytest.mark.parametrize("user", [*COSTS, "mallory"])
def test_every_refusal_is_the_same_work(user: str) -> None:
    """A wrong password costs the work of the highest cost in use, each time, for every user and for none."""
    check = Counted()
    passwords = Passwords(OF_COSTS, check)
    for refusals in (1, 2):
        assert not asyncio.run(passwords.accepts(user, b"wrong"))
        assert check.work == refusals * 2**9


@pytest.mark.parametrize("user", COSTS)
def test_a_right_password_is_one_computation_of_its_own_cost(user: str) -> None:
    """Whose password is right is let in after one computation, at the cost of the user's own hash."""
    check = Counted()
    assert asyncio.run(Passwords(OF_COSTS, check).accepts(user, b"right"))
    assert check.work == 2 ** COSTS[user]
    assert len(check.hashes) == 1


def test_what_refusals_are_padded_with_is_computed() -> None:
    """The placeholder hash is one that bcrypt computes; one that it refuses would cost no work."""
    check = Counted()
    asyncio.run(Passwords(OF_COSTS, check).accepts("low", b"wrong"))
    for hashed in check.hashes:
        assert is_hash(hashed.decode())
        assert bcrypt.hashpw(b"wrong", hashed).startswith(hashed[:28])


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
    assert check.work == 2**4 + 2 * 2**5


def test_nobody_is_remembered_in_clear() -> None:
    """The cache of a password is a digest under a key of this process."""
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


Guess = Callable[[int], tuple[str, str]]
"""The user and the network of a guesser, by the number of the guesser."""
GUESSES: dict[str, Guess] = {
    "unknown users": lambda number: (f"mallory{number}", "a"),
    "another user": lambda _: ("bob", "a"),
    "this user from elsewhere": lambda _: ("alice", "b"),
    "anybody from everywhere": lambda number: (["alice", "bob", "mallory"][number % 3], f"network {number}"),
}


async def _gains(passwords: Passwords, check: Counted) -> float:
    """Return how much is computed until alice is let in, in computations of the highest cost, 5."""
    before = check.work
    assert await passwords.accepts("alice", b"wonderland", "a")
    return (check.work - before) / 2**5


@pytest.mark.attack("guesses")
@pytest.mark.parametrize("guess", GUESSES.values(), ids=GUESSES)
def test_a_hundred_guessers_keep_no_user_out(guess: Guess) -> None:
    """An uncached user is accepted within two computations, while 100 guess again and again."""

    async def guess_on(passwords: Passwords, number: int) -> None:
        while True:
            try:
                assert not await passwords.accepts(guess(number)[0], b"wrong", guess(number)[1])
            except Busy:
                await asyncio.sleep(0.001)

    async def run() -> float:
        check = Counted()
        passwords = Passwords(HASHES, check)
        guessers = [asyncio.create_task(guess_on(passwords, number)) for number in range(100)]
        lanes = {(network, user if user in HASHES else None) for user, network in map(guess, range(100))}
        while set(passwords._queue._last) != lanes:  # noqa: ASYNC110 - computations are made by threads
            await asyncio.sleep(0.001)
        computations = await _gains(passwords, check)
        for guesser in guessers:
            guesser.cancel()
        await asyncio.gather(*guessers, return_exceptions=True)
        assert await passwords.accepts("bob", b"builder"), "the turns of the cancelled are free again"
        return computations

    assert asyncio.run(run()) <= 2


@pytest.mark.attack("guesses")
def test_a_hundred_guesses_at_the_same_password_keep_its_user_out_no_longer() -> None:
    """Even where guesses are of the same user and from the same network, the newest of those that wait is next."""

    async def run() -> tuple[float, list[object]]:
        check = Counted()
        passwords = Passwords(HASHES, check)
        guesses = [asyncio.create_task(passwords.accepts("alice", b"wrong", "a")) for _ in range(100)]
        await asyncio.sleep(0)
        computations = await _gains(passwords, check)
        return computations, await asyncio.gather(*guesses, return_exceptions=True)

    computations, answers = asyncio.run(run())
    assert computations <= 2
    refused = [answer for answer in answers if isinstance(answer, Busy)]
    assert (len(refused), answers.count(False)) == (84, 16), "of 101, one computes and 16 wait"


@pytest.mark.attack("guesses")
def test_a_remembered_user_never_queues() -> None:
    """A user with the right password is accepted while a computation is under way and every seat is busy."""
    begun, go_on = threading.Event(), threading.Event()

    def check(password: bytes, hashed: bytes) -> bool:
        if password == b"wrong":
            begun.set()
            assert go_on.wait(60)
        return matches(password, hashed)

    async def run() -> None:
        passwords = Passwords(HASHES, check)
        assert await passwords.accepts("alice", b"wonderland")
        guesses = [asyncio.create_task(passwords.accepts("alice", b"wrong")) for _ in range(100)]
        assert await asyncio.to_thread(begun.wait, 60)
        async with asyncio.timeout(60):
            assert await passwords.accepts("alice", b"wonderland")
        assert not go_on.is_set()
        go_on.set()
        await asyncio.gather(*guesses, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.attack("guesses")
def test_a_client_that_left_is_not_hashed() -> None:
    """A client that is gone when its turn comes costs no computation and is not let in."""

    async def has_left() -> bool:
        return True

    check = Counted()
    assert not asyncio.run(Passwords(HASHES, check).accepts("alice", b"wonderland", has_left=has_left))
    assert check.hashes == []


def test_an_unchanged_hash_stays_remembered_over_a_reload() -> None:
    """After a reload a user costs a computation only where the hash is another one."""
    check = Counted()
    passwords = Passwords(HASHES, check)
    asyncio.run(passwords.accepts("alice", b"wonderland"))
    passwords.adopt(Passwords(HASHES | {"carol": HASHES["bob"]}))
    assert asyncio.run(passwords.accepts("alice", b"wonderland"))
    assert len(check.hashes) == 1
    passwords.adopt(Passwords({"alice": HASHES["bob"]}))
    assert not asyncio.run(passwords.accepts("alice", b"wonderland"))
    assert asyncio.run(passwords.accepts("alice", b"builder"))
    passwords.adopt(Passwords({"bob": HASHES["bob"]}))
    assert not asyncio.run(passwords.accepts("alice", b"builder"))


def test_a_hash_that_is_replaced_while_it_is_computed_lets_nobody_in() -> None:
    """A password that fits a hash which a reload has just removed is refused, and not cached."""

    def check(password: bytes, hashed: bytes) -> bool:
        passwords.adopt(Passwords({"bob": HASHES["bob"]}))
        return matches(password, hashed)

    passwords = Passwords(HASHES, check)
    assert not asyncio.run(passwords.accepts("alice", b"wonderland"))
    assert passwords._remembered == {}
