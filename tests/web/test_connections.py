"""Connections are bounded from the moment at which they are accepted, with and without TLS."""

import asyncio
import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import trustme
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from exporter.web.application import application
from exporter.web.protocol import TimeoutProtocol
from exporter.web.server import WebServer
from exporter.web.web_config import load_access
from tests.support.wait import until
from tests.web.fake_endpoint import FakeEndpoint, Started

SILENT = 300
LIMIT = 128
AUTHORITY = trustme.CA()
Serve = Callable[..., WebServer]


@pytest.fixture
def serve(tmp_path: Path, started: Started) -> Serve:
    """Return a function that starts a server, over TLS if requested; all are stopped in the end."""

    def start(*, tls: bool = False, timeout_seconds: float = 30.0) -> WebServer:
        access = load_access(_web_config(tmp_path)) if tls else None
        app = application(FakeEndpoint(), access)
        server = WebServer(app, "127.0.0.1", 0, access, timeout_seconds=timeout_seconds)
        return started(server)

    return start


def _web_config(folder: Path) -> Path:
    certificate = AUTHORITY.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.crt")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    path = folder / "web.yml"
    path.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}", encoding="utf-8")
    return path


def trusting() -> ssl.SSLContext:
    """Return the context of a client."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def healthy(server: WebServer, *, tls: bool) -> int:
    """Request once over a new connection."""
    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/-/healthy"
    return httpx.get(url, verify=trusting(), timeout=30).status_code


def is_open(client: socket.socket) -> bool:
    """Return whether the server has left a connection open."""
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except (OSError, ssl.SSLError):
        return False


@pytest.mark.attack("silence")
@pytest.mark.parametrize("tls", [False, True])
def test_of_many_silent_connections_few_stay_open(serve: Serve, *, tls: bool) -> None:
    """Of 300 clients that send nothing, not even a TLS hello, at most 128 stay open, and another one is answered."""
    server = serve(tls=tls)
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(server)) for _ in range(SILENT)]
        assert healthy(server, tls=tls) == 200
        assert sum(map(is_open, silent)) <= LIMIT


@pytest.mark.attack("silence")
@pytest.mark.parametrize("tls", [False, True])
def test_who_waits_for_nothing_gives_way(serve: Serve, *, tls: bool) -> None:
    """Connections that have had their answers give way to new ones, those that came first before the others."""
    server = serve(tls=tls)
    with ExitStack() as stack:
        context = trusting()
        clients = [stack.enter_context(httpx.Client(verify=context)) for _ in range(LIMIT + 2)]
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/-/healthy"
        assert {client.get(url).status_code for client in clients} == {200}
        assert {client.get(url).status_code for client in clients} == {200}
        assert server.connections.count <= LIMIT


@pytest.mark.attack("silence")
def test_who_is_being_answered_keeps_the_place() -> None:
    """Where every place has an answer under way, a new client is closed, and no answer is broken off."""
    released = asyncio.Event()
    begun: list[asyncio.AbstractEventLoop] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(asyncio.get_running_loop())
        await released.wait()
        await PlainTextResponse("done")(scope, receive, send)

    server = WebServer(slow, "127.0.0.1", 0)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        clients = [stack.enter_context(connected(server)) for _ in range(LIMIT)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        until(lambda: len(begun) == LIMIT)
        with connected(server) as refused, suppress(ConnectionResetError):
            assert refused.recv(1) == b""
        begun[0].call_soon_threadsafe(released.set)
        answers = [b"".join(iter(lambda client=client: client.recv(65_536), b"")) for client in clients]  # type: ignore[misc]
        assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}


@pytest.mark.attack("silence")
def test_a_burst_waits_to_be_accepted() -> None:
    """While the program is busy, hundreds connect and none of them is dropped, to come again after seconds."""
    busy, released = threading.Event(), threading.Event()

    async def hold(_scope: Scope, _receive: Receive, _send: Send) -> None:
        busy.set()
        assert released.wait(60)  # the event loop waits too: nothing is accepted

    server = WebServer(hold, "127.0.0.1", 0)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        stack.callback(released.set)
        stack.enter_context(connected(server)).sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert busy.wait(30)
        at_once = min(1_000, int(Path("/proc/sys/net/core/somaxconn").read_text()))
        for _ in range(at_once):
            stack.enter_context(connected(server))


def test_places_are_given_back(serve: Serve) -> None:
    """A connection that is closed, by whichever side, counts no more."""
    server = serve(timeout_seconds=0.1)
    with connected(server), connected(server):
        until(lambda: server.connections.count == 2)
        until(lambda: server.connections.count == 0)
    with connected(server):
        until(lambda: server.connections.count == 1)
    until(lambda: server.connections.count == 0)


@pytest.mark.attack("silence")
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
def test_a_handshake_that_stalls_is_cut_off(serve: Serve, sent: bytes) -> None:
    """Over TLS a client that sends no whole hello is closed after the same time as without."""
    server = serve(tls=True, timeout_seconds=0.1)
    with connected(server) as client:
        client.sendall(sent)
        client.settimeout(30)
        assert client.recv(1) == b""


@pytest.mark.attack("silence")
def test_a_handshake_takes_from_the_time_of_the_request(serve: Serve) -> None:
    """The time of a first request begins when the connection is accepted: a handshake does not begin it anew."""
    server = serve(tls=True)
    with connected(server) as plain:
        assert healthy(server, tls=True) == 200, "who came later was answered: the first was accepted before"
        until(lambda: server.connections.count == 1)
        accepted_before = time.monotonic()
        with trusting().wrap_socket(plain, server_hostname="127.0.0.1"):
            until(lambda: len(server._server.server_state.connections) == 1)
            (protocol,) = server._server.server_state.connections
            assert isinstance(protocol, TimeoutProtocol)
            assert protocol._until <= accepted_before + 30


@pytest.mark.attack("silence")
def test_no_descriptor_is_no_storm(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Where the process has no descriptor left, clients are closed, and nothing is logged a hundred times a second."""
    server = serve()
    assert healthy(server, tls=False) == 200, "its event loop has the descriptors it needs"
    until(lambda: server.connections.count == 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(10)]
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            for client in clients:
                client.settimeout(5)
                client.connect(("127.0.0.1", server.port))
                with suppress(ConnectionResetError):
                    assert client.recv(1) == b""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for number in taken:
                os.close(number)
    assert len(caplog.records) <= 2
    assert healthy(server, tls=False) == 200


@pytest.mark.parametrize(("files", "connections"), [(20_000, 128), (256, 128), (200, 88), (64, 16)])
def test_the_bound_leaves_descriptors_to_others(monkeypatch: pytest.MonkeyPatch, files: int, connections: int) -> None:
    """Where a process may open few files, connections get those that the rest of the program does not need."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert WebServer(application(FakeEndpoint()), "127.0.0.1", 0).connections.limit == connections


def connected(server: WebServer) -> socket.socket:
    """Connect, and send nothing."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)
