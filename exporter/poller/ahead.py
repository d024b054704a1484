"""Work in a thread of its own, one item ahead of whoever takes the items."""

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield the items of an iterator; while one is worked on by the taker, the next is made, and no more than that.

    An error that ends the iterator is raised after the items before it. Whoever closes the generator waits for the
    item that is being made.
    """
    made: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    wanted = threading.Semaphore(1)
    stopped = threading.Event()

    def make() -> None:
        try:
            while wanted.acquire() and not stopped.is_set():
                made.put((next(items), None))
        except BaseException as error:  # noqa: BLE001 - raised where the items are taken
            made.put((None, error))

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            wanted.release()
            yield item  # type: ignore[misc]
            item = None
    finally:
        stopped.set()
        wanted.release()
        thread.join()
