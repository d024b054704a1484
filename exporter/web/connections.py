"""Bounds TCP connections from ``accept`` on: also for a client that sends nothing, or no TLS hello.

When all places are in use, a new client gets the place of the one that has waited longest without a request. Where
every place has an answer under way, the new client is closed at once.
"""

import asyncio
import contextlib
import errno
import os
import select
import socket
from typing import Any

import structlog

from exporter.hosts import is_loopback
from exporter.web.log_limit import Interval

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)

log = structlog.get_logger()


class Connections:
    """The open connections of a server, and which of them wait for a request. For one event loop alone."""

    def __init__(self, limit: int, timeout_seconds: float) -> None:
        self.limit = limit
        self.timeout_seconds = timeout_seconds
        self._open: dict[int, Connection] = {}
        # In the order in which they began to wait.
        self._waiting: dict[int, Connection] = {}
        self._cut: set[int] = set()
        self._interval = Interval()

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    def add(self, connection: "Connection") -> None:
        """Count a connection that was accepted; it waits for its first request."""
        self._open[connection.fileno()] = self._waiting[connection.fileno()] = connection

    def remove(self, number: int) -> None:
        """Free the place of a connection that is closed."""
        self._open.pop(number, None)
        self._waiting.pop(number, None)
        self._cut.discard(number)

    def established(self, number: int) -> None:
        """Leave the time-out of a connection to its protocol: TLS, if there is any, is negotiated."""
        if number in self._open:
            self._open[number].timer.cancel()

    def is_on_loopback(self, number: int) -> bool:
        """Whether a connection came in on a listener of a loopback address; one that is gone counts as such."""
        return number not in self._open or self._open[number].on_loopback

    def set_waiting(self, number: int, *, waiting: bool) -> None:
        """Note whether a connection waits for a request, or has an answer under way."""
        if not waiting:
            self._waiting.pop(number, None)
        elif number in self._open and number not in self._cut:
            self._waiting.setdefault(number, self._open[number])

    def make_room(self) -> bool:
        """Begin to close the connection that has waited longest; return whether a place becomes free."""
        self.report()
        if not self._cut and self._waiting:
            self._waiting[next(iter(self._waiting))].cut()
        return bool(self._cut)

    def cut(self, connection: "Connection") -> None:
        """Note that a connection is shut down; it holds its place until its descriptor is closed."""
        self._waiting.pop(connection.fileno(), None)
        self._cut.add(connection.fileno())

    def report(self) -> None:
        """Log that clients had to be closed, once a minute at most."""
        if (more := self._interval.passed()) is not None:
            log.warning(
                "too many connections: for each new one the longest without a request is closed",
                limit=self.limit,
                more_since_last_line=more,
            )


class Connection(socket.socket):
    """An accepted connection, which frees its place when it is closed."""

    connections: Connections
    on_loopback: bool
    timer: asyncio.TimerHandle

    def begin(self, connections: Connections, *, on_loopback: bool) -> None:
        """Count it, and cut it unless its protocol starts within the time-out: a TLS handshake that never ends."""
        self.connections, self.on_loopback = connections, on_loopback
        connections.add(self)
        self.timer = asyncio.get_running_loop().call_later(connections.timeout_seconds, self.cut)

    def cut(self) -> None:
        """Shut it down; asyncio sees its end, and closes it, in a TLS handshake too."""
        self.connections.cut(self)
        with contextlib.suppress(OSError):  # the client was faster
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, and free its place."""
        self.timer.cancel()
        self.connections.remove(self.fileno())
        super().close()


class Listener(socket.socket):
    """A listening socket that accepts no more than ``connections`` allow. Takes over a socket that listens."""

    def __init__(self, listening: socket.socket, connections: Connections) -> None:
        super().__init__(fileno=listening.detach())
        self._connections = connections
        # No page of another site leads a browser to a Unix socket.
        self._on_loopback = self.family != socket.AF_UNIX and is_loopback(self.getsockname()[0])
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, as asyncio does for each. Raises BlockingIOError where none is to be had now."""
        if self._connections.count >= self._connections.limit:
            # asyncio accepts until there is no further client: no connection is closed for a client that is not there.
            if self._has_client() and not self._connections.make_room():
                super().accept()[0].close()
            raise BlockingIOError
        try:
            accepted, address = super().accept()
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR:
                raise
            self._refuse()
            raise BlockingIOError from None
        connection = Connection(fileno=accepted.detach())
        connection.begin(self._connections, on_loopback=self._on_loopback)
        return connection, address

    def _has_client(self) -> bool:
        poll = select.poll()
        poll.register(self, select.POLLIN)
        return bool(poll.poll(0))

    def _refuse(self) -> None:
        """Close a client for which this process has no descriptor: asyncio would log it a hundred times a second."""
        self._connections.report()
        os.close(self._spare)
        try:
            super().accept()[0].close()
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        """Stop listening."""
        if self.fileno() >= 0:
            os.close(self._spare)
        super().close()
