"""Limits of concurrent work and of waiting requests; beyond them a request is answered with 503.

Each kind of expensive work has limits of its own, so that it never uses the threads of another.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

T = TypeVar("T")
_RETRY_SECONDS = 5
_LANES = 4_096


class Busy(Exception):
    """The queue is full."""


class ConcurrencyLimit:
    """At most ``pending`` answers are under way; ``at_once`` of them are computed, each in a thread."""

    def __init__(self, at_once: int, pending: int) -> None:
        self._slots = CapacityLimiter(at_once)
        self._threads = CapacityLimiter(at_once)
        self._free = pending

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count as pending. Raises Busy, at once, where too many are pending."""
        if not self._free:
            raise Busy
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for one of ``at_once`` slots, and hold it."""
        async with self._slots:
            yield

    async def run(self, made: Callable[[], T]) -> T:
        """Call a function in a thread, in a slot."""
        async with self.slot():
            return await self.thread(made)

    async def thread(self, made: Callable[[], T]) -> T:
        """Call a function in a thread, within a slot that is held."""
        return await to_thread.run_sync(made, limiter=self._threads)


class FairQueue:
    """One turn at a time, and ``seats`` that wait for the next.

    The next turn goes to the lane whose last turn is the longest ago, and there to the newest. Where more than
    ``seats`` wait, the last one is refused. So however many wait in some lanes, another lane is next.
    """

    def __init__(self, seats: int) -> None:
        self._seats = seats
        self._under_way = False
        self._waiting: list[tuple[Hashable, asyncio.Future[None]]] = []
        self._turns = itertools.count(1)
        # By lane the number of its last turn, the oldest first.
        self._last: dict[Hashable, int] = {}

    @asynccontextmanager
    async def turn(self, lane: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, and have it. Raises Busy where all seats are better used by others."""
        if self._under_way:
            await self._wait(lane)
        else:
            self._begin(lane)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, lane: Hashable) -> None:
        mine = (lane, asyncio.get_running_loop().create_future())
        self._waiting = [*self._alive(), mine]
        if len(self._waiting) > self._seats:
            last = max(self._waiting, key=self._last_turn)
            self._waiting.remove(last)
            last[1].set_exception(Busy())
        try:
            await mine[1]
        except asyncio.CancelledError:
            if not mine[1].cancelled() and mine[1].exception() is None:
                self._next()
            raise

    def _alive(self) -> list[tuple[Hashable, asyncio.Future[None]]]:
        """Return those that wait, without those whose request was cancelled."""
        return [entry for entry in self._waiting if not entry[1].cancelled()]

    def _next(self) -> None:
        self._under_way = False
        self._waiting = self._alive()
        if self._waiting:
            first = min(reversed(self._waiting), key=self._last_turn)
            self._waiting.remove(first)
            self._begin(first[0])
            first[1].set_result(None)

    def _begin(self, lane: Hashable) -> None:
        self._under_way = True
        self._last.pop(lane, None)
        self._last[lane] = next(self._turns)
        if len(self._last) > _LANES:
            del self._last[next(iter(self._last))]

    def _last_turn(self, entry: tuple[Hashable, asyncio.Future[None]]) -> int:
        return self._last.get(entry[0], 0)


def busy() -> Response:
    """Answer that there was no seat."""
    line = "Too many requests at once; try again in a few seconds.\n"
    return PlainTextResponse(line, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(_RETRY_SECONDS)})


async def has_left(request: Request) -> bool:
    """Return whether the client closed its connection; nothing else must read the request."""
    # The first message is the body of the request, usually an empty one; the next, if any, is the disconnect.
    return await request.is_disconnected() or await request.is_disconnected()
