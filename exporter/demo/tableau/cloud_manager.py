"""The simulated Tableau Cloud Manager: the Platform Data API, and the object store that it signs addresses of.

Calls and answers are those that Tableau's own loader makes and reads; the window of a list is held against its limits.
"""

import json
import secrets
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from exporter.demo.tableau import http_responses
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import Place
from exporter.demo.tableau.calls import HTML, JSON, Answer
from exporter.demo.tableau.cloud_failure_modes import CloudFailureModes
from exporter.demo.tableau.cloud_requests import (
    TENANT,
    Refusal,
    kind_of,
    page_begin,
    page_size,
    page_token,
    parsed,
    window_of,
)
from exporter.demo.tableau.http_server import HttpServer, Request, Sent
from exporter.demo.tableau.object_store import ObjectStore

TOKEN = "a-made-up-token-of-a-tenant"  # noqa: S105 - of no tenant
SESSION_SECONDS = 7_200.0
MOST_PATHS = 100
REMEMBERED = 20_000
# A site that is suspended; it has no log.
SUSPENDED = {
    "siteUUID": "5a5a5a5a-0000-4000-8000-000000000002",
    "contentUrl": "retired",
    "status": "Suspended",
    "suspendedDateTime": "2025-06-30T00:00:00Z",
}
HOSTILE = ("../../etc/passwd", "/etc/passwd", "pod=10az/../../../tmp/part-0001.json")


class CloudCall(NamedTuple):
    """A call that was answered; ``site`` is its content URL."""

    kind: str
    site: str | None
    target: str
    status: int


class CloudManager(HttpServer):
    """A context manager: inside, the manager answers at ``url`` and its store at ``store.url``.

    ``failure_modes`` are the switches of both, ``requests`` counts calls by kind, ``seen`` are the last of them,
    ``session_tokens`` all it gave out. ``files.clock`` is the clock of both. ``folder`` keeps the files of the store.
    """

    def __init__(
        self,
        files: ActivityFiles,
        *,
        token: str = TOKEN,
        port: int = 0,
        store_port: int = 0,
        certificate: Path | None = None,
        key: Path | None = None,
        session_seconds: float = SESSION_SECONDS,
        folder: Path | None = None,
    ) -> None:
        super().__init__(port, certificate, key)
        self.files = files
        self.token = token
        self.failure_modes = CloudFailureModes()
        self.store = ObjectStore(files, self.failure_modes, self._now, store_port, certificate, key, folder)
        self.requests: Counter[str] = Counter()
        self.seen: deque[CloudCall] = deque(maxlen=REMEMBERED)
        self.session_tokens: list[str] = []
        self._session_seconds = session_seconds
        self._sessions: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.store.__enter__()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.store.__exit__()

    def end_sessions(self) -> None:
        """End all sessions, as a restart of the real thing would."""
        with self._lock:
            self._sessions.clear()

    def handle(self, request: Request) -> Sent:
        """Answer a request, under the failures on the wire."""
        failure_modes = self.failure_modes
        parts = urlsplit(request.target)
        kind, luid = kind_of(request.method, parts.path)
        site = next((site for site in self.files.sites if site.luid == luid), None)
        url = site.url if site else None
        hit = failure_modes.touches(kind, url)
        if hit and failure_modes.take("close_next"):
            self._remember(CloudCall(kind, url, request.target, 0))
            return Sent(None)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        answer = self._respond(request, kind, site, query, hit=hit)
        self._remember(CloudCall(kind, url, request.target, answer.status))
        if not hit:
            return Sent(answer)
        self.stopped.wait(failure_modes.slow_seconds)
        return Sent(answer, cut=failure_modes.take("cut_next"), trickle_seconds=failure_modes.trickle_seconds)

    def _respond(
        self, request: Request, kind: str, site: Place | None, query: Mapping[str, str], *, hit: bool
    ) -> Answer:
        """Answer a call, under the failure modes that replace its answer."""
        try:
            if hit and (failed := self._failed(request)) is not None:
                return failed
            if (broken := self._broken(kind, site.url if site else None)) is not None:
                return broken
            return _json(200, self._answer(request, kind, site, query))
        except Refusal as refusal:
            return _json(refusal.status, {"message": refusal.message, "errorCode": refusal.code})

    def _failed(self, request: Request) -> Answer | None:
        failure_modes = self.failure_modes
        waiting = (("Retry-After", failure_modes.retry_after),) if failure_modes.retry_after is not None else ()
        if failure_modes.take("throttle_next"):
            return _json(429, {"message": "Too many requests", "errorCode": "429000"}, waiting)
        if failure_modes.take("fail_next"):
            return Answer(failure_modes.fail_status, http_responses.BUSY_PAGE, HTML, waiting)
        if failure_modes.take("expire_next"):
            with self._lock:
                self._sessions.pop(request.headers.get("x-tableau-session-token", ""), None)
        return None

    def _broken(self, kind: str, site: str | None) -> Answer | None:
        """Return the replacement of an answer as long as a failure mode is set."""
        failure_modes = self.failure_modes
        if failure_modes.hits(failure_modes.html_login_page, kind, site):
            return Answer(200, http_responses.LOGIN_PAGE, HTML)
        if failure_modes.hits(failure_modes.garbage, kind, site):
            return Answer(200, http_responses.GARBAGE, JSON)
        if failure_modes.hits(failure_modes.nulls, kind, site):
            return Answer(200, b"null", JSON)
        return Answer(200, b"{}", JSON) if failure_modes.hits(failure_modes.missing_keys, kind, site) else None

    def _answer(self, request: Request, kind: str, site: Place | None, query: Mapping[str, str]) -> object:
        if kind == "login":
            return self._log_in(request.body)
        self._check_session(request)
        if kind == "sites":
            return self._sites(query)
        if not kind or (site is None and "/sites/" in request.target):
            raise Refusal(404, "404000", "The resource could not be found.")
        if self.failure_modes.edition == "forbidden" and self.failure_modes.reaches(site.url if site else None):
            raise Refusal(403, "403001", "The tenant has no access to this data.")
        if kind == "sign":
            return self._signed(request.body, site)
        return self._list(site, query, request.target)

    def _log_in(self, body: bytes) -> object:
        if parsed(body).get("token") != self.token or self.failure_modes.token_expired:
            raise Refusal(401, "401001", "The personal access token is invalid or has expired.")
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[token] = self._now() + timedelta(seconds=self._session_seconds)
            self.session_tokens.append(token)
        return {"sessionToken": token, "tenantId": TENANT}

    def _check_session(self, request: Request) -> None:
        with self._lock:
            ends_at = self._sessions.get(request.headers.get("x-tableau-session-token", ""))
        if ends_at is None or ends_at <= self._now():
            raise Refusal(401, 401002, "The session token is invalid or has expired.")

    def _sites(self, query: Mapping[str, str]) -> object:
        entries = [
            {"siteUUID": site.luid, "contentUrl": site.url, "status": "Active", "suspendedDateTime": None}
            for site in self.files.sites
        ]
        entries.append(dict(SUSPENDED))
        first, at = page_begin(query.get("pageToken"), self._now())
        return self._page("sites", entries, first, page_size(query.get("maxResults")), at)

    def _list(self, site: Place | None, query: Mapping[str, str], target: str) -> object:
        if target.count("eventType=") > 1:
            raise Refusal(400, "400003", "Only one eventType is allowed.")
        now = self._now()
        begin, end = window_of(query, now)
        if self.failure_modes.past_refused and begin < now - self.files.retention:
            raise Refusal(400, "400008", "startTime is before the retention period.")
        # Later pages list the files at the request for the first one.
        first, at = page_begin(query.get("pageToken"), now)
        files = self.files.listed(site, begin, end, query.get("eventType"), at) if site else []
        if self.failure_modes.edition == "empty" and self.failure_modes.reaches(site.url if site else None):
            files = []
        paths = [file.path for file in files]
        if self.failure_modes.hostile_paths:
            paths = [*HOSTILE, *paths]
        # A page begins with the path that the one before it ended with.
        entries = [{"path": path} for path in paths]
        return self._page("files", entries, first, page_size(query.get("pageSize")), at, again=1)

    def _page(
        self, name: str, entries: Sequence[Mapping[str, object]], first: int, size: int, at: datetime, again: int = 0
    ) -> object:
        page: dict[str, object] = {name: entries[max(first - again, 0) : first + size]}
        if self.failure_modes.endless_pages:
            page["pageToken"] = page_token(first, at)
        elif first + size < len(entries):
            page["pageToken"] = page_token(first + size, at)
        return page

    def _signed(self, body: bytes, site: Place | None) -> object:
        paths = parsed(body).get("files")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise Refusal(400, "400001", "The request has no files.")
        if len(paths) > MOST_PATHS:
            raise Refusal(400, "400002", f"At most {MOST_PATHS} files can be requested.")
        found = [path for path in paths if (file := self.files.find(path)) is not None and file.site == site]
        if self.failure_modes.take("unsigned_next"):
            found = found[::2]
        return {"files": [{"path": path, "url": self.store.sign(path)} for path in found]}

    def _now(self) -> datetime:
        return self.files.clock()

    def _remember(self, call: CloudCall) -> None:
        with self._lock:
            self.requests[call.kind or "unknown"] += 1
            self.seen.append(call)


def _json(status: int, body: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, json.dumps(body).encode(), JSON, headers)
