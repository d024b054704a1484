"""The prefix of every path that the agent answers.

The prefix is taken off before the application sees a request: its pages, whose links are relative, know of none.
"""

from http import HTTPStatus

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_not_found = PlainTextResponse("Not Found\n", HTTPStatus.NOT_FOUND)


class RoutePrefix:
    """Middleware: answer below a prefix such as ``/tableau``; the root leads there, every other path is unknown."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._redirect = RedirectResponse(f"{prefix}/", HTTPStatus.FOUND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without the prefix."""
        path, raw = scope["path"], scope.get("raw_path") or scope["path"].encode()
        start = f"{self._prefix}/"
        if path.startswith(start) and raw.startswith(start.encode()):
            length = len(self._prefix)
            await self._app({**scope, "path": path[length:], "raw_path": raw[length:]}, receive, send)
        elif path in {"/", self._prefix}:
            await self._redirect(scope, receive, send)
        else:
            await _not_found(scope, receive, send)
