"""How much is made at once, and how many may wait for it: who comes beyond that is told to come again.

What is costly has turns of its own, so that it never takes the threads of something else.
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
    """All seats are taken."""


class Turns:
    """``seats`` answers at most are under way; ``at_once`` of them are being made, each in a thread."""

    def __init__(self, at_once: int, seats: int) -> None:
        self._turn = CapacityLimiter(at_once)
        self._threads = CapacityLimiter(at_once)
        self._free = seats

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Be one of those under way. Raises Busy, at once, where there is no seat."""
        if not self._free:
            raise Busy
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until fewer than ``at_once`` others have a turn, and have it."""
        async with self._turn:
            yield

    async def run(self, made: Callable[[], T]) -> T:
        """Call a function in a thread, once it is its turn."""
        async with self.turn():
            return await self.thread(made)

    async def thread(self, made: Callable[[], T]) -> T:
        """Call a function in a thread, within a turn."""
        return await to_thread.run_sync(made, limiter=self._threads)


class FairQueue:
    """One turn at a time, and ``seats`` that wait for the next.

    The next turn goes to the lane whose last turn is the longest ago, and there to the newest. Where more than
    ``seats`` wait, the one that would come last is refused. So however many wait in some lanes, another lane is next.
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
    line = "Too much is being asked for at once; ask again in a few seconds.\n"
    return PlainTextResponse(line, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(_RETRY_SECONDS)})


async def has_left(request: Request) -> bool:
    """Tell whether the client closed its connection; nothing else must read the request."""
    # What is received first is the body of the request, an empty one as a rule; what comes then, if anything, tells.
    return await request.is_disconnected() or await request.is_disconnected()
