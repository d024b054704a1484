"""Which hosts a request may be for, on a loopback address where nobody is asked for a user.

A browser sends the name in its address bar. A page of another site whose name leads to 127.0.0.1 (DNS rebinding) would
otherwise be of the same origin as the agent's pages, and read them.
"""

import re
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.hosts import canonical_host, is_loopback
from exporter.texts import visible
from exporter.web.access import Access
from exporter.web.log_limit import Interval

ON_LOOPBACK = "on_loopback"
"""The entry of a request's state that is true where it came in on a listener of a loopback address."""
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/]+)(?::[0-9]*)?")
_LOGGED = 100

log = structlog.get_logger()

_refused = PlainTextResponse(
    "This address answers to localhost only: put the name that you use into web.allowed_hosts.\n", HTTPStatus.FORBIDDEN
)


class AllowedHosts:
    """Middleware: refuse a request for another host, where the listener and the access are as above."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._interval = Interval()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer that its host is not allowed."""
        if not scope.get("state", {}).get(ON_LOOPBACK) or self._access.authenticates:
            await self._app(scope, receive, send)
            return
        authority = Headers(scope=scope).get("Host", "")
        if self._allows(authority):
            await self._app(scope, receive, send)
        else:
            self._report(authority)
            await _refused(scope, receive, send)

    def _allows(self, authority: str) -> bool:
        match = _AUTHORITY.fullmatch(authority)
        return match is not None and (is_loopback(match[1]) or canonical_host(match[1]) in self._access.allowed_hosts)

    def _report(self, authority: str) -> None:
        if (more := self._interval.passed()) is not None:
            log.warning(
                "a request was refused: its Host is neither local nor in web.allowed_hosts",
                host=visible(authority[:_LOGGED]),
                more_since_last_line=more,
            )
