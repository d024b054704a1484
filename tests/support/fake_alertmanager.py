"""A fake Alertmanager over HTTP: it records every alert, and can fail in every way.

It refuses, errs, hangs, resets, and accepts without an answer. One connection is served after the other, so
that a client with a response knows that all requests before it are done.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self

Labels = tuple[tuple[str, str], ...]
WELL, REFUSES, ERRS, HANGS, RESETS, TAKES_HALF = "well", "refuses", "errs", "hangs", "resets", "takes half"
DISORDERS = (REFUSES, ERRS, HANGS, RESETS, TAKES_HALF)
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class ReceivedAlert:
    """One alert as it was received; instants are Unix seconds."""

    labels: Labels
    annotations: dict[str, str]
    starts_at: float
    ends_at: float
    notified_at: float

    @property
    def is_end(self) -> bool:
        """Whether it was received as ended."""
        return self.ends_at <= self.notified_at

    @property
    def name(self) -> str:
        """The alert's name."""
        return dict(self.labels)["alertname"]


class FakeAlertmanager:
    """One Alertmanager; ``news`` are the alerts accepted since it was last read."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        """The clock of the sender of its alerts."""
        self.notified: list[ReceivedAlert] = []
        """Everything that it accepted."""
        self.options = WELL
        self.last: dict[Labels, ReceivedAlert] = {}
        self.news: list[ReceivedAlert] = []
        self.accepted = 0
        """How many alerts it accepted so far, answered or not."""
        self.answered: list[ReceivedAlert] = []
        """The alerts that it accepted and confirmed, since it was read."""
        self.kills: tuple[int, bool] | None = None
        """The process that it ends at its next batch, and whether it accepts the batch before."""
        # A port stays reserved while it has no listener.
        self._place = _bound(0)
        self.port = self._place.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        if self.options != REFUSES:
            self._close()
        self._place.close()

    def behave(self, options: str) -> None:
        """Be in order, or out of it in another way."""
        before, self.options = self.options, options
        if REFUSES in (before, options) and before != options:
            (self._close if options == REFUSES else self._listen)()

    def settle(self) -> None:
        """Wait until all its requests are done."""
        if self.options != REFUSES:
            asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            asking.request("GET", "/")
            assert asking.getresponse().status == 200
            asking.close()

    def heard(self) -> tuple[list[ReceivedAlert], list[ReceivedAlert]]:
        """Return the alerts received since the last call, and those of them that it confirmed."""
        self.settle()
        news, answered = self.news, self.answered
        self.news, self.answered = [], []
        return news, answered

    def open_at(self, now: float) -> set[Labels]:
        """Return the alerts that it holds for firing: the last word of each counts."""
        return {labels for labels, word in self.last.items() if word.ends_at > now}

    @property
    def ends(self) -> Sequence[ReceivedAlert]:
        """The alerts received as ended."""
        return [notified for notified in self.notified if notified.is_end]

    def _listen(self) -> None:
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, batch: list[ReceivedAlert]) -> None:
        self.accepted += len(batch)
        self.notified += batch
        self.news += batch
        self.last |= {word.labels: word for word in batch}

    def _kill(self, *, accepted: bool) -> None:
        if self.kills is not None and self.kills[1] == accepted:
            os.kill(self.kills[0], signal.SIGKILL)
            self.kills = None


def _bound(port: int) -> socket.socket:
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind(("127.0.0.1", port))
    return place


def _server(alertmanager: FakeAlertmanager) -> HTTPServer:
    """Return a server that behaves as the Alertmanager does."""
    server = HTTPServer(("127.0.0.1", 0), _handler(alertmanager), bind_and_activate=False)
    server.socket.close()
    server.socket = _bound(alertmanager.port)
    server.server_address = server.socket.getsockname()
    server.server_activate()
    return server


def _handler(alertmanager: FakeAlertmanager) -> type["_Handler"]:
    return type("Handler", (_Handler,), {"alertmanager": alertmanager})


class _Handler(BaseHTTPRequestHandler):
    """Serves one request."""

    alertmanager: FakeAlertmanager

    def handle(self) -> None:
        # A client killed during its request is expected.
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return
        alertmanager = self.alertmanager
        alertmanager._kill(accepted=False)
        self._behave([received(alert, alertmanager.clock()) for alert in json.loads(body)])

    def _behave(self, batch: list[ReceivedAlert]) -> None:
        alertmanager, options = self.alertmanager, self.alertmanager.options
        if options == HANGS:
            self.connection.recv(1)
            return
        share = {ERRS: 0, TAKES_HALF: len(batch) // 2}.get(options, len(batch))
        alertmanager._take(batch[:share])
        alertmanager._kill(accepted=True)
        if options == WELL:
            alertmanager.answered += batch
        if options == RESETS:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        else:
            self._answer(200 if options == WELL else 503)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def received(alert: dict[str, Any], now: float) -> ReceivedAlert:
    """Return an alert as it stands in a batch."""
    starts_at, ends_at = (datetime.fromisoformat(alert[name]).timestamp() for name in ("startsAt", "endsAt"))
    return ReceivedAlert(tuple(sorted(alert["labels"].items())), alert["annotations"], starts_at, ends_at, now)
