"""The security headers are on every answer, from any part of the application."""

from email.message import Message

import pytest
from starlette.types import Receive, Scope, Send

from exporter.web.application import application
from exporter.web.server import WebServer
from exporter.web.web_config import Access
from tests.web.fake_endpoint import FakeEndpoint, Started
from tests.web.raw_http import exchange, get
from tests.web.test_application import PATHS

ACCESS = Access({"X-Frame-Options": "deny", "Referrer-Policy": "same-origin"})


def start(started: Started, endpoint: FakeEndpoint | None = None, access: Access | None = None) -> WebServer:
    """Start a server."""
    return started(WebServer(application(endpoint or FakeEndpoint(), access), "127.0.0.1", 0, access))


def policy(headers: Message, name: str = "Content-Security-Policy") -> list[str]:
    """Return the values of a header, one as a rule."""
    return headers.get_all(name, [])


def assert_harmless(headers: Message) -> None:
    """Check every header that a browser is to obey, and those of ACCESS."""
    csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    assert policy(headers) == [csp + "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"]
    assert policy(headers, "X-Content-Type-Options") == ["nosniff"]
    assert policy(headers, "X-Frame-Options") == ["deny"]
    assert policy(headers, "Referrer-Policy") == ["same-origin"]


def test_every_path_keeps_a_browser_harmless(started: Started) -> None:
    """Every answer forbids foreign scripts, framing, sniffing, referrers; a configured header replaces one of ours."""
    port = start(started, access=ACCESS).port
    for path in [*PATHS, "/-/reload"]:
        assert_harmless(exchange(port, get(path, "Host: localhost")).headers)


def test_what_changes_is_not_stored_and_static_files_are(started: Started) -> None:
    """A page is never cached; a static file, whose address changes with it, is cached for long."""
    port = start(started).port
    assert policy(exchange(port, get("/", "Host: localhost")).headers, "Cache-Control") == ["no-store"]
    (kept,) = policy(exchange(port, get("/static/status.css", "Host: localhost")).headers, "Cache-Control")
    assert "immutable" in kept


def test_a_defect_keeps_a_browser_harmless(started: Started) -> None:
    """An answer to a request that fails for a defect of ours has the headers of all others."""
    server = start(started, FakeEndpoint(defect=RuntimeError("canary")), ACCESS)
    answer = exchange(server.port, get("/metrics", "Host: localhost"))
    assert answer.status == 500
    assert_harmless(answer.headers)


async def broken(_: Scope, __: Receive, ___: Send) -> None:
    """Fail where no handler catches it."""
    raise RuntimeError


@pytest.mark.parametrize(
    "request_", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"]
)
def test_a_malformed_request_keeps_a_browser_harmless(started: Started, request_: bytes) -> None:
    """The 400 of the server itself has the headers of all others."""
    answer = exchange(start(started, access=ACCESS).port, request_)
    assert answer.status == 400
    assert_harmless(answer.headers)


def test_too_many_requests_keep_a_browser_harmless(started: Started) -> None:
    """The 503 of the server itself has the headers of all others."""
    server = start(started, access=ACCESS)
    server._server.config.limit_concurrency = 0
    answer = exchange(server.port, get("/", "Host: localhost"))
    assert answer.status == 503
    assert_harmless(answer.headers)


def test_a_failure_of_the_application_keeps_a_browser_harmless(started: Started) -> None:
    """The 500 of the server itself has the headers of all others."""
    answer = exchange(started(WebServer(broken, "127.0.0.1", 0, ACCESS)).port, get("/", "Host: localhost"))
    assert answer.status == 500
    assert_harmless(answer.headers)


def test_an_adopted_header_is_on_the_next_answer(started: Started) -> None:
    """Reloaded headers are on every answer from then on."""
    access = Access()
    port = start(started, access=access).port
    access.adopt(ACCESS)
    assert_harmless(exchange(port, get("/", "Host: localhost")).headers)
