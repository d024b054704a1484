"""The requirements of RFC 9112 on a server's handling of a request."""

import pytest

from exporter.web.application import application
from exporter.web.log_limit import LIMIT
from exporter.web.server import WebServer
from exporter.web.web_config import Access
from tests.web.fake_endpoint import FakeEndpoint, Started
from tests.web.raw_http import exchange, get


@pytest.fixture
def endpoint() -> FakeEndpoint:
    """An endpoint that counts reloads."""
    return FakeEndpoint()


@pytest.fixture
def port(started: Started, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of a server on a loopback address that logs as if it had just begun."""
    monkeypatch.setattr(LIMIT, "_intervals", {})
    access = Access(allowed_hosts={"agent.example.com"})
    return started(WebServer(application(endpoint, access), "127.0.0.1", 0, access)).port


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/metrics", 200),
        ("HTTP://LOCALHOST:1/metrics?x=1", 200),
        ("https://127.0.0.1/metrics", 200),
        ("http://agent.example.com:10071/-/healthy", 200),
        ("http://localhost", 200),
        ("http://localhost?", 200),
        ("http://localhost/nowhere", 404),
        ("http://localhost//metrics", 404),
        ("ftp://localhost/metrics", 404),
        ("*", 404),
        ("http:///metrics", 400),
        ("http://user@localhost/metrics", 400),
        ("http://localhost:1@evil.example/metrics", 400),
    ],
)
def test_a_target_in_absolute_form_is_answered(port: int, target: str, status: int) -> None:
    """A whole URL as the target is answered like its path; one without a host, or with a user, is refused."""
    assert exchange(port, get(target, "Host: localhost")).status == status


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/metrics", "evil.example", 200),
        ("http://evil.example/metrics", "localhost", 403),
        ("http://evil.example", "127.0.0.1", 403),
        ("/metrics", "evil.example", 403),
    ],
)
def test_the_target_says_which_host_is_meant(port: int, target: str, host: str, status: int) -> None:
    """The host of an absolute target counts in place of the header Host."""
    assert exchange(port, get(target, f"Host: {host}")).status == status


def test_a_reload_by_an_absolute_target_is_of_its_origin(port: int, endpoint: FakeEndpoint) -> None:
    """A browser's origin is compared with the host of an absolute target too."""
    head = b"POST http://localhost/-/reload HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"
    assert exchange(port, head + b"Origin: http://evil.example\r\n\r\n").status == 403
    assert exchange(port, head + b"Origin: http://localhost\r\n\r\n").status == 200
    assert endpoint.reloads == 1


POST = b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"\r\n0\r\n\r\n"


@pytest.mark.attack("malformed")
@pytest.mark.parametrize(
    "head",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        POST + b"TRANSFER-ENCODING: Chunked\r\ncontent-length: 0\r\n",
        POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n",
    ],
    ids=["length first", "length last", "capitals", "HTTP/1.0"],
)
def test_an_ambiguous_length_ends_the_connection(port: int, endpoint: FakeEndpoint, head: bytes) -> None:
    """A request with two lengths is refused with 400, and nothing behind it on the connection is answered."""
    answer = exchange(port, head + BODY + get("/-/healthy", "Host: localhost"))
    assert (answer.status, answer.headers["Connection"], endpoint.reloads) == (400, "close", 0)
    assert b"HTTP/1.1" not in answer.rest


@pytest.mark.parametrize("length", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_one_length_is_as_good_as_before(port: int, length: bytes) -> None:
    """A request with either header alone is answered, and so is the next on its connection."""
    answer = exchange(port, POST + length + BODY + get("/-/healthy", "Host: localhost"))
    assert answer.status == 200
    assert b"HTTP/1.1 200" in answer.rest


@pytest.mark.attack("malformed")
def test_requests_with_two_lengths_are_hardly_logged(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """However many there are, the log has one line a minute."""
    for _ in range(20):
        exchange(port, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + BODY)
    assert len(caplog.records) == 1
