"""Other servers on the repository's port, or none: one line with the host and the remedy, without a secret."""

import contextlib
import http.server
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from exporter.errors import SourceRefused, SourceUnreachable
from tests.repository.conftest import PASSWORD
from tests.repository.failed_connection import ENABLE, Case, failure

PATIENCE_SECONDS = 30.0
PORT = "host and port in repository.hosts (Tableau's own repository listens on 8060)"


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port; each connection is handled and then closed."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            handle(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def answering(reply: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Reply to the first bytes of each connection; with a context, after TLS was begun as PostgreSQL does it."""

    def handle(line: socket.socket) -> None:
        line.recv(1024)
        if context is not None:
            line.sendall(b"S")
            line = context.wrap_socket(line, server_side=True)
            line.recv(1024)
        line.sendall(reply)
        line.close()

    with serving(handle) as port:
        yield port


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    """A server's side of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def refusal(text: str, severity: str = "FATAL") -> bytes:
    """Return PostgreSQL's ErrorResponse with this text."""
    fields = b"".join(
        f"{kind}{value}".encode() + b"\0" for kind, value in (("S", severity), ("C", "28000"), ("M", text))
    )
    return b"E" + struct.pack("!i", 5 + len(fields)) + fields + b"\0"


@pytest.mark.parametrize(
    ("ending", "sslmode", "advice"),
    [
        (", SSL off", "disable", "the server demands TLS"),
        (", SSL on", "require", "only without TLS"),
        ("", "disable", ENABLE),  # built without TLS
    ],
)
def test_the_words_of_postgresql_13_and_older(ending: str, sslmode: str, advice: str, tls: ssl.SSLContext) -> None:
    """Older servers call it "SSL on" and "SSL off" (its source before version 14)."""
    text = f'no pg_hba.conf entry for host "127.0.0.1", user "agent", database "workgroup"{ending}'
    with answering(refusal(text), None if sslmode == "disable" else tls) as port:
        error = failure(port, case=Case(sslmode=sslmode))
    assert type(error) is SourceRefused
    assert advice in str(error)


@pytest.mark.parametrize(
    ("severity", "text"),
    [
        ("FATAL", "Passwort-Authentifizierung f?r Benutzer >>agent<< fehlgeschlagen"),
        ("ВАЖНО", "роль не существует"),
        ("FATAL", "a refusal of tomorrow"),
    ],
)
def test_an_answer_in_another_language(severity: str, text: str) -> None:
    """A server that refuses in words that are not known is quoted, and all that can be wrong is named."""
    with answering(refusal(text, severity)) as port:
        error = failure(port)
    assert type(error) is SourceRefused
    assert f": {text}: the server refuses the agent; " in str(error)
    assert ENABLE in str(error)
    assert "repository.sslmode" in str(error)


def test_a_long_answer_with_the_password_in_it() -> None:
    """An untrusted answer is cut, and loses control characters and the password."""
    with answering(refusal(f"{PASSWORD}\n\x1b[31m{'x' * 5000}")) as port:
        error = failure(port)
    assert ": <secret>" in str(error)


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
@pytest.mark.parametrize(
    "reply", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"]
)
def test_a_port_that_is_not_postgresql(reply: bytes, sslmode: str) -> None:
    """Another protocol on the port is not confused with PostgreSQL: the line names hosts and Tableau's port."""
    with answering(reply) as port:
        error = failure(port, case=Case(sslmode=sslmode))
    assert PORT in str(error)


def test_a_web_server() -> None:
    """A web server, which waits for the end of a line, is given up in time; the line names hosts and port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        error = failure(server.server_port)
        server.shutdown()
        thread.join()
    assert type(error) is SourceUnreachable
    assert "connection timeout expired: no answer of PostgreSQL's; check host and port" in str(error)


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_a_port_that_speaks_tls_alone(sslmode: str, tls: ssl.SSLContext) -> None:
    """A port that begins with TLS itself ends the connection: the line names the right port."""

    def handle(line: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError):
            tls.wrap_socket(line, server_side=True)

    with serving(handle) as port:
        error = failure(port, case=Case(sslmode=sslmode))
    assert "whether only TLS is spoken there" in str(error) or "is not PostgreSQL" in str(error)
    assert PORT in str(error)


def test_a_server_that_never_answers() -> None:
    """A port that accepts and never answers is given up in time; the line names the possible cause."""
    end = threading.Event()

    def handle(_: socket.socket) -> None:
        end.wait(PATIENCE_SECONDS)

    with serving(handle) as port:
        error = failure(port)
        end.set()
    assert type(error) is SourceUnreachable
    assert "firewalls, and whether the server or a pooler hangs" in str(error)


def test_nothing_listens() -> None:
    """A refused connection names Tableau, access and port, without libpq's own hints."""
    with answering(b"") as port:
        pass
    error = failure(port)
    assert type(error) is SourceUnreachable
    assert ": Connection refused: nothing listens there; " in str(error)
    assert ENABLE in str(error)


def test_a_name_without_an_address() -> None:
    """A host that DNS does not know names repository.hosts and DNS."""
    error = failure(8060, "repository.invalid")
    assert type(error) is SourceUnreachable
    assert "check the name in repository.hosts and this machine's DNS" in str(error)


def test_a_folder_without_a_socket(tmp_path: Path) -> None:
    """A folder in which no server has its socket is named as such."""
    error = failure(5432, str(tmp_path))
    assert ": No such file or directory: no server has its socket there" in str(error)


def test_a_server_without_tls() -> None:
    """A server without TLS is named as such; both remedies are in the line."""
    with answering(b"N") as port:
        error = failure(port, case=Case(sslmode="require"))
    assert type(error) is SourceRefused
    assert "enable TLS there (tsm security repository-ssl enable), or set repository.sslmode to disable" in str(error)
