"""The server: HTTP on a thread for each connection, and the failures on the wire."""

import ssl
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

from exporter.demo.tableau import errors, http_responses
from exporter.demo.tableau.calls import HTML, Answer, Call, understood
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Facts
from exporter.demo.tableau.failure_modes import SIGNING, Traps
from exporter.demo.tableau.jwt import App
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.rest import About, Rest
from exporter.demo.tableau.sessions import LIFE_SECONDS, Sessions

TOKENS = {"exporter": "a-made-up-personal-access-token"}
REMEMBERED = 20_000


class Seen(NamedTuple):
    """A call that was answered; ``site`` is its content URL."""

    kind: str
    site: str | None
    target: str
    status: int


class TableauServer:
    """A context manager: inside, the server answers at ``url``.

    ``tokens`` are personal access tokens by name, ``apps`` connected apps; ``certificate`` and ``key`` make it https.
    ``traps`` are its switches, ``requests`` counts calls by kind, ``seen`` are the last of them.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        estate: Estate,
        *,
        port: int = 0,
        tokens: Mapping[str, str] = TOKENS,
        apps: tuple[App, ...] = (),
        version: str = "2025.3",
        api_version: str = "3.26",
        cloud: bool = False,
        certificate: Path | None = None,
        key: Path | None = None,
        clock: Callable[[], float] = time.time,
        session_seconds: float | None = None,
    ) -> None:
        self.estate = estate
        self.traps = Traps()
        self.requests: Counter[str] = Counter()
        self.seen: deque[Seen] = deque(maxlen=REMEMBERED)
        life = LIFE_SECONDS[cloud] if session_seconds is None else session_seconds
        self.sessions = Sessions(tokens, apps, self.traps, clock, life, cloud=cloud)
        self.rest = Rest(About(version, api_version, cloud), self.facts, self.sessions, self.traps, self.oddities)
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._since_rival = 0
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.tableau = self
        self._http.tls = _tls(certificate, key)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"{'https' if self._http.tls else 'http'}://127.0.0.1:{self._http.server_port}"

    @property
    def signed_in(self) -> list[str]:
        """The content URLs of the sites that were signed in to, one after another."""
        return [seen.site or "" for seen in self.seen if seen.kind == "signin" and seen.status == 200]

    def facts(self) -> Facts:
        """Return the current facts of the estate; another estate may be put in its place at any time."""
        return self.estate.facts()

    def oddities(self) -> Oddities:
        """Return the current oddities of the estate."""
        return self.estate.oddities

    def collide(self, name: str | None = None) -> None:
        """Let another client sign in with a token (with every token): our session ends."""
        self.sessions.end_all(name)

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

    def respond(self, call: Call, site: str | None) -> Answer:
        """Answer a call, under the failure modes that replace its answer."""
        traps = self.traps
        if traps.hits(traps.html_login_page, call.kind, site):
            return Answer(200, http_responses.LOGIN_PAGE, HTML)
        if call.kind == "serverinfo" and traps.serverinfo_missing:
            return Answer(404, http_responses.MISSING_PAGE, HTML)
        if traps.touches(call.kind, site):
            waiting = (("Retry-After", traps.retry_after),) if traps.retry_after is not None else ()
            if traps.take("throttle_next"):
                return Answer(429, errors.throttled().body, headers=waiting)
            if traps.take("fail_next"):
                return Answer(traps.fail_status, http_responses.BUSY_PAGE, HTML, waiting)
            if traps.take("expire_next"):
                self._expire(call)
        if (broken := self._broken(call, site)) is not None:
            return broken
        self._rival(call)
        return self.rest.answer(call)

    def _broken(self, call: Call, site: str | None) -> Answer | None:
        """Return the replacement of an answer as long as a failure mode is set."""
        traps = self.traps
        if len(call.body) > traps.largest_body:
            return Answer(413, http_responses.TOO_LARGE_PAGE, HTML)
        if (call.kind not in SIGNING and site in traps.sites_failing) or traps.hits(traps.failing, call.kind, site):
            return Answer(500, http_responses.BUSY_PAGE, HTML)
        if traps.hits(traps.nulls, call.kind, site):
            return Answer(200, b"null")
        if traps.hits(traps.bombs, call.kind, site):
            return http_responses.bomb(call.kind)
        return Answer(200, http_responses.GARBAGE) if traps.hits(traps.garbage, call.kind, site) else None

    def remember(self, call: Call, site: str | None, target: str, status: int) -> None:
        """Count a call that was answered."""
        with self._lock:
            self.requests[call.kind or "unknown"] += 1
            self.seen.append(Seen(call.kind, site, target, status))

    def _expire(self, call: Call) -> None:
        with suppress(errors.Refusal):
            self.sessions.end(self.sessions.find(call.token))

    def _rival(self, call: Call) -> None:
        if not self.traps.rival_every or call.kind in SIGNING:
            return
        with self._lock:
            self._since_rival += 1
            due = self._since_rival >= self.traps.rival_every
            self._since_rival = 0 if due else self._since_rival
        if due:
            self.collide()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    tableau: TableauServer
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
        tableau = self.server.tableau
        traps = tableau.traps
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = understood(self.command, self.path, self.headers.get("X-Tableau-Auth"), body)
        site = tableau.rest.site_of(call)
        hit = traps.touches(call.kind, site)
        if hit and traps.take("close_next"):
            tableau.remember(call, site, self.path, 0)
            self.close_connection = True
            return
        answer = tableau.respond(call, site)
        if call.kind in {"signin", "switchsite"}:
            site = http_responses.site_granted(answer)
        if traps.hits(traps.truncated, call.kind, site):
            answer = answer._replace(body=answer.body[: len(answer.body) * 2 // 3])
        if call.kind == "metadata" and traps.reaches(site):
            tableau.stopped.wait(traps.metadata_seconds)
        if hit:
            tableau.stopped.wait(traps.slow_seconds)
        tableau.remember(call, site, self.path, answer.status)
        if hit and traps.trickle_seconds:
            self._trickle(answer, traps.trickle_seconds)
        else:
            self._send(answer, cut=hit and traps.take("cut_next"))

    def _send(self, answer: Answer, *, cut: bool) -> None:
        # Head and body in one piece: two small packets would wait for each other.
        body = answer.body[: len(answer.body) // 2] if cut else answer.body
        self.wfile.write(http_responses.head(answer, len(answer.body)) + body)
        self.close_connection = self.close_connection or cut

    def _trickle(self, answer: Answer, seconds: float) -> None:
        self.close_connection = True
        self.wfile.write(http_responses.head(answer, None))
        at = 0
        while not self.server.tableau.stopped.wait(seconds):
            self.wfile.write(answer.body[at : at + 1] or b" ")
            at += 1


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
