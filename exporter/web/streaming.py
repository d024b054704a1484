"""Responses of many megabytes, sent in parts: a connection keeps one part, and none waits for another."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial

from anyio import create_task_group
from anyio.lowlevel import checkpoint
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from exporter.web.concurrency import Busy, ConcurrencyLimit, busy

# Bytes of one write. asyncio copies what the system does not accept, and uvicorn waits until most of
# it is on its way; each time the interpreter may have to be waited for.
_AT_ONCE = 1024 * 1024


class LargeResponse(Response):
    """A response of known size. Where a chunk costs milliseconds there is a ``limit``, and threads compute it."""

    def __init__(
        self, size: int, chunks: Iterator[bytes], headers: Mapping[str, str], limit: ConcurrencyLimit | None = None
    ) -> None:
        super().__init__(headers={**headers, "Content-Length": str(size)})
        self._chunks = chunks
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, and unless the method is HEAD, the chunks until the client disconnects."""
        if scope["method"] == "HEAD":
            await _send_head(self, send)
        elif self._limit is None:
            await _until_disconnect(receive, partial(self._send, send))
        else:
            try:
                with self._limit.admit():
                    await _until_disconnect(receive, partial(self._send, send))
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
        return following() if self._limit is None else await self._limit.run(following)


class LimitedStreamingResponse(Response):
    """A response that is computed while it is sent, each part in a slot; nothing is computed for HEAD."""

    def __init__(self, streamed: StreamingResponse, limit: ConcurrencyLimit) -> None:
        super().__init__(status_code=streamed.status_code)
        self.raw_headers = streamed.raw_headers
        self._streamed = streamed
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, or 503 where too many are pending."""
        if scope["method"] == "HEAD":
            await _send_head(self, send)
            return
        self._streamed.body_iterator = self._parts(aiter(self._streamed.body_iterator))
        try:
            with self._limit.admit():
                await _until_disconnect(receive, partial(self._streamed.stream_response, send))
        except Busy:
            await busy()(scope, receive, send)

    async def _parts(self, parts: AsyncIterator[str | bytes | memoryview]) -> AsyncIterator[str | bytes | memoryview]:
        """Yield the parts, and hold no slot while a part is sent."""
        while True:
            async with self._limit.slot():
                part = await anext(parts, None)
            if part is None:
                return
            yield part


async def _send_head(response: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": b""})


async def _until_disconnect(receive: Receive, sent: Callable[[], Awaitable[None]]) -> None:
    """Send a response until the client disconnects: uvicorn would accept all of it and drop it."""
    async with create_task_group() as group:

        async def stop_when_it_leaves() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(stop_when_it_leaves)
        await sent()
        group.cancel_scope.cancel()
