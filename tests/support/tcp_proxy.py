"""A TCP proxy between the agent and its repository that can fall silent: nothing is closed, nothing comes any more."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

PIECE = 65_536
LISTEN_SECONDS = 0.1


class Proxy:
    """Forward bytes, until the server has sent ``silent_after`` bytes on a connection; None: for ever."""

    def __init__(self, host: str, port: int) -> None:
        self.silent_after: int | None = None
        self.passed = 0
        """How many bytes the server has sent in all."""
        self._server = (host, port)
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._listener.settimeout(LISTEN_SECONDS)
        self._start(self._accept)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.set()
        for line in (*self._open, self._listener):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        for thread in self._threads:
            thread.join()

    def alter(self, piece: bytes) -> bytes:
        """Return the bytes forwarded for a piece that the client sent."""
        return piece

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue
            client.settimeout(None)
            server = socket.create_connection(self._server)
            self._open += (client, server)
            self._start(self._pass_on, client, server, None)
            self._start(self._pass_on, server, client, self.silent_after)

    def _pass_on(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                output = piece if limit is None else piece[: max(0, limit - passed)]
                passed += len(piece)
                if source.getpeername() == self._server:
                    self.passed += len(output)
                else:
                    output = self.alter(output)
                target.sendall(output)
            if limit is None or passed <= limit:
                target.shutdown(socket.SHUT_WR)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
