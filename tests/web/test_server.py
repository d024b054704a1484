"""The server on real sockets: where it listens, how it stops, whom it bears with."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable

import httpx
import pytest

from exporter.errors import WebError
from exporter.web.application import application
from exporter.web.protocol import CountedTransport
from exporter.web.server import WebServer
from tests.web.fake_endpoint import FakeEndpoint, Started

Serve = Callable[..., WebServer]


@pytest.fixture
def serve(started: Started) -> Serve:
    """Return a function that starts a server; all are stopped in the end."""

    def start(host: str = "127.0.0.1", timeout_seconds: float = 30.0) -> WebServer:
        server = WebServer(application(FakeEndpoint()), host, 0, timeout_seconds=timeout_seconds)
        return started(server)

    return start


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_it_listens_when_start_returns(serve: Serve) -> None:
    """A request that is sent as soon as start has returned is answered."""
    server = serve()
    assert httpx.get(f"http://127.0.0.1:{server.port}/-/healthy").status_code == 200


def test_port_0_is_a_free_port(serve: Serve) -> None:
    """Two servers on port 0 listen on two ports, and report them."""
    ports = {serve().port, serve().port}
    assert len(ports) == 2
    assert 0 not in ports


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost"])
def test_names_and_wildcards_are_listened_on(serve: Serve, host: str) -> None:
    """An empty host means every address and a name that has an IPv4 address means that one."""
    assert httpx.get(f"http://127.0.0.1:{serve(host).port}/-/healthy").status_code == 200


def test_a_small_answer_is_not_held_back(serve: Serve) -> None:
    """The system sends written bytes at once, and does not wait for the client to acknowledge the head before."""
    server = serve()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        client.get("/-/healthy")
        (connection,) = server._server.server_state.connections
        line = connection.transport.get_extra_info("socket")
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "::", ""])
def test_ipv6_is_listened_on(serve: Serve, host: str) -> None:
    """An IPv6 address and both wildcards answer over IPv6."""
    assert httpx.get(f"http://[::1]:{serve(host).port}/-/healthy").status_code == 200


def test_an_address_in_use_is_one_clear_line(serve: Serve) -> None:
    """A second server on the same address is refused in one line that names the address and the way out."""
    taken = serve().port
    with pytest.raises(WebError) as caught:
        WebServer(application(FakeEndpoint()), "127.0.0.1", taken).start()
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{taken}: the address is in use; stop the other program or choose another port"
    )


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("192.0.2.1", 0, "this machine has no such address; choose another"),
        ("no such host", 0, "the host name cannot be resolved; give an address of this machine"),
        ("127.0.0.1", 65_536, "a port is a number from 0 to 65535"),
        ("127.0.0.1", -1, "a port is a number from 0 to 65535"),
    ],
)
def test_an_impossible_address_is_one_clear_line(host: str, port: int, reason: str) -> None:
    """An address that cannot be listened on is refused with the reason, and nothing is left running."""
    with pytest.raises(WebError) as caught:
        WebServer(application(FakeEndpoint()), host, port).start()
    assert str(caught.value) == f"cannot listen on {host}:{port}: {reason}"


def test_the_port_is_free_after_stop() -> None:
    """Once stop has returned the port is free, and another server can listen on it."""
    first = WebServer(application(FakeEndpoint()), "127.0.0.1", 0)
    first.start()
    with httpx.Client() as client:  # a connection that is kept alive must not hold the port
        client.get(f"http://127.0.0.1:{first.port}/-/healthy")
        first.stop()
    second = WebServer(application(FakeEndpoint()), "127.0.0.1", first.port)
    second.start()
    second.stop()


def test_stop_without_start_does_nothing() -> None:
    """A server that never started, or has stopped before, can be stopped."""
    server = WebServer(application(FakeEndpoint()), "127.0.0.1", 0)
    server.stop()
    server.stop()


def test_signals_stay_with_the_program(serve: Serve) -> None:
    """Serving installs no signal handler."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    serve()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_head_has_no_body_on_the_wire(serve: Serve) -> None:
    """The bytes of a HEAD are the head of the GET and end there."""
    port = serve().port

    def ask(method: bytes) -> tuple[list[bytes], bytes]:
        answer = exchange(port, method + b" /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        return [line for line in head.splitlines() if not line.lower().startswith(b"date:")], body

    get_head, get_body = ask(b"GET")
    head_head, head_body = ask(b"HEAD")
    assert head_head == get_head
    assert (get_body, head_body) == (b"tableau_up 1\n", b"")


def test_the_server_does_not_introduce_itself(serve: Serve) -> None:
    """No header names the software."""
    assert "Server" not in httpx.get(f"http://127.0.0.1:{serve().port}/").headers


def test_gzip_arrives_as_rendered(serve: Serve) -> None:
    """The compressed bytes go over the wire unchanged."""
    with httpx.stream("GET", f"http://127.0.0.1:{serve().port}/metrics") as answer:
        assert b"".join(answer.iter_raw()) == FakeEndpoint().rendering.text_gzip


@pytest.mark.attack("silence")
@pytest.mark.parametrize("request_", [b"", b"GET /metrics HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_client_that_stalls_is_cut_off(serve: Serve, request_: bytes) -> None:
    """A connection on which no request gets finished is closed without an answer."""
    port = serve(timeout_seconds=0.05).port
    with contextlib.suppress(ConnectionResetError):  # how a client sees it whose last bytes were not read
        assert exchange(port, request_) == b""


@pytest.mark.attack("malformed")
def test_a_head_beyond_all_measure_is_refused(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Headers of a megabyte are not read to their end."""
    caplog.set_level(logging.CRITICAL, logger="uvicorn.error")
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # how a client sees it that is still sending
        assert exchange(serve().port, request).startswith(b"HTTP/1.1 4")


def test_an_answered_request_leaves_the_connection_open(serve: Serve) -> None:
    """Prometheus may scrape again and again over one connection."""
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n"
    answer = exchange(serve().port, (request + b"\r\n") * 2 + request + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 3


def test_what_is_taken_is_counted() -> None:
    """Of a transport it is known how much has left its buffer."""
    inner = BufferingTransport()
    counted = CountedTransport(inner)
    counted.write(b"tableau")
    counted.write(b"up")
    assert counted.sent == 0
    inner.left = 4
    assert counted.sent == 5
    counted.abort()
    assert inner.left == 0


class BufferingTransport(asyncio.Transport):
    """A transport that sends nothing by itself."""

    left = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.left += len(data)

    def get_write_buffer_size(self) -> int:
        """Return how much it buffers."""
        return self.left

    def abort(self) -> None:
        """Drop it."""
        self.left = 0


def test_several_addresses_are_listened_on() -> None:
    """One application answers on each; where one cannot be had, none is left open."""
    server = WebServer(application(FakeEndpoint()), "127.0.0.1", 0, further=[("127.0.0.1", 0)])
    server.start()
    first, second = server.ports
    try:
        assert first != second
        for port in server.ports:
            assert httpx.get(f"http://127.0.0.1:{port}/-/healthy").status_code == 200
        with socket.socket() as spare:
            spare.bind(("127.0.0.1", 0))
            free = spare.getsockname()[1]
        with pytest.raises(WebError, match="in use"):
            WebServer(application(FakeEndpoint()), "127.0.0.1", free, further=[("127.0.0.1", first)]).start()
        again = WebServer(application(FakeEndpoint()), "127.0.0.1", free)
        again.start()
        again.stop()
    finally:
        server.stop()
