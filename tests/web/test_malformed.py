"""Requests other than HTTP/1.1, or with another protocol: answered or closed, and hardly logged."""

import logging
import random
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from exporter.web.application import application
from exporter.web.log_limit import LIMIT, LogLimit
from exporter.web.server import WebServer
from tests.support.reliability import Tally
from tests.web.fake_endpoint import FakeEndpoint

HEAD = b" HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
WEBSOCKET = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
MALFORMED = {
    "no HTTP": b"GARBAGE\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no length": b"GET /" + HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "bad chunk": b"GET /-/healthy" + HEAD + CHUNKED + b"zz\r\n",
    "bad second chunk": b"POST /-/reload" + HEAD + CHUNKED + b"1\r\na\r\nzz\r\n",
    "garbage after a request": b"GET /-/healthy" + HEAD + b"\r\n" + b"GARBAGE\r\n\r\n",
}
# Far fewer than requests; a kind of line may come once.
FEW = 5


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that logs as if it had just begun."""
    monkeypatch.setattr(LIMIT, "_intervals", {})
    server = WebServer(application(FakeEndpoint()), "127.0.0.1", 0)
    server.start()
    yield server.port
    server.stop()


def exchange(port: int, *parts: bytes) -> bytes:
    """Send bytes, each part after an answer to the one before; return the answer until its end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, suppress(ConnectionError):
        for part in parts[:-1]:
            connection.sendall(part)
            answer += connection.recv(65_536)
        connection.sendall(parts[-1])
        with suppress(ConnectionError):
            while received := connection.recv(65_536):
                answer += received
    return answer


@pytest.mark.attack("malformed")
def test_a_thousand_malformed_requests_log_a_few_lines(
    port: int, caplog: pytest.LogCaptureFixture, tally: Tally
) -> None:
    """Of any kind, mixed, a thousand give a few lines and no traceback, and a valid request is answered after them."""
    kinds = list(MALFORMED.values())
    for number in range(1_000):
        exchange(port, kinds[number % len(kinds)])
        tally.run()
    assert 1 <= len(caplog.records) <= FEW
    assert [record for record in caplog.records if record.exc_info] == []
    assert exchange(port, b"GET /-/healthy" + HEAD + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.attack("malformed")
@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_gets_no_traceback(port: int, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A malformed request is refused, or cut off; it is never logged as an unexpected error."""
    assert exchange(port, request_)[:12] in {f"HTTP/1.1 {status}".encode() for status in (200, 400, 403, 404)}
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


@pytest.mark.attack("malformed")
def test_a_bad_chunk_after_the_answer_ends_the_connection(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Once an answer was sent a body that breaks off gets no second one, only the end of the connection."""
    answer = exchange(port, b"GET /-/healthy" + HEAD + CHUNKED, b"zz\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


@pytest.mark.attack("malformed")
@pytest.mark.parametrize("offer", [H2C, WEBSOCKET])
def test_an_offer_of_another_protocol_is_ignored(port: int, offer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A valid request that offers to go on in another protocol is answered in its own, and nothing is logged."""
    assert exchange(port, b"GET /-/healthy" + HEAD + offer).startswith(b"HTTP/1.1 200 OK")
    assert caplog.records == []


@pytest.mark.attack("malformed")
def test_distorted_requests_are_no_defect(port: int, caplog: pytest.LogCaptureFixture, tally: Tally) -> None:
    """Requests with bytes changed, removed and put in are never logged as a defect of this program."""
    randomness = random.Random(20_261_130)
    whole = b"POST /-/healthy" + HEAD + b"Connection: close\r\n" + CHUNKED + b"2\r\nab\r\n0\r\n\r\n"
    for _ in range(300):
        distorted = bytearray(whole)
        for _ in range(randomness.randint(1, 4)):
            at = randomness.randrange(len(distorted))
            distorted[at : at + randomness.randint(0, 2)] = randomness.randbytes(randomness.randint(0, 2))
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, suppress(ConnectionError):
            connection.sendall(distorted)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
        tally.run()
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


def test_each_message_is_logged_once_a_minute() -> None:
    """A message passes once a minute, has the number of suppressed ones, and suppresses no other message."""
    now = [0.0]
    limit = LogLimit(lambda: now[0])

    def logged(message: str) -> str | None:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, message, None, None)
        return record.getMessage() if limit.filter(record) else None

    assert logged("refused\nhere") == "refused\nhere"
    assert [logged("refused\nthere"), logged("refused"), logged("failed")] == [None, None, "failed"]
    now[0] = 60.0
    assert logged("refused\nhere") == "refused (2 more since the last such line)\nhere"
    assert logged("refused") is None
