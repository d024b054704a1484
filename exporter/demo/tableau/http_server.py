"""An HTTP server on a thread for each connection, and the failures on the wire."""

import ssl
import sys
import threading
from abc import ABC, abstractmethod
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

from exporter.demo.tableau import http_responses
from exporter.demo.tableau.calls import Answer


class Request(NamedTuple):
    """A request that has come in whole; names of headers are found in any case."""

    method: str
    target: str
    headers: Message
    body: bytes


class Sent(NamedTuple):
    """What is sent of an answer; without one, the connection is closed.

    ``cut`` sends half of it and closes the connection; ``trickle_seconds`` sends it byte by byte, and then blanks for
    ever; ``length`` is the Content-Length, if it is not the right one.
    """

    answer: Answer | None
    cut: bool = False
    trickle_seconds: float = 0
    length: int | None = None


class HttpServer(ABC):
    """A context manager: inside, the server answers at ``url``; ``certificate`` and ``key`` make it https."""

    def __init__(self, port: int = 0, certificate: Path | None = None, key: Path | None = None) -> None:
        self.stopped = threading.Event()
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self._http.tls = _tls(certificate, key)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"{'https' if self._http.tls else 'http'}://127.0.0.1:{self._http.server_port}"

    @abstractmethod
    def handle(self, request: Request) -> Sent:
        """Answer a request."""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="tableau", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    owner: HttpServer
    tls: ssl.SSLContext | None

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as it is declared
        """Ignore clients that disconnected; any other error is a bug of this server."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 600
    server: _Http

    def setup(self) -> None:
        if self.server.tls is not None:
            # Here, in the connection's own thread: a client that is slow to shake hands keeps no other client waiting.
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.server.tls is not None:
            self.request.close()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = self.server.owner.handle(Request(self.command, self.path, self.headers, body))
        if sent.answer is None:
            self.close_connection = True
        elif sent.trickle_seconds:
            self._trickle(sent.answer, sent.trickle_seconds)
        else:
            self._send(sent.answer, sent)

    def _send(self, answer: Answer, sent: Sent) -> None:
        # Head and body in one piece: two small packets would wait for each other.
        body = answer.body[: len(answer.body) // 2] if sent.cut else answer.body
        length = len(answer.body) if sent.length is None else sent.length
        self.wfile.write(http_responses.head(answer, length) + body)
        self.close_connection = self.close_connection or sent.cut

    def _trickle(self, answer: Answer, seconds: float) -> None:
        self.close_connection = True
        self.wfile.write(http_responses.head(answer, None))
        at = 0
        while not self.server.owner.stopped.wait(seconds):
            self.wfile.write(answer.body[at : at + 1] or b" ")
            at += 1


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
