"""HTTP/1.1 with a bound that uvicorn lacks: who stalls while sending a request or taking an answer is cut off.

Without it, a few connections that say nothing would use up the limit for ever. A slow client is borne with.
"""

import asyncio
import socket
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from exporter.web.access import Access
from exporter.web.allowed_hosts import ON_LOOPBACK
from exporter.web.connections import Connections
from exporter.web.passing import PassingConnection

KEEP_ALIVE_SECONDS = 75
"""Above the usual scrape interval, so that Prometheus keeps its connection."""
HEAD_BYTES = 16 * 1024
"""How much of a request's head is borne with before its end has come."""
# How often in a span of patience it is looked whether the client has taken anything.
_LOOKS = 10


class ImpatientProtocol(H11Protocol):
    """A connection: a request has ``patience_seconds``, an answer as many since some of it was last taken."""

    def __init__(self, *args: Any, connections: Connections, access: Access, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        size = self.config.h11_max_incomplete_event_size or HEAD_BYTES
        self.conn = PassingConnection(size, lambda: access.headers)
        self._places = connections
        self._patience_seconds = connections.patience_seconds
        # From here on, before TLS is negotiated: silence lasts no longer over TLS.
        self._until = self.loop.time() + self._patience_seconds
        self._look: asyncio.TimerHandle | None = None
        self._resting = False
        self._taken = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to check whether the client stalls, and send what is written at once."""
        _no_delay(transport)
        self._counted = CountedTransport(transport)
        self._line = transport.get_extra_info("socket")
        self._places.established(self._line.fileno())
        # uvicorn hands a copy to each request.
        self.app_state = {**self.app_state, ON_LOOPBACK: self._places.is_on_loopback(self._line.fileno())}
        super().connection_made(cast("asyncio.Transport", self._counted))
        self._look_later()

    def data_received(self, data: bytes) -> None:
        """Take some of a request; with the first of it the patience begins anew."""
        if self._resting:
            self._resting = False
            self._allow(self._patience_seconds)
        super().data_received(data)
        self._report_waiting()

    def on_response_complete(self) -> None:
        """Wait for another request, beyond the time after which uvicorn closes what is idle."""
        self._resting = True
        self._allow(self._patience_seconds + KEEP_ALIVE_SECONDS)
        super().on_response_complete()
        self._report_waiting()

    def _should_upgrade(self) -> bool:
        """Answer over HTTP/1.1, as RFC 9110 allows: a request to go on in another protocol is only an offer."""
        return False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; where an answer has begun, nothing but the end of the connection can do so."""
        begun = self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if begun:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _allow(self, seconds: float) -> None:
        self._until = self.loop.time() + seconds

    def _look_later(self) -> None:
        self._look = self.loop.call_later(self._patience_seconds / _LOOKS, self._look_now)

    def _report_waiting(self) -> None:
        """Say whether another client may have this place: no answer is being made or is still on its way."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        idle = cycle is None or cycle.response_complete
        waiting = idle and self.transport.get_write_buffer_size() == 0
        self._places.set_waiting(self._line.fileno(), waiting=waiting)

    def _look_now(self) -> None:
        self._report_waiting()
        if self._counted.taken > self._taken:
            self._taken = self._counted.taken
            self._until = max(self._until, self.loop.time() + self._patience_seconds)
        if self.loop.time() < self._until:
            self._look_later()
        else:
            self.transport.abort()


def _no_delay(transport: asyncio.Transport) -> None:
    """Have the system send a small answer right behind its head.

    asyncio does so for sockets that were made as TCP by name, which those of ``socket.create_server`` are not: a head
    would be waited for until the client acknowledges it, 40 ms as a rule.
    """
    line = transport.get_extra_info("socket")
    if line is not None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class CountedTransport:
    """A transport that knows how much of what was written has been taken from it, in bytes; all else is as it was."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written = 0

    @property
    def taken(self) -> int:
        """How many bytes have gone on their way."""
        return self._written - self._transport.get_write_buffer_size()

    def write(self, part: bytes) -> None:
        """Write, and count."""
        self._written += len(part)
        self._transport.write(part)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a transport has
        return getattr(self._transport, name)
