"""Answers of many megabytes: sent in parts, so that a connection keeps one part of them, and none waits for another."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial

from anyio import create_task_group
from anyio.lowlevel import checkpoint
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from exporter.web.concurrency import Busy, Turns, busy

# What is given to a connection at once. asyncio copies what the system does not take, and uvicorn waits until most of
# it is on its way; each time the interpreter may have to be waited for.
_AT_ONCE = 1024 * 1024


class LargeResponse(Response):
    """An answer of known size. Where making a chunk takes milliseconds it has ``turns``, and is made in threads."""

    def __init__(
        self, size: int, chunks: Iterator[bytes], headers: Mapping[str, str], turns: Turns | None = None
    ) -> None:
        super().__init__(headers={**headers, "Content-Length": str(size)})
        self._chunks = chunks
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, and unless only that was asked for, chunk after chunk as long as somebody is there."""
        if scope["method"] == "HEAD":
            await _send_head(self, send)
        elif self._turns is None:
            await _while_there(receive, partial(self._send, send))
        else:
            try:
                with self._turns.seat():
                    await _while_there(receive, partial(self._send, send))
            except Busy:
                await busy()(scope, receive, send)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while chunk := await self._next():
            for start in range(0, len(chunk), _AT_ONCE):
                part = memoryview(chunk)[start : start + _AT_ONCE]
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await checkpoint()  # uvicorn waits for nothing once a client has left: let the loop learn of it
        await send({"type": "http.response.body", "body": b""})

    async def _next(self) -> bytes:
        """Return the next chunk; empty at the end."""
        following = partial(next, self._chunks, b"")
        return following() if self._turns is None else await self._turns.run(following)


class StreamedInTurn(Response):
    """An answer that is made while it is sent, each part when it is its turn; of HEAD no part is made."""

    def __init__(self, streamed: StreamingResponse, turns: Turns) -> None:
        super().__init__(status_code=streamed.status_code)
        self.raw_headers = streamed.raw_headers
        self._streamed = streamed
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or that there is no seat for it."""
        if scope["method"] == "HEAD":
            await _send_head(self, send)
            return
        self._streamed.body_iterator = self._parts(aiter(self._streamed.body_iterator))
        try:
            with self._turns.seat():
                await _while_there(receive, partial(self._streamed.stream_response, send))
        except Busy:
            await busy()(scope, receive, send)

    async def _parts(self, parts: AsyncIterator[str | bytes | memoryview]) -> AsyncIterator[str | bytes | memoryview]:
        """Yield what is made, and leave the turn to others while it is on its way."""
        while True:
            async with self._turns.turn():
                part = await anext(parts, None)
            if part is None:
                return
            yield part


async def _send_head(response: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": b""})


async def _while_there(receive: Receive, sent: Callable[[], Awaitable[None]]) -> None:
    """Send an answer, or stop where the client leaves: uvicorn would take all of it and drop it."""
    async with create_task_group() as group:

        async def stop_when_it_leaves() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(stop_when_it_leaves)
        await sent()
        group.cancel_scope.cancel()
