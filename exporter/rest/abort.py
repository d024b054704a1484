"""Connections that can be aborted, by a deadline or at the end of the agent.

A timeout of a socket bounds one wait; an answer that trickles has many. A socket that is shut down from beside wakes
its reader at once.
"""

import contextlib
import math
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CHECK_SECONDS = 0.5


class AbortableConnections:
    """Every open connection of a session, so that all can be aborted."""

    def __init__(self, stopping: Callable[[], bool] = lambda: False, moved: Callable[[], None] = lambda: None) -> None:
        self.stopping = stopping
        self.moved = moved
        """Marks the progress of a poll."""
        self.ends_at = math.inf
        """The instant of ``time.monotonic`` after which no response is awaited, whatever deadline a request has."""
        self.waited = 0.0
        """Seconds that a poll has waited on request of Tableau (Retry-After)."""
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._closed: list[_Handle] | None = None

    def watch(self, connected: socket.socket) -> "_Handle":
        """Keep a connection under a second descriptor: TLS detaches the first one."""
        handle = _Handle(connected)
        self._handles.add(handle)
        return handle

    def closed(self, handle: "_Handle") -> None:
        """Release a connection that was closed; while a request runs, its answer may still be read from it.

        Where the server announces that it closes, a connection is closed before the answer is read.
        """
        if self._closed is None:
            handle.close()
        else:
            self._closed.append(handle)

    def abort(self) -> None:
        """Shut every connection down."""
        for handle in list(self._handles):
            handle.abort()

    @property
    def is_last_request(self) -> bool:
        """Whether only a last request is allowed."""
        return self.ends_at < math.inf

    @contextlib.contextmanager
    def last_request(self, seconds: float) -> Iterator[None]:
        """Allow a last request within a few seconds although the agent ends."""
        stopping, self.stopping = self.stopping, lambda: False
        self.ends_at = time.monotonic() + seconds
        try:
            yield
        finally:
            self.stopping, self.ends_at = stopping, math.inf

    @contextlib.contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Abort every connection when the block passes an instant of ``time.monotonic``, or when the agent ends."""
        over, closed = threading.Event(), list[_Handle]()

        def watch() -> None:
            while not over.wait(max(0.0, min(CHECK_SECONDS, deadline - time.monotonic()))):
                if self.stopping() or time.monotonic() >= deadline:
                    self.abort()
                    over.wait(CHECK_SECONDS)

        self._closed = closed
        watcher = threading.Thread(target=watch, name="rest-deadline", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self._closed = None
            for handle in closed:
                handle.close()


class _Handle:
    """A connection by a file descriptor of our own."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket: socket.socket | None = socket.socket(fileno=os.dup(connected.fileno()))

    def abort(self) -> None:
        """Shut the connection down for every descriptor of it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the descriptor."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Adapter(HTTPAdapter):
    """Connections that can be aborted, with the given TLS context; urllib3 itself retries nothing."""

    def __init__(self, sockets: AbortableConnections, context: ssl.SSLContext) -> None:
        self._sockets = sockets
        self._context = context
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._sockets)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - urllib3's own
        """Make the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        manager.pool_classes_by_scheme = _pools(self._sockets)
        return manager


def _pools(sockets: AbortableConnections) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools of connections that can be aborted."""

    class Watched(HTTPConnection):
        handle: _Handle | None = None

        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            self.handle = sockets.watch(made)
            return made

        def close(self) -> None:
            super().close()
            if self.handle is not None:
                sockets.closed(self.handle)
                self.handle = None

    class Secure(Watched, HTTPSConnection):
        """Watched below TLS: the socket is what both have in common."""

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Watched

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
