"""Answers of many megabytes, over a real connection."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from exporter.web.application import application
from exporter.web.server import WebServer
from tests.support.wait import until
from tests.web.fake_endpoint import FakeEndpoint, FakeRendering

MEGABYTE = bytes(range(256)) * 4096
COUNT = 200


class LargeRendering(FakeRendering):
    """A rendering of many megabytes that counts its requested blocks."""

    taken = 0
    ended = 0

    def body(self, *, openmetrics: bool, gzip: bool) -> tuple[int, Iterator[bytes]]:
        """Return the same megabyte again and again."""
        assert openmetrics in {True, False}
        assert gzip in {True, False}
        return COUNT * len(MEGABYTE), self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        try:
            for _ in range(COUNT):
                LargeRendering.taken += 1
                yield MEGABYTE
        finally:
            LargeRendering.ended += 1


@pytest.fixture
def port() -> Iterator[int]:
    """Serve it; give the port."""
    LargeRendering.taken = 0
    server = WebServer(application(FakeEndpoint(rendering=LargeRendering())), "127.0.0.1", 0)
    server.start()
    yield server.port
    server.stop()


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_who_does_not_read_costs_no_copy(port: int, coding: str) -> None:
    """A connection gets more only when it has read most of its bytes; others are answered meanwhile."""
    request = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(request.encode())
        assert slow.recv(4) == b"HTTP"
        for _ in range(20):
            assert httpx.get(f"http://127.0.0.1:{port}/-/healthy").status_code == httpx.codes.OK
        assert LargeRendering.taken < COUNT // 2
        received = 4
        while part := slow.recv(1 << 20):
            received += len(part)
    assert LargeRendering.taken == COUNT
    assert 0 < received - COUNT * len(MEGABYTE) < 1000


def test_eight_at_once_get_the_same_bytes(port: int) -> None:
    """No answer is mixed with another, and none is cut."""

    def read(number: int) -> bool:
        headers = {"Accept-Encoding": "identity" if number % 2 else "gzip"}
        place = 0
        with httpx.stream("GET", f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=60) as answer:
            for part in answer.iter_raw():
                start = place % len(MEGABYTE)
                assert part == (MEGABYTE + MEGABYTE)[start : start + len(part)]
                place += len(part)
        return place == COUNT * len(MEGABYTE)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_plain_answers_are_bounded(port: int) -> None:
    """Beyond 16 plain answers at once one is refused for now; compressed ones, and the plain one after, are sent."""
    url = f"http://127.0.0.1:{port}/metrics"
    with contextlib.ExitStack() as readers:
        for _ in range(16):
            begun(readers.enter_context(socket.create_connection(("127.0.0.1", port))), b"identity")
        turned_away = httpx.get(url, headers={"Accept-Encoding": "identity"})
        assert (turned_away.status_code, turned_away.text.count("\n")) == (httpx.codes.SERVICE_UNAVAILABLE, 1)
        assert int(turned_away.headers["Retry-After"]) > 0
        assert httpx.head(url, headers={"Accept-Encoding": "identity"}).status_code == httpx.codes.OK
        begun(readers.enter_context(socket.create_connection(("127.0.0.1", port))), b"gzip")
    until(lambda: _status(url) == httpx.codes.OK)
    assert LargeRendering.taken < 17 * COUNT // 2


def test_nothing_is_made_for_who_has_left(port: int) -> None:
    """An answer ends where its client leaves."""
    for coding in (b"gzip", b"identity"):
        with socket.create_connection(("127.0.0.1", port)) as leaving:
            begun(leaving, coding)
    taken = [-1]

    def stands_still() -> bool:
        taken.append(LargeRendering.taken)
        return httpx.get(f"http://127.0.0.1:{port}/-/healthy").is_success and LargeRendering.taken == taken[-1]

    for _ in range(20):
        until(stands_still)
    assert LargeRendering.taken < COUNT


@pytest.mark.parametrize("coding", [b"gzip", b"identity"])
def test_a_slow_reader_gets_all(coding: bytes) -> None:
    """An answer may last many times the server's timeout, as long as some of it is read now and then."""
    server = WebServer(application(FakeEndpoint(rendering=LargeRendering())), "127.0.0.1", 0, timeout_seconds=2.0)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        begun(slow, coding)
        received, begin = 12, time.monotonic()
        while received < COUNT * len(MEGABYTE):
            part = slow.recv(1 << 20)
            assert part
            received += len(part)
            if time.monotonic() < begin + 5:
                time.sleep(0.05)
    server.stop()


@pytest.mark.parametrize("coding", [b"gzip", b"identity"])
def test_who_stops_reading_is_cut_off(coding: bytes) -> None:
    """A client that stops reading an answer loses its connection, before the end of the answer."""
    server = WebServer(application(FakeEndpoint(rendering=LargeRendering())), "127.0.0.1", 0, timeout_seconds=0.5)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as stalled:
        LargeRendering.ended = 0
        begun(stalled, coding)
        until(lambda: LargeRendering.ended == 1)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := stalled.recv(1 << 20):
                received += len(part)
    assert 0 < received < COUNT * len(MEGABYTE)
    server.stop()


def begun(connection: socket.socket, coding: bytes) -> None:
    """Request metrics on a connection, and read only enough to know that they are being sent."""
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: " + coding + b"\r\n\r\n")
    assert connection.recv(12) == b"HTTP/1.1 200"


def _status(url: str) -> int:
    with httpx.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
        return answer.status_code
