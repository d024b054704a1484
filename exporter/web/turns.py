"""How much is made at once, and how many may wait for it: who comes beyond that is told to come again.

What is costly has turns of its own, so that it never takes the threads of something else.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

T = TypeVar("T")
_RETRY_SECONDS = 5


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


def busy() -> Response:
    """Answer that there was no seat."""
    line = "Too much is being asked for at once; ask again in a few seconds.\n"
    return PlainTextResponse(line, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(_RETRY_SECONDS)})


async def has_left(request: Request) -> bool:
    """Tell whether the client closed its connection; nothing else must read the request."""
    # What is received first is the body of the request, an empty one as a rule; what comes then, if anything, tells.
    return await request.is_disconnected() or await request.is_disconnected()
