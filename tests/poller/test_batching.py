"""One item is made ahead, in its order; errors come after the items before them; closing waits for the maker."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from exporter.poller.batching import prefetch


def test_in_order_and_one_ahead() -> None:
    """While an item is worked on, the next is made, and no further one."""
    begun: list[int] = []
    begins = threading.Semaphore(0)

    def numbers() -> Iterator[int]:
        for number in range(4):
            begun.append(number)
            begins.release()
            yield number

    taken = []
    with closing(prefetch(numbers())) as items:
        for item in items:
            taken.append(item)
            # Before an item is taken one is begun; while it is worked on, one more.
            wanted = min(item + 2, 4) - (item + 1 if item else 0)
            for _ in range(wanted):
                assert begins.acquire(timeout=60)
            assert not begins.acquire(timeout=0.05)
            assert begun == [*range(min(item + 2, 4))]
    assert taken == [0, 1, 2, 3]


def test_an_error_follows_what_was_made_before() -> None:
    """Items made before an error are returned, then the error is raised."""

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_closing_ends_the_thread() -> None:
    """A consumer that stops early leaves no thread behind, whether the producer waits or works."""
    before = set(threading.enumerate())
    for taken in (0, 1, 5):
        with closing(prefetch(iter(range(1000)))) as items:
            for _ in range(taken):
                next(items)
    assert set(threading.enumerate()) <= before
