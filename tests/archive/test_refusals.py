"""A repository that refuses (no listener, no connection left, an expired certificate) is one line."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from exporter.demo.postgres import Postgres
from exporter.repository.connection import Connection, connect
from tests.support.agent_process import Agent
from tests.support.components import require
from tests.support.poller_harness import PollerHarness
from tests.support.source import Source
from tests.support.wait import until

pytestmark = pytest.mark.fault(34)

CONNECTIONS = 8


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return the certificate authority that the agent trusts."""
    return trustme.CA()


def install(server: Postgres, authority: trustme.CA, days: int) -> None:
    """Give a server a certificate that is valid for so many days from now."""
    certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=days))
    for name, pem in (("server.crt", certificate.cert_chain_pems[0]), ("server.key", certificate.private_key_pem)):
        path = server.data / name
        pem.write_to_path(path)
        path.chmod(0o600)
        server.own(path)


@pytest.fixture(scope="module")
def postgres(authority: trustme.CA) -> Iterator[Postgres]:
    """A server of these tests' own, with TLS and few connections."""
    with Postgres(bin_dir=require("postgres15")) as server:
        install(server, authority, 1)
        server.settings |= {"ssl": "on", "max_connections": str(CONNECTIONS)}
        server.restart()
        yield server


def refused(harness: PollerHarness, words: str) -> None:
    """Poll in vain: the repository is down, and one line has the reason."""
    assert not harness.poll()
    assert not harness.up()
    assert all(words in error for error in harness.errors().values()), harness.errors()
    assert harness.errors()


@pytest.mark.parametrize("limited", ["ROLE readonly", "DATABASE {database}"])
def test_a_limit_of_connections(limited: str, source: Source, harness: PollerHarness) -> None:
    """A role or a database that may have no more connections is polled as soon as it may."""
    who = limited.format(database=source.parameters["dbname"])
    source.requests(1, 10)
    source.run(f"ALTER {who} CONNECTION LIMIT 0")
    try:
        refused(harness, "too many connections")
    finally:
        source.run(f"ALTER {who} CONNECTION LIMIT -1")
    harness.polled()
    assert harness.ids() == list(range(1, 11))


def test_too_many_clients(source: Source, harness: PollerHarness) -> None:
    """A server without free connections is down, and polled as soon as one is free."""
    source.requests(1, 10)
    with contextlib.ExitStack() as others:
        for _ in range(CONNECTIONS - 1):
            others.enter_context(_connected(source))
        refused(harness, "too many clients already")
    until(lambda: harness.poll() or _refused_still(harness))
    harness.polled()
    assert harness.ids() == list(range(1, 11))


def _connected(source: Source) -> Connection[Any]:
    """Open a connection as soon as the server has one: its processes end after the connections that they served."""
    taken: list[Connection[Any]] = []

    def free() -> bool:
        with contextlib.suppress(Connection.OperationalError):
            taken.append(connect(source.parameters))
        return bool(taken)

    until(free)
    return taken[0]


def _refused_still(harness: PollerHarness) -> bool:
    """A poll that failed met no other refusal than that of a server that has no connection free yet."""
    assert all("connection slots" in error or "too many clients" in error for error in harness.errors().values())
    return False


def test_nobody_listens(source: Source, harness: PollerHarness, postgres: Postgres) -> None:
    """A server that is stopped refuses; after its start it is polled, and its restart is no loss."""
    source.requests(1, 10)
    harness.polled()
    postgres.stop()
    try:
        refused(harness, "Connection refused")
    finally:
        postgres.start()
    with Source(source.parameters) as again:
        again.requests(11, 20)
    harness.polled()
    assert harness.ids() == list(range(1, 21))
    harness.assert_once()


def test_an_expired_certificate(source: Source, tmp_path: Path, postgres: Postgres, authority: trustme.CA) -> None:
    """The agent refuses an expired certificate in one line, and goes on with a renewed one."""
    trusted = tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(trusted)
    source.requests(1, 10)
    settings = {"REPOSITORY__SSLMODE": "verify-full", "REPOSITORY__SSLROOTCERT": str(trusted)}
    with Agent(tmp_path, source.readonly, **settings) as agent:
        agent.polled()
        install(postgres, authority, -1)
        postgres.reload()
        agent.until(lambda: agent.value("tableau_up", source="repository") == 0, "the certificate is refused")
        source.requests(11, 20)
        install(postgres, authority, 1)
        postgres.reload()
        agent.until(lambda: agent.value("tableau_up", source="repository") == 1, "the new certificate is accepted")
        agent.polled()
        assert agent.value("tableau_history_rows_total", table="http_requests") == 20
    (line,) = [line for line in agent.logged().splitlines() if "the repository is down" in line]
    assert "certificate" in line
    assert "expired" in line
    assert "Traceback" not in agent.logged()
