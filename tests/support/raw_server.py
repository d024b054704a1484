"""A raw server in Alertmanager's place: a real socket, and bytes of a test's choice."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

Answer = Callable[[socket.socket, "ReceivedRequest"], None]


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as it came; the names of its headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def reply(status: int = 200, body: bytes | str = b"", missing: int = 0, **headers: str) -> Answer:
    """Answer with a status and a body, of which some bytes may be missing; ``_`` in a header's name is ``-``."""
    text = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(text) + missing}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + text)


def raw(answer: bytes) -> Answer:
    """Answer with these bytes."""
    return lambda connection, _: connection.sendall(answer)


def reset(begun: bytes) -> Answer:
    """Reset the connection in the midst of an answer."""

    def answer(connection: socket.socket, _: ReceivedRequest) -> None:
        connection.sendall(begun)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Answer each request in its own way; the last way is that of all that follow."""
    left = list(answers)

    def answer(connection: socket.socket, received: ReceivedRequest) -> None:
        current = left.pop(0) if len(left) > 1 else left[0]
        current(connection, received)

    return answer


class RawServer:
    """The server; each request is in ``received``, and one connection is served at a time."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.received: list[ReceivedRequest] = []
        self.over = threading.Event()
        self._context = context

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        scheme = "https" if self._context else "http"
        self.url = f"{scheme}://{'localhost' if self._context else '127.0.0.1'}:{self._listener.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()
        self._listener.close()

    def trickle(self, begun: bytes) -> Answer:
        """Answer with a byte now and then, for ever."""

        def answer(connection: socket.socket, _: ReceivedRequest) -> None:
            connection.sendall(begun)
            while not self.over.wait(0.05):
                connection.sendall(b"x")

        return answer

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(60)
            with contextlib.suppress(OSError, ValueError), self._secured(connection) as talking:
                received = _read(talking)
                self.received.append(received)
                self.answer(talking, received)
            connection.close()

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True) if self._context else connection


def _read(connection: socket.socket) -> ReceivedRequest:
    text = b""
    while b"\r\n\r\n" not in text:
        text += _some(connection)
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += _some(connection)
    method, path, _ = first.split(" ")
    return ReceivedRequest(method, path, headers, body)


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(65_536)
    if not chunk:
        raise OSError
    return chunk
