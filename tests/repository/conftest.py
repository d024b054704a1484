"""PostgreSQL servers of these tests' own: they change pg_hba.conf, roles and settings of the whole server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from exporter.demo.postgres import Postgres
from exporter.repository.connection import connect
from tests.support.components import require
from tests.support.postgres import in_memory

CONNECTIONS = 8
PASSWORD = "never in a line"

PREPARE = f"""
    CREATE ROLE agent LOGIN PASSWORD '{PASSWORD}';
    CREATE ROLE locked_out NOLOGIN PASSWORD '{PASSWORD}';
    CREATE ROLE expired LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '2001-01-01';
    CREATE ROLE without_password LOGIN;
    CREATE ROLE limited LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0;
"""
DATABASES = (
    "CREATE DATABASE workgroup",
    "CREATE DATABASE closed",
    "REVOKE CONNECT ON DATABASE closed FROM public",
    "CREATE DATABASE shut ALLOW_CONNECTIONS false",
)


@pytest.fixture(scope="session")
def postgres15() -> Iterator[Postgres]:
    """PostgreSQL 15 with TLS."""
    with in_memory(Postgres(bin_dir=require("postgres15"))) as made:
        _install_tls(made)
        _prepare(made)
        yield made


@pytest.fixture(scope="session")
def postgres18() -> Iterator[Postgres]:
    """PostgreSQL 18; its wheel was built without TLS."""
    with in_memory(Postgres(bin_dir=require("postgres18"))) as made:
        _prepare(made)
        yield made


@pytest.fixture(scope="session", params=["postgres15", "postgres18"])
def server(request: pytest.FixtureRequest) -> Postgres:
    """Each server in turn."""
    made: Postgres = request.getfixturevalue(request.param)
    return made


def _prepare(server: Postgres) -> None:
    """Give a server few connections, and roles and databases that are refused for one reason each."""
    server.settings["max_connections"] = str(CONNECTIONS)
    server.restart()
    with connect(server.admin()) as connection:
        connection.execute(PREPARE.encode())
        for statement in DATABASES:
            connection.execute(statement.encode())


def _install_tls(server: Postgres) -> None:
    """Give a server a certificate of a day, and let it trust the same authority's certificates of clients."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=1))
    pems = {
        "ca.crt": authority.cert_pem,
        "server.crt": certificate.cert_chain_pems[0],
        "server.key": certificate.private_key_pem,
    }
    for name, pem in pems.items():
        path = server.data / name
        pem.write_to_path(path)
        path.chmod(0o600)
        server.own(path)
    server.settings |= {"ssl": "on", "ssl_ca_file": "ca.crt"}
