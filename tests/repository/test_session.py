"""The settings of a session are checked after connecting: one that does not hold is named, with its cause."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from exporter.demo.postgres import Postgres
from exporter.errors import SourceRefused, SourceUnreachable
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions
from exporter.repository.session import Session
from tests.repository.conftest import PASSWORD
from tests.support.tcp_proxy import Proxy


@contextmanager
def paused(server: Postgres) -> Iterator[None]:
    """Freeze a server."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


class Altering(Proxy):
    """A proxy that replaces one text by another of the same length, in the agent's messages."""

    def __init__(self, server: Postgres, text: str, instead: str) -> None:
        assert len(text) == len(instead)
        self.altered = 0
        self._text, self._instead = text.encode(), instead.encode()
        super().__init__(server.host, server.port)

    def alter(self, piece: bytes) -> bytes:
        """Replace the text."""
        self.altered += piece.count(self._text)
        return piece.replace(self._text, self._instead)


def session_through(
    line: Proxy, sslmode: str = "disable", statement_timeout: float = 30.0
) -> AbstractContextManager[Session]:
    """Return a session through a line."""
    login = RepositoryOptions(
        (Address("127.0.0.1", line.port),),
        "workgroup",
        "agent",
        lambda: PASSWORD,
        (("sslmode", sslmode),),
        statement_timeout=statement_timeout,
    )
    return RepositoryClient(login).session()


@pytest.mark.parametrize(
    ("text", "instead", "complaint"),
    [
        ("READ READ ONLY", "READ          ", "transaction_read_only is 'off' after it was set to 'on'"),
        ("REPEATABLE READ", "READ COMMITTED ", "transaction_isolation is 'read committed' after"),
        ("statement_timeout = '30000'", "statement_timeout = '00000'", "statement_timeout is '0' after"),
        ("lock_timeout = '2000'", "lock_timeout = '0000'", "lock_timeout is '0' after it was set to '2000'"),
        ("session_timeout = '30000'", "session_timeout = '00000'", "idle_in_transaction_session_timeout is '0' after"),
        ("timezone = 'UTC'", "timezone = 'PRC'", "timezone is 'PRC' after it was set to 'UTC'"),
        ("datestyle = 'ISO, MDY'", "datestyle = 'SQL, DMY'", "datestyle is 'SQL, DMY' after"),
        ("= 'tableau-exporter'", "= 'somebody else   '", "application_name is 'somebody else   ' after"),
        ("jit = 'off'", "jit = 'on' ", "jit is 'on' after"),
    ],
)
def test_a_setting_that_does_not_hold(text: str, instead: str, complaint: str, server: Postgres) -> None:
    """No session begins where a setting was dropped on the way; the line names it and the pooler in between."""
    with Altering(server, text, instead) as line:
        with pytest.raises(SourceRefused) as caught, session_through(line):
            pass
        assert str(caught.value).startswith(f"repository 127.0.0.1:{line.port}: {complaint}")
        assert line.altered
    assert "a pooler or proxy drops it; name PostgreSQL itself in repository.hosts" in str(caught.value)


def test_what_holds_is_not_complained_of(server: Postgres) -> None:
    """Through a line that changes nothing a session begins."""
    with Altering(server, "nothing", "nothing") as line, session_through(line) as session:
        assert session.in_recovery is False


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_a_connection_that_is_cut(sslmode: str, postgres15: Postgres) -> None:
    """A connection that breaks in the middle is an outage, with TLS as without, and no fault of the configuration."""
    with ExitStack() as stack:
        line = stack.enter_context(Proxy(postgres15.host, postgres15.port))
        session = stack.enter_context(session_through(line, sslmode=sslmode))
        line.__exit__(None, None, None)
        with pytest.raises(SourceUnreachable) as caught:
            session.load_catalog(["workbooks"])
    assert "repository.sslmode" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_server_that_hangs(postgres15: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops answering after connecting is given up in time, in one line."""
    monkeypatch.setattr("exporter.repository.session.GRACE_SECONDS", 0.2)
    with (
        Proxy(postgres15.host, postgres15.port) as line,
        session_through(line, statement_timeout=1.0) as session,
        paused(postgres15),
        pytest.raises(SourceUnreachable, match=r"no answer within 1\.2 s: the server, a pooler or the network"),
    ):
        session.load_catalog(["workbooks"])
