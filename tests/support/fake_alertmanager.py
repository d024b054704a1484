"""What an Alertmanager is told, over HTTP, with a clock that is not its own: it remembers, and may be out of order."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Told:
    """One alert as it was told; instants are Unix seconds."""

    labels: Labels
    annotations: dict[str, str]
    starts_at: float
    ends_at: float
    told_at: float

    @property
    def is_end(self) -> bool:
        """Whether it was told as ended."""
        return self.ends_at <= self.told_at

    @property
    def name(self) -> str:
        """The alert's name."""
        return dict(self.labels)["alertname"]


class RecordingAlertmanager:
    """A server that takes alerts as Alertmanager's API does, and remembers each."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.clock = time.time
        """The clock of whoever tells it."""
        self.answers = True
        """Whether it takes what it is told; otherwise it answers with an error of its own."""

    def __enter__(self) -> Self:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            """Takes a batch."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken = recorder.answers
                if taken:
                    recorder.told += (told(alert, recorder.clock()) for alert in json.loads(body))
                self.send_response(200 if taken else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def open_at(self, now: float) -> set[Labels]:
        """Return the alerts that it holds for firing: the last word of each counts."""
        last = {told.labels: told for told in self.told}
        return {labels for labels, told in last.items() if told.ends_at > now}

    @property
    def ends(self) -> Sequence[Told]:
        """What it was told as ended."""
        return [told for told in self.told if told.is_end]


def told(alert: dict[str, Any], now: float) -> Told:
    """Return an alert as it stands in a batch."""
    starts_at, ends_at = (datetime.fromisoformat(alert[name]).timestamp() for name in ("startsAt", "endsAt"))
    return Told(tuple(sorted(alert["labels"].items())), alert["annotations"], starts_at, ends_at, now)
