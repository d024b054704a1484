"""A company's repository in a fresh database, on the server a test asks for, and a poller on it."""

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from exporter.demo import workgroup
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.repository.connection import connect
from tests.archive.cluster import Cluster
from tests.archive.clusters import cluster
from tests.support.poller_harness import WITH_NAMES, Rig
from tests.support.postgres import postgres15, postgres18
from tests.support.source import PASSWORD, Source

# Servers of its own: roles have other passwords here.
__all__ = ["postgres15", "postgres18"]

NOW = datetime(2025, 11, 19, 10, 30)  # noqa: DTZ001 - the repository's times have no zone


@pytest.fixture(scope="session")
def template() -> Callable[[Postgres], str]:
    """Name, for a server, the database that the others are copies of: a small company without requests."""
    made: dict[int, str] = {}

    def make(server: Postgres) -> str:
        if server.port not in made:
            name = made[server.port] = f"company_{secrets.token_hex(6)}"
            with psycopg.connect(make_conninfo("", **server.admin()), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
            version = workgroup.VERSIONS[-1]
            with connect(server.admin(name)) as connection:
                workgroup.create(connection, version, readonly_password=PASSWORD, tableau_password=PASSWORD)
                Company.build(1, NOW, SMALL).insert(connection, version)
        return made[server.port]

    return make


@pytest.fixture
def postgres(postgres15: Postgres) -> Postgres:
    """Debian's PostgreSQL; a module that needs both says so."""
    return postgres15


@pytest.fixture
def source(postgres: Postgres, template: Callable[[Postgres], str]) -> Iterator[Source]:
    """The company's repository without requests, and whoever plays Tableau on it."""
    name = f"archive_{secrets.token_hex(6)}"
    copied = template(postgres)
    with psycopg.connect(make_conninfo("", **postgres.admin()), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {copied}".encode())
        connection.execute("ALTER ROLE readonly PASSWORD '{PASSWORD}'".replace("{PASSWORD}", PASSWORD).encode())
    with Source(postgres.admin(name)) as opened:
        yield opened
    with psycopg.connect(make_conninfo("", **postgres.admin()), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def rig(source: Source, tmp_path: Path) -> Rig:
    """A poller on the company's repository, with a history of its own."""
    return Rig(source.readonly, tmp_path / "history.duckdb")


@pytest.fixture
def naming_rig(source: Source, tmp_path: Path) -> Rig:
    """A poller that keeps names too."""
    return Rig(source.readonly, tmp_path / "history.duckdb", collectors=WITH_NAMES)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is small: it is read fast unless an exact reading is asked for."""
    monkeypatch.setattr("exporter.poller.read_plan.SMALL_BYTES", -1)


@pytest.fixture
def make_rig(tmp_path: Path) -> Callable[[Source], Rig]:
    """Make a poller that reads as the superuser."""
    return lambda source: Rig(source.parameters, tmp_path / "history.duckdb")


@pytest.fixture
def primary() -> Iterator[Cluster]:
    """A cluster of a test's own, with an empty repository."""
    with cluster() as made:
        yield made
