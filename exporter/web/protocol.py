"""HTTP/1.1 on a connection: timeouts that uvicorn lacks, the checks of RFC 9112 that h11 lacks, security headers.

Without the timeouts, a few silent connections would use up the connection limit. A slow client is tolerated.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, cast

import h11
from h11 import SERVER, Connection, Event, RemoteProtocolError, Request, Response
from starlette.datastructures import MutableHeaders
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from exporter.web.connections import Connections
from exporter.web.middleware import ON_LOOPBACK
from exporter.web.web_config import Access

KEEP_ALIVE_SECONDS = 75
"""Above the usual scrape interval, so that Prometheus keeps its connection."""
HEAD_BYTES = 16 * 1024
"""The most bytes of an incomplete request head."""
# How often within a timeout the progress of the client is checked.
_CHECKS = 10


class TimeoutProtocol(H11Protocol):
    """A connection: a request has ``timeout_seconds``, an answer as many since the client last received some of it."""

    def __init__(self, *args: Any, connections: Connections, access: Access, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        size = self.config.h11_max_incomplete_event_size or HEAD_BYTES
        self.conn = ServerConnection(size, lambda: access.headers)
        self._connections = connections
        self._timeout_seconds = connections.timeout_seconds
        # From here on, before TLS is negotiated: silence lasts no longer over TLS.
        self._until = self.loop.time() + self._timeout_seconds
        self._next_check: asyncio.TimerHandle | None = None
        self._resting = False
        self._sent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to check whether the client stalls, and send small writes at once."""
        _no_delay(transport)
        self._counted = CountedTransport(transport)
        self._line = transport.get_extra_info("socket")
        self._connections.established(self._line.fileno())
        # uvicorn hands a copy to each request.
        self.app_state = {**self.app_state, ON_LOOPBACK: self._connections.is_on_loopback(self._line.fileno())}
        super().connection_made(cast("asyncio.Transport", self._counted))
        self._schedule_check()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request; with the first one the timeout begins anew."""
        if self._resting:
            self._resting = False
            self._allow(self._timeout_seconds)
        super().data_received(data)
        self._update_waiting()

    def on_response_complete(self) -> None:
        """Wait for another request, beyond the time after which uvicorn closes what is idle."""
        self._resting = True
        self._allow(self._timeout_seconds + KEEP_ALIVE_SECONDS)
        super().on_response_complete()
        self._update_waiting()

    def _should_upgrade(self) -> bool:
        """Answer over HTTP/1.1, as RFC 9110 allows: a request to go on in another protocol is only an offer."""
        return False

    def send_400_response(self, msg: str) -> None:
        """Refuse invalid HTTP; where an answer has begun, by closing the connection."""
        begun = self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if begun:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the checks."""
        if self._next_check is not None:
            self._next_check.cancel()
        super().connection_lost(exc)

    def _allow(self, seconds: float) -> None:
        self._until = self.loop.time() + seconds

    def _schedule_check(self) -> None:
        self._next_check = self.loop.call_later(self._timeout_seconds / _CHECKS, self._check_progress)

    def _update_waiting(self) -> None:
        """Report whether the connection is idle, so that another client may have its place."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        idle = cycle is None or cycle.response_complete
        waiting = idle and self.transport.get_write_buffer_size() == 0
        self._connections.set_waiting(self._line.fileno(), waiting=waiting)

    def _check_progress(self) -> None:
        self._update_waiting()
        if self._counted.sent > self._sent:
            self._sent = self._counted.sent
            self._until = max(self._until, self.loop.time() + self._timeout_seconds)
        if self.loop.time() < self._until:
            self._schedule_check()
        else:
            self.transport.abort()


def _no_delay(transport: asyncio.Transport) -> None:
    """Have the system send a small answer right behind its head.

    asyncio does so for sockets that were made as TCP by name, which those of ``socket.create_server`` are not: a head
    would be waited for until the client acknowledges it, 40 ms as a rule.
    """
    line = transport.get_extra_info("socket")
    if line is not None and line.family != socket.AF_UNIX:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class CountedTransport:
    """A transport that counts the bytes that were sent from it; all else is delegated."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written = 0

    @property
    def sent(self) -> int:
        """How many bytes the operating system has accepted."""
        return self._written - self._transport.get_write_buffer_size()

    def write(self, part: bytes) -> None:
        """Write, and count."""
        self._written += len(part)
        self._transport.write(part)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a transport has
        return getattr(self._transport, name)


class ServerConnection(Connection):
    """The server's side of a connection; ``headers`` returns the configured headers of an answer."""

    def __init__(self, max_incomplete_event_size: int, headers: Callable[[], Mapping[str, str]] = dict) -> None:
        super().__init__(SERVER, max_incomplete_event_size)
        self._headers = headers

    def next_event(self) -> Any:  # noqa: ANN401 - an event, or what h11 has instead of one
        """Return what comes next from the client. Raises h11.RemoteProtocolError where that is no valid request."""
        event = super().next_event()
        return validated(event) if isinstance(event, Request) else event

    def send(self, event: Event) -> bytes | None:  # type: ignore[override] # as h11 has it, without its overloads
        """Return the bytes of an event, None where the connection ends; a body is not copied."""
        if isinstance(event, Response):
            event = self._completed(event)
        pieces = self.send_with_data_passthrough(event)
        if pieces is None:
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _completed(self, answer: Response) -> Response:
        """Add the headers here, where answers of uvicorn pass too: 400, 500 and 503."""
        return Response(
            status_code=answer.status_code,
            headers=with_security_headers(list(answer.headers), self._headers()),
            http_version=answer.http_version,
            reason=answer.reason,
        )


_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)")


def validated(request: Request) -> Request:
    """Return a request in origin-form. Raises RemoteProtocolError where its framing or its target is ambiguous."""
    names = {name for name, _ in request.headers}
    # Section 6.1: two readings of where a request ends are how one is smuggled past a proxy in front.
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version < b"1.1"):
        raise RemoteProtocolError("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    absolute = _ABSOLUTE.fullmatch(request.target)
    return _in_origin_form(request, *absolute.groups()) if absolute else request


def _in_origin_form(request: Request, authority: bytes, target: bytes) -> Request:
    """Use the host of an absolute target in place of the header Host, as section 3.2.2 demands."""
    if not authority or b"@" in authority:
        raise RemoteProtocolError("the target names no host, or a user")
    headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"host"]
    return Request(
        method=request.method,
        target=target if target.startswith(b"/") else b"/" + target,
        headers=[(b"Host", authority), *headers],
        http_version=request.http_version,
    )


SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

RawHeaders = list[tuple[bytes, bytes]]


def with_security_headers(headers: RawHeaders, configured: Mapping[str, str]) -> RawHeaders:
    """Return the headers of an answer with those above where it lacks them, and with those of the configuration.

    The names of ``headers`` are in small letters.
    """
    found = MutableHeaders(raw=list(headers))
    for name, value in SECURITY_HEADERS.items():
        found.setdefault(name, value)
    found.update(configured)
    return found.raw
