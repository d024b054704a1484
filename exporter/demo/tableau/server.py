"""The server: calls over HTTP, and the failures that replace their answers."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from exporter.demo.tableau import errors, http_responses
from exporter.demo.tableau.admin_insights import AdminInsights
from exporter.demo.tableau.calls import HTML, SYSTEM_INFO, Answer, Call, understood
from exporter.demo.tableau.cluster import Cluster
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Facts
from exporter.demo.tableau.failure_modes import SIGNING, FailureModes
from exporter.demo.tableau.http_server import HttpServer, Request, Sent
from exporter.demo.tableau.jwt import App
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.rest import About, Rest
from exporter.demo.tableau.sessions import LIFE_SECONDS, Sessions
from exporter.demo.tableau.vizql_data_service import VizqlDataService

TOKENS = {"exporter": "a-made-up-personal-access-token"}
REMEMBERED = 20_000


class Seen(NamedTuple):
    """A call that was answered; ``site`` is its content URL."""

    kind: str
    site: str | None
    target: str
    status: int


class TableauServer(HttpServer):
    """A context manager: inside, the server answers at ``url``.

    ``tokens`` are personal access tokens by name, ``apps`` connected apps; ``certificate`` and ``key`` make it https.
    ``insights`` are the sources that VizQL Data Service answers queries of, ``cluster`` is that of systeminfo.xml.
    ``failure_modes`` has the switches,
    ``requests`` counts calls by kind, ``seen`` are the last of them.
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
        insights: AdminInsights | None = None,
    ) -> None:
        super().__init__(port, certificate, key)
        self.estate = estate
        self.failure_modes = FailureModes()
        self.requests: Counter[str] = Counter()
        self.seen: deque[Seen] = deque(maxlen=REMEMBERED)
        life = LIFE_SECONDS[cloud] if session_seconds is None else session_seconds
        self.sessions = Sessions(tokens, apps, self.failure_modes, clock, life, cloud=cloud)
        about = About(version, api_version, cloud)
        self.insights = insights
        self.cluster = Cluster()
        vds = VizqlDataService(insights, self.failure_modes, clock, self.stopped.wait, version) if insights else None
        self.rest = Rest(about, self.facts, self.sessions, self.failure_modes, self.oddities, vds, lambda: self.cluster)
        self._lock = threading.Lock()
        self._since_rival = 0

    @property
    def signed_in(self) -> list[str]:
        """The content URLs of the sites that were signed in to, one after another."""
        return [seen.site or "" for seen in self.seen if seen.kind == "signin" and seen.status == 200]

    def facts(self) -> Facts:
        """Return the current facts of the estate; another estate may be put in its place at any time."""
        facts = self.estate.facts()
        return self.insights.add_to(facts, self.failure_modes) if self.insights else facts

    def oddities(self) -> Oddities:
        """Return the current oddities of the estate."""
        return self.estate.oddities

    def collide(self, name: str | None = None) -> None:
        """Let another client sign in with a token (with every token): our session ends."""
        self.sessions.end_all(name)

    def handle(self, request: Request) -> Sent:
        """Answer a request, under the failures on the wire."""
        failure_modes = self.failure_modes
        call = understood(request.method, request.target, _token(request), request.body)
        site = self.rest.site_of(call)
        hit = failure_modes.touches(call.kind, site)
        if hit and failure_modes.take("close_next"):
            self.remember(call, site, request.target, 0)
            return Sent(None)
        answer = self.respond(call, site)
        if call.kind in {"signin", "switchsite"}:
            site = http_responses.site_granted(answer)
        if failure_modes.hits(failure_modes.truncated, call.kind, site):
            answer = answer._replace(body=answer.body[: len(answer.body) * 2 // 3])
        if call.kind == "metadata" and failure_modes.reaches(site):
            self.stopped.wait(failure_modes.metadata_seconds)
        if hit:
            self.stopped.wait(failure_modes.slow_seconds)
        self.remember(call, site, request.target, answer.status)
        if hit and failure_modes.trickle_seconds:
            return Sent(answer, trickle_seconds=failure_modes.trickle_seconds)
        return Sent(answer, cut=hit and failure_modes.take("cut_next"))

    def respond(self, call: Call, site: str | None) -> Answer:
        """Answer a call, under the failure modes that replace its answer."""
        failure_modes = self.failure_modes
        if failure_modes.hits(failure_modes.html_login_page, call.kind, site):
            return Answer(200, http_responses.LOGIN_PAGE, HTML)
        if call.kind == "serverinfo" and failure_modes.serverinfo_missing:
            return Answer(404, http_responses.MISSING_PAGE, HTML)
        if failure_modes.touches(call.kind, site):
            waiting = (("Retry-After", failure_modes.retry_after),) if failure_modes.retry_after is not None else ()
            if failure_modes.take("throttle_next"):
                return Answer(429, errors.throttled().body, headers=waiting)
            if failure_modes.take("fail_next"):
                return Answer(failure_modes.fail_status, http_responses.BUSY_PAGE, HTML, waiting)
            if failure_modes.take("expire_next"):
                self._expire(call)
        if (broken := self._broken(call, site)) is not None:
            return broken
        self._rival(call)
        return self.rest.answer(call)

    def _broken(self, call: Call, site: str | None) -> Answer | None:
        """Return the replacement of an answer as long as a failure mode is set."""
        failure_modes = self.failure_modes
        if len(call.body) > failure_modes.largest_body:
            return Answer(413, http_responses.TOO_LARGE_PAGE, HTML)
        if (call.kind not in SIGNING and site in failure_modes.sites_failing) or failure_modes.hits(
            failure_modes.failing, call.kind, site
        ):
            return Answer(500, http_responses.BUSY_PAGE, HTML)
        if failure_modes.hits(failure_modes.nulls, call.kind, site):
            return Answer(200, b"null")
        if failure_modes.hits(failure_modes.bombs, call.kind, site):
            return http_responses.bomb(call.kind)
        return (
            Answer(200, http_responses.GARBAGE) if failure_modes.hits(failure_modes.garbage, call.kind, site) else None
        )

    def remember(self, call: Call, site: str | None, target: str, status: int) -> None:
        """Count a call that was answered."""
        with self._lock:
            self.requests[call.kind or "unknown"] += 1
            self.seen.append(Seen(call.kind, site, target, status))

    def _expire(self, call: Call) -> None:
        with suppress(errors.Refusal):
            self.sessions.end(self.sessions.find(call.token))

    def _rival(self, call: Call) -> None:
        if not self.failure_modes.rival_every or call.kind in SIGNING:
            return
        with self._lock:
            self._since_rival += 1
            due = self._since_rival >= self.failure_modes.rival_every
            self._since_rival = 0 if due else self._since_rival
        if due:
            self.collide()


def _token(request: Request) -> str | None:
    """Return the token of a request: systeminfo.xml is no part of the REST API, and knows a cookie alone."""
    if not request.target.startswith(SYSTEM_INFO):
        return request.headers.get("X-Tableau-Auth")
    cookies = dict(pair.strip().partition("=")[::2] for pair in (request.headers.get("Cookie") or "").split(";"))
    return cookies.get("workgroup_session_id")
