"""The webhook that the demo's Alertmanager notifies, on 127.0.0.1; notifications wait until they are read."""

import json
import queue
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from exporter.demo.postgres import HOST

LARGEST_BYTES = 16_000_000

Notification = dict[str, Any]


class WebhookReceiver:
    """A context manager: inside, notifications are received at ``url``."""

    def __init__(self) -> None:
        self._http = _Http((HOST, 0), _Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="receiver", daemon=True)

    @property
    def url(self) -> str:
        """Where Alertmanager posts to."""
        return f"http://{HOST}:{self._http.server_port}/"

    def arrived(self) -> Iterator[Notification]:
        """Yield what has arrived since the last time, in order."""
        while True:
            try:
                yield self._http.arrived.get_nowait()
            except queue.Empty:
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self.arrived: queue.SimpleQueue[Notification] = queue.SimpleQueue()
        super().__init__(*arguments)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as it is declared
        """Ignore clients that disconnected; any other error is a bug of this receiver."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = 60
    server: _Http

    def do_POST(self) -> None:
        """Receive a notification; invalid and too large ones are refused."""
        self.send_response(self._take())
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _take(self) -> HTTPStatus:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        try:
            notification = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return HTTPStatus.BAD_REQUEST
        if not isinstance(notification, dict) or not isinstance(notification.get("alerts"), list):
            return HTTPStatus.BAD_REQUEST
        self.server.arrived.put(notification)
        return HTTPStatus.OK
