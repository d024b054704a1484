"""Batches of a long read: how many rows fit into one, and a thread that prefetches the next."""

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import TypeVar

import pyarrow as pa

from exporter.repository.session import Snapshot

T = TypeVar("T")

# Five of these are a whole row group of DuckDB; up to five are in memory at a time: read, cleaned, written.
BATCH_ROWS = 24_576
# What one statement may scan. Beyond it an exact read goes through the table by windows of id.
WINDOW_BYTES = 1_000_000_000
# Where the size of the rows is unknown.
FIRST_BATCH_ROWS = 8_192
FIRST_WINDOW_ROWS = 100_000
# A batch or a window whose statement times out is halved, but not below this.
MIN_ROWS = 1_000
# A row takes more room as columns than in the table, where long texts are compressed.
WIRE_FACTOR = 2
BATCH_BYTES = 60_000_000
# Rows may be larger than estimated; a batch is cut there, and the next begins.
MAX_BATCH_BYTES = 80_000_000


def batch_rows(rows: pa.Table) -> int:
    """Return how many rows like these fit into a batch."""
    if not rows.num_rows:
        return FIRST_BATCH_ROWS
    return _rows_of(int(rows.get_total_buffer_size() // rows.num_rows))


def estimated_batch_rows(snapshot: Snapshot) -> int:
    """Return how many rows fit into a batch by PostgreSQL's statistics."""
    if snapshot.rows <= 0:
        return FIRST_BATCH_ROWS
    return _rows_of(int(snapshot.bytes / snapshot.rows) * WIRE_FACTOR)


def window_rows(snapshot: Snapshot) -> int:
    """Return how many rows one statement may scan: at most half of those that are too many for one."""
    if snapshot.rows <= 0:
        return FIRST_WINDOW_ROWS
    fitting = WINDOW_BYTES / max(snapshot.bytes / snapshot.rows, 1.0)
    return max(MIN_ROWS, int(min(fitting, snapshot.rows / 2)))


def _rows_of(average_bytes: int) -> int:
    return max(1_000, min(BATCH_ROWS, BATCH_BYTES // max(1, average_bytes)))


def prefetch(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield the items of an iterator, and prepare the next in a thread while the consumer works on one; no more.

    An error that ends the iterator is raised after the items before it. Closing the generator waits for the item that
    is being prepared.
    """
    ready: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    wanted = threading.Semaphore(1)
    stopped = threading.Event()

    def produce() -> None:
        try:
            while wanted.acquire() and not stopped.is_set():
                ready.put((next(items), None))
        except BaseException as error:  # noqa: BLE001 - raised in the consumer's thread
            ready.put((None, error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
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
