"""Refusals of a real PostgreSQL: one line with the host, the server's message and the remedy, without a secret."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from exporter.demo.postgres import Postgres
from exporter.errors import SourceError, SourceUnreachable
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions
from exporter.repository.connection import Connection, connect
from exporter.repository.errors import connection_error
from tests.repository.conftest import CONNECTIONS, PASSWORD
from tests.repository.failed_connection import ENABLE, Case, failure
from tests.support.components import require

PATIENCE_SECONDS = 30.0

TLS_CASES = {
    "only with TLS": Case(
        'user "agent", database "workgroup", no encryption', "the server demands TLS", access="hostssl all all all md5"
    ),
    "only without TLS": Case(
        'database "workgroup", SSL encryption',
        "only without TLS",
        sslmode="require",
        access="hostnossl all all all md5",
    ),
    "no entry": Case(
        "SSL encryption; no pg_hba.conf entry", "neither with TLS nor without", sslmode="prefer", access=""
    ),
    "no entry, plain first": Case(
        "no encryption; no pg_hba.conf entry", "neither with TLS nor without", sslmode="allow", access=""
    ),
    "client certificate": Case(
        "requires a valid client certificate",
        "set repository.sslcert",
        sslmode="require",
        access="hostssl all all all cert",
    ),
}

CASES = {
    "no entry, no TLS": Case("no pg_hba.conf entry for host", ENABLE, access=""),
    "rejected": Case("pg_hba.conf rejects connection for host", ENABLE, access="host all all all reject"),
    "no role, trusted": Case(
        'role "stranger" does not exist', "check repository.user", user="stranger", access="host all all all trust"
    ),
    "no role": Case("password authentication failed", "a user that does not exist", user="stranger"),
    "NOLOGIN": Case("not permitted to log in", ENABLE, user="locked_out"),
    "wrong password": Case("password authentication failed", "its password", password="another secret"),
    "no password": Case("no password supplied", "its password", password=None),
    "expired password": Case("password authentication failed", "an expired one", user="expired"),
    "role without a password": Case("password authentication failed", "has no password", user="without_password"),
    "ident": Case("Ident authentication failed", "check repository.user", access="host all all all ident"),
    "no database": Case('database "elsewhere" does not exist', "check repository.database", database="elsewhere"),
    "no CONNECT": Case('permission denied for database "closed"', "GRANT CONNECT ON DATABASE", database="closed"),
    "no connections allowed": Case("not currently accepting connections", "ALLOW_CONNECTIONS true", database="shut"),
    "limit of the role": Case(
        'too many connections for role "limited"', "CONNECTION LIMIT", SourceUnreachable, user="limited"
    ),
}


@contextmanager
def access(server: Postgres, lines: str) -> Iterator[None]:
    """Admit only the superuser, and the users of these lines of pg_hba.conf."""
    file = server.data / "pg_hba.conf"
    before = file.read_text()
    _write_access(server, f"host all postgres all scram-sha-256\n{lines}\n")
    try:
        yield
    finally:
        _write_access(server, before)


def _write_access(server: Postgres, text: str) -> None:
    """Write pg_hba.conf and wait until new sessions are let in by it."""

    def loaded_at() -> object:
        with connect(server.admin()) as connection:
            return connection.execute(b"SELECT pg_conf_load_time()").fetchone()

    before = loaded_at()
    (server.data / "pg_hba.conf").write_text(text)
    server.reload()
    patience = time.monotonic() + PATIENCE_SECONDS
    while loaded_at() == before:
        assert time.monotonic() < patience


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_login_that_is_refused(case: Case, server: Postgres) -> None:
    """Each refusal of a real server is one line with the server's message and the remedy."""
    _refused(case, server)


@pytest.mark.parametrize("case", TLS_CASES.values(), ids=TLS_CASES.keys())
def test_a_login_that_is_refused_for_tls(case: Case, postgres15: Postgres) -> None:
    """Each refusal of a real server that concerns TLS names the ``repository.sslmode`` that may help."""
    _refused(case, postgres15)


def _refused(case: Case, server: Postgres) -> None:
    with access(server, case.access):
        error = failure(server.port, case=case)
    assert type(error) is case.kind
    assert case.server_words in str(error)
    assert case.advice in str(error).split(case.server_words)[1]


def test_all_connections_are_taken(server: Postgres) -> None:
    """A server without a free connection is unreachable for now; the line names the settings to check."""
    with ExitStack() as others:
        for _ in range(CONNECTIONS):
            try:
                others.enter_context(connect({**server.admin("workgroup"), "user": "agent", "password": PASSWORD}))
            except Connection.OperationalError:
                break
        error = failure(server.port)
    assert type(error) is SourceUnreachable
    assert "connection slots" in str(error) or "too many clients" in str(error)
    assert "raise max_connections" in str(error)


def test_a_server_that_shuts_down(server: Postgres) -> None:
    """A server that waits for its last session to end is unreachable for now."""
    with connect(server.admin()):
        stopping = threading.Thread(target=server.stop, args=("smart",))
        stopping.start()
        patience = time.monotonic() + PATIENCE_SECONDS
        while "shutting down" not in (line := _failed(server.port)):
            assert time.monotonic() < patience, line
    stopping.join()
    server.start()
    assert "the database system is shutting down: it passes by itself" in line


def _failed(port: int) -> str:
    """Return why there is no session, or nothing where there is one."""
    login = RepositoryOptions(
        (Address("127.0.0.1", port),), "workgroup", "agent", lambda: PASSWORD, (("sslmode", "disable"),)
    )
    try:
        with RepositoryClient(login).session():
            return ""
    except SourceError as error:
        return str(error)


def test_a_server_that_starts_up(server: Postgres) -> None:
    """A server that waits for its log is unreachable for now."""
    go_on = server.data / "go_on"
    server.stop()
    (server.data / "recovery.signal").touch()
    server.own(server.data / "recovery.signal")
    before = dict(server.settings)
    server.settings["restore_command"] = f"until [ -e {go_on} ]; do sleep 0.05; done; false"
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        patience = time.monotonic() + PATIENCE_SECONDS
        while "starting up" not in (line := _failed(server.port)):
            assert time.monotonic() < patience, line
    finally:
        go_on.touch()
        starting.join()
        server.settings = before
        go_on.unlink()
        server.restart()
    assert "the database system is starting up: it passes by itself" in line


def test_a_standby_that_answers_no_queries() -> None:
    """A standby without hot_standby is unreachable; the line names the active node as the one to configure."""
    with Postgres(bin_dir=require("postgres15")) as server:
        server.stop()
        (server.data / "standby.signal").touch()
        server.own(server.data / "standby.signal")
        server.settings |= {"hot_standby": "off"}
        starting = threading.Thread(target=_start_in_vain, args=(server,))
        starting.start()
        patience = time.monotonic() + PATIENCE_SECONDS
        while "not accepting connections" not in (line := _failed(server.port)):
            assert time.monotonic() < patience, line
        server.stop()
        starting.join()
    assert "name the active node in repository.hosts" in line


def _start_in_vain(server: Postgres) -> None:
    with pytest.raises(Exception, match="PostgreSQL did not"):
        server.start()


def test_a_short_password_hides_no_other_word() -> None:
    """A password of two letters is hidden, and the words that it is part of can be read."""
    reported = str(connection_error("db", psycopg.OperationalError('role readonly: password "ro" from pg_ro'), "ro"))
    assert 'role readonly: password "<secret>" from pg_ro' in reported


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("quoted", [r"half\"other", "half%22other", "half&quot;other", "aGFsZiJvdGhlcg"])
def test_a_password_that_is_quoted_escaped(quoted: str) -> None:
    """A server, or another in its place, that quotes the password escaped is not quoted."""
    error = psycopg.OperationalError(f'connection to server at "db", port 8060 failed: FATAL:  no {quoted} here')
    reported = str(connection_error("db:8060", error, 'half"other'))
    assert "half" not in reported
    assert quoted not in reported
