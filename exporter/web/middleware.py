"""ASGI middleware: allowed hosts, basic authentication, and the check for cross-site requests."""

import base64
import binascii
import re
from http import HTTPStatus
from ipaddress import IPv6Network, ip_address
from urllib.parse import urlsplit

import structlog
from anyio import CancelScope
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.hosts import canonical_host, is_loopback
from exporter.texts import visible
from exporter.web.concurrency import Busy, busy
from exporter.web.log_limit import Interval
from exporter.web.web_config import Access


class BasicAuthentication:
    """Middleware: where users are configured, require one for every path."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer that it needs a user."""
        incoming = _Incoming(receive)
        try:
            app = self._app if scope["type"] != "http" or await self._admits(scope, incoming) else _unauthorized
        except Busy:
            app = busy()
        await app(scope, incoming, send)

    async def _admits(self, scope: Scope, incoming: "_Incoming") -> bool:
        passwords = self._access.passwords
        if passwords is None:
            return True
        credentials = _credentials(Headers(scope=scope).get("Authorization", ""))
        if credentials is None:
            return False
        return await passwords.accepts(*credentials, _network(scope), incoming.has_left)


class _Incoming:
    """The messages of a request; those that were read to see whether the client left are kept for the application."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []

    async def __call__(self) -> Message:
        return self._kept.pop(0) if self._kept else await self._receive()

    async def has_left(self) -> bool:
        """Whether the client closed its connection, as far as is known without waiting."""
        # The first message is the body of the request, usually an empty one; the next is the disconnect.
        for _ in range(2):
            with CancelScope() as scope:
                scope.cancel()
                self._kept.append(await self._receive())
        return any(message["type"] == "http.disconnect" for message in self._kept)


def _network(scope: Scope) -> str:
    """Return the address of a client, of an IPv6 address the 64 bits that one subscriber holds as a rule."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if address.version == 4 or address.ipv4_mapped:
        return str(getattr(address, "ipv4_mapped", None) or address)
    return str(IPv6Network((int(address), 64), strict=False))


_unauthorized = PlainTextResponse(
    "Unauthorized\n",
    HTTPStatus.UNAUTHORIZED,
    {"WWW-Authenticate": 'Basic realm="tableau-exporter", charset="UTF-8"'},
)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Take user and password out of an Authorization header, or None where it holds none."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def is_cross_site(request: Request) -> bool:
    """Return whether a browser sends this on behalf of another site; other clients send neither header."""
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        return True
    origin = request.headers.get("Origin")
    return origin is not None and _authority(origin) != request.headers.get("Host", "").lower()


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


# The Host of a browser is the name in its address bar. A page of another site whose name leads to 127.0.0.1 (DNS
# rebinding) would otherwise be of the same origin as the agent's pages, and read them.
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
