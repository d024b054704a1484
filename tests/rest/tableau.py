"""A small Tableau over HTTP, for faults that the simulated one of the demo lacks."""

import contextlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import quoteattr

HEAD = '<?xml version="1.0" encoding="UTF-8"?><tsResponse xmlns="http://tableau.com/api">'
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to go on</body></html>"
WELL_FORMED_HTML = b"<html><head><title>Sign in</title></head><body>Sign in to go on</body></html>"


@dataclass(frozen=True)
class Answer:
    """The bytes to send; a negative length of a cut answer is the number of missing ones."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    pause: float = 0.0
    """Seconds between two bytes."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Override = Callable[[ReceivedRequest], Answer | None]


@dataclass
class Place:
    """A site: its entries as XML, by the name of their list."""

    luid: str
    entries: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def element(tag: str, inside: str = "", /, **attributes: str) -> str:
    """Return an element; an attribute that Python cannot name ends in ``_``."""
    text = "".join(f" {key.rstrip('_')}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{tag}{text}>{inside}</{tag}>"


def asset(kind: str, luid: str, inside: str = "", /, **attributes: str) -> str:
    """Return a workbook, data source or flow with a project and an owner."""
    common = element("project", id="p1", name="Sales") + element("owner", id="u1") + inside
    instants = {"createdAt": "2025-01-01T00:00:00Z", "updatedAt": "2025-02-01T00:00:00Z"}
    return element(kind, common, **{"id": luid, "name": f"{kind} {luid}", **instants, **attributes})


def error(status: int, code: str, summary: str = "No") -> Answer:
    """Return an error as Tableau sends it."""
    text = f'{HEAD}<error code="{code}"><summary>{summary}</summary><detail>because</detail></error></tsResponse>'
    return Answer(text, status)


LISTS = {
    "workbooks": "workbooks",
    "datasources": "datasources",
    "flows": "flows",
    "projects": "projects",
    "users": "users",
    "jobs": "backgroundJobs",
    "tasks/linked": "linkedTasks",
}
"""The element of each list that has pages."""
_SITE = re.compile(r"/api/[0-9.]+/sites/([^/]+)/(.+)")


class Tableau:
    """The server. ``overrides`` are used first, the last one first; each request is in ``received``."""

    def __init__(self, *sites: str, tokens: dict[str, str] | None = None, version: str = "3.26") -> None:
        self.version = version
        self.tokens = tokens or {"agent": "value of the token"}
        self.sites = {url: Place(f"site-{url or 'default'}") for url in sites or ("",)}
        self.sessions: dict[str, tuple[str, str]] = {}
        self.received: list[ReceivedRequest] = []
        self.overrides: list[Override] = []
        self.largest_page = 1000
        self.closing = False
        """Whether each answer is the last of its connection."""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def doing(self, *overrides: Override) -> Iterator[None]:
        """Answer otherwise for as long as the block runs."""
        self.overrides += overrides
        try:
            yield
        finally:
            del self.overrides[-len(overrides) :]

    def count(self, part: str) -> int:
        """Return how many requests had this in their path."""
        return sum(part in received.path for received in self.received)

    def sign_everybody_out(self) -> None:
        """End every session, as a restart or another user of the token does."""
        self.sessions.clear()

    def answer(self, received: ReceivedRequest) -> Answer:  # noqa: C901, PLR0911 - a table of paths
        """Answer a request."""
        self.received.append(received)
        for override in reversed(self.overrides):
            if found := override(received):
                return found
        if received.path.endswith("/serverInfo"):
            info = element("productVersion", "2025.3.0", build="1") + element("restApiVersion", self.version)
            return Answer(f"{HEAD}{element('serverInfo', info)}</tsResponse>")
        if received.path.endswith("/auth/signin"):
            return self._sign_in(received)
        session = self.sessions.get(received.headers.get("x-tableau-auth", ""))
        if session is None:
            return error(401, "401002", "Unauthorized Access")
        if received.path.endswith("/auth/switchSite"):
            return self._switch(received, session[0])
        if received.path.endswith("/auth/signout"):
            del self.sessions[received.headers["x-tableau-auth"]]
            return Answer(status=204)
        place = self.sites[session[1]]
        if received.path == "/api/metadata/graphql":
            return self._graph(received, place)
        if received.path.endswith("/sites"):
            sites = [element("site", id=one.luid, contentUrl=url, state="Active") for url, one in self.sites.items()]
            return self._page(received, "sites", sites)
        match = _SITE.fullmatch(received.path)
        if match is None or match[1] != place.luid:
            return error(404, "404000", "Not found")
        return self._of_site(received, place, match[2])

    def _of_site(self, received: ReceivedRequest, place: Place, what: str) -> Answer:
        if what in LISTS:
            return self._page(received, LISTS[what], place.entries.get(what, []))
        if what == "flows/runs":
            return self._runs(received, place.entries.get(what, []))
        if what.startswith("tasks/"):
            tasks = "".join(element("task", entry) for entry in place.entries.get(what, []))
            return Answer(f"{HEAD}<tasks>{tasks}</tasks></tsResponse>")
        if what.startswith("jobs/") and what[5:] in place.jobs:
            return Answer(f"{HEAD}{place.jobs[what[5:]]}</tsResponse>")
        return error(404, "404000", "Not found")

    def _sign_in(self, received: ReceivedRequest) -> Answer:
        text = received.body.decode()
        name = re.search('personalAccessTokenName="([^"]*)"', text)
        value = re.search('personalAccessTokenSecret="([^"]*)"', text)
        site = re.search('contentUrl="([^"]*)"', text)
        url = next((one for one in self.sites if site and one.casefold() == site[1].casefold()), None)
        known = name and value and self.tokens.get(name[1]) == value[1]
        if url is None or not (known or "jwt=" in text):
            return error(401, "401001", "Signin Error")
        return self._session(name[1] if name else "app", url)

    def _switch(self, received: ReceivedRequest, token: str) -> Answer:
        site = re.search('contentUrl="([^"]*)"', received.body.decode())
        url = next((one for one in self.sites if site and one.casefold() == site[1].casefold()), None)
        return error(404, "404000", "Site not found") if url is None else self._session(token, url)

    def _session(self, token: str, url: str) -> Answer:
        """Begin the one session of a token."""
        self.sessions = {key: session for key, session in self.sessions.items() if session[0] != token}
        made = f"session-{secrets.token_hex(16)}"
        self.sessions[made] = (token, url)
        inside = element("site", id=self.sites[url].luid, contentUrl=url) + element("user", id="u1")
        return Answer(f"{HEAD}{element('credentials', inside, token=made)}</tsResponse>")

    def _runs(self, received: ReceivedRequest, entries: list[str]) -> Answer:
        """Answer all at once: this list has neither a count nor a second page."""
        if received.query.get("pageNumber", "1") != "1":
            return error(400, "400006", "Bad Request")
        return Answer(f"{HEAD}{element('flowRuns', ''.join(entries))}</tsResponse>")

    def _page(self, received: ReceivedRequest, name: str, entries: list[str]) -> Answer:
        number = int(received.query.get("pageNumber", "1"))
        size = min(self.largest_page, int(received.query.get("pageSize", "100")))
        chosen = entries[(number - 1) * size : number * size]
        if number > 1 and not chosen:
            return error(400, "400006", "Bad Request")
        pagination = element("pagination", pageNumber=str(number), pageSize=str(size), totalAvailable=str(len(entries)))
        return Answer(f"{HEAD}{pagination}{element(name, ''.join(chosen))}</tsResponse>")

    def _graph(self, received: ReceivedRequest, place: Place) -> Answer:
        query = json.loads(received.body)
        name = "workbooksConnection" if "workbooksConnection" in query["query"] else "publishedDatasourcesConnection"
        nodes = place.nodes.get(name, [])
        start, size = int(query["variables"]["afterToken"] or 0), query["variables"]["first"]
        more = start + size < len(nodes)
        page = {"hasNextPage": more, "endCursor": str(start + size) if more else None}
        data = {name: {"nodes": nodes[start : start + size], "pageInfo": page}}
        return Answer(json.dumps({"data": data}), headers={"Content-Type": "application/json"})


def _handler(tableau: Tableau) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            headers = {key.lower(): value for key, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            answer = tableau.answer(ReceivedRequest(self.command, parts.path, query, headers, body))
            content = answer.body.encode() if isinstance(answer.body, str) else answer.body
            with contextlib.suppress(OSError):
                self.send_response(answer.status)
                for key, value in {"Content-Type": "text/xml", **answer.headers}.items():
                    self.send_header(key, value)
                if tableau.closing:
                    self.send_header("Connection", "close")
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(content) + answer.missing))
                self.end_headers()
                self._send(content, answer.pause)
            if answer.missing:
                self.close_connection = True

        def _send(self, content: bytes, pause: float) -> None:
            if not pause:
                self.wfile.write(content)
                return
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(pause)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler


def at(part: str, answer: Answer, *, times: int = 1_000_000) -> Override:
    """Answer so where the path has this part, so many times."""
    left = [times]

    def override(received: ReceivedRequest) -> Answer | None:
        if part not in received.path or left[0] <= 0:
            return None
        left[0] -= 1
        return answer

    return override
