"""Peers that quote secrets: a PostgreSQL and a Tableau, and another server in their place."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self
from xml.sax.saxutils import escape

from tests.rest.tableau import HEAD, Answer, Override, element

_SSL, _GSS = 80_877_103, 80_877_104


class Postgres:
    """A server of PostgreSQL's protocol that refuses the password, or every statement, with a given message."""

    def __init__(self, text: str, *, at_login: bool) -> None:
        self.refusals = 0
        self._text = text
        self._at_login = at_login
        self._over = threading.Event()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        with suppress(OSError, struct.error), connection, connection.makefile("rb") as incoming:
            while struct.unpack("!i", _body(incoming.read)[:4])[0] in {_SSL, _GSS}:
                connection.sendall(b"N")
            connection.sendall(_message(b"R", struct.pack("!i", 3)))  # a password in clear
            self._read(incoming.read)
            if not self._at_login:
                connection.sendall(_message(b"R", struct.pack("!i", 0)))
                connection.sendall(_message(b"S", b"server_version\x0015.4\x00"))
                connection.sendall(_message(b"S", b"client_encoding\x00UTF8\x00") + _message(b"Z", b"I"))
                self._read(incoming.read)
            notice = _message(b"N", self._fields("NOTICE", "01000"))
            connection.sendall(notice + _message(b"E", self._fields("FATAL", "28P01" if self._at_login else "42501")))
            self.refusals += 1

    def _read(self, read: Callable[[int], bytes]) -> None:
        if not read(1):
            raise OSError
        _body(read)

    def _fields(self, severity: str, state: str) -> bytes:
        quote = {"S": severity, "V": severity, "C": state, "M": f"authentication failed: {self._text}", "D": self._text}
        return b"".join(f"{key}{value}\0".encode() for key, value in quote.items()) + b"\0"


def _body(read: Callable[[int], bytes]) -> bytes:
    return read(struct.unpack("!i", read(4))[0] - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


@contextmanager
def greeter(greeting: bytes) -> Iterator[str]:
    """Another program in the place of PostgreSQL, which sends this to every client."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(1)
                connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def on(part: str, answer: Answer) -> Override:
    """Answer so where the path has this part."""
    return lambda received: answer if part in received.path else None


def as_tableau(text: str, status: int = 401, code: str = "401001") -> Answer:
    """Refuse as Tableau does, in words of our choice."""
    inside = element("summary", escape(text)) + element("detail", "because")
    return Answer(f"{HEAD}{element('error', inside, code=code)}</tsResponse>", status)
