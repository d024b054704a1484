"""The sockets of a session, and what cuts them: a deadline, or the end of the agent.

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

LOOK_SECONDS = 0.5


class Line:
    """Every open connection of a session, so that all can be cut."""

    def __init__(self, stopping: Callable[[], bool] = lambda: False, moved: Callable[[], None] = lambda: None) -> None:
        self.stopping = stopping
        self.moved = moved
        """Marks the progress of a poll."""
        self.ends_at = math.inf
        """The instant of ``time.monotonic`` after which nothing is waited for, whatever a request's own deadline."""
        self.waited = 0.0
        """Seconds that a poll has waited because Tableau told it to."""
        self._breakers: weakref.WeakSet[_Breaker] = weakref.WeakSet()
        self._closed: list[_Breaker] | None = None

    def watch(self, connected: socket.socket) -> "_Breaker":
        """Remember a connection under a second descriptor: TLS takes the first one away."""
        breaker = _Breaker(connected)
        self._breakers.add(breaker)
        return breaker

    def closed(self, breaker: "_Breaker") -> None:
        """Let go of a connection that was closed; while a request runs, its answer may still be read from it.

        Where the server announces that it closes, a connection is closed before the answer is read.
        """
        if self._closed is None:
            breaker.close()
        else:
            self._closed.append(breaker)

    def cut(self) -> None:
        """Shut every connection down."""
        for breaker in list(self._breakers):
            breaker.cut()

    @property
    def is_leaving(self) -> bool:
        """Whether only a last request is let through."""
        return self.ends_at < math.inf

    @contextlib.contextmanager
    def leaving(self, seconds: float) -> Iterator[None]:
        """Let a last request through although the agent ends, within a few seconds."""
        stopping, self.stopping = self.stopping, lambda: False
        self.ends_at = time.monotonic() + seconds
        try:
            yield
        finally:
            self.stopping, self.ends_at = stopping, math.inf

    @contextlib.contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Cut the line when the block goes on past an instant of ``time.monotonic``, or when the agent ends."""
        over, closed = threading.Event(), list[_Breaker]()

        def watch() -> None:
            while not over.wait(max(0.0, min(LOOK_SECONDS, deadline - time.monotonic()))):
                if self.stopping() or time.monotonic() >= deadline:
                    self.cut()
                    over.wait(LOOK_SECONDS)

        self._closed = closed
        watcher = threading.Thread(target=watch, name="rest-deadline", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self._closed = None
            for breaker in closed:
                breaker.close()


class _Breaker:
    """A connection by a descriptor of our own."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket: socket.socket | None = socket.socket(fileno=os.dup(connected.fileno()))

    def cut(self) -> None:
        """Shut the connection down for everybody who has it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Adapter(HTTPAdapter):
    """Connections that the line knows, with certificates of our choice; urllib3 itself retries nothing."""

    def __init__(self, line: Line, context: ssl.SSLContext) -> None:
        self._line = line
        self._context = context
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._line)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - urllib3's own
        """Make the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        manager.pool_classes_by_scheme = _pools(self._line)
        return manager


def _pools(line: Line) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools whose connections the line watches."""

    class Watched(HTTPConnection):
        breaker: _Breaker | None = None

        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            self.breaker = line.watch(made)
            return made

        def close(self) -> None:
            super().close()
            if self.breaker is not None:
                line.closed(self.breaker)
                self.breaker = None

    class Secure(Watched, HTTPSConnection):
        """Watched below TLS: the socket is what both have in common."""

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Watched

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
