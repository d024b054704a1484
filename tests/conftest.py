"""Fixtures that many tests share: real PostgreSQL servers, and fresh databases in them."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.hyper_server import hyper_server, one_hyperd
from tests.reliability import Reliability, Tally
from tests.servers import postgres, postgres15, postgres18

if TYPE_CHECKING:
    from exporter.demo.postgres import Postgres

__all__ = ["hyper_server", "one_hyperd", "postgres", "postgres15", "postgres18"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the table of faults."""
    parser.addoption("--reliability", metavar="DOCUMENT", help="write the table of faults into this document")


def pytest_configure(config: pytest.Config) -> None:
    """Collect what the tests of faults count, where it was asked for."""
    if document := config.getoption("--reliability"):
        if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
            raise pytest.UsageError("--reliability counts in one process: leave out -n")
        config.pluginmanager.register(Reliability(Path(document)))


@pytest.fixture
def tally() -> Tally:
    """How often a test drives its fault, and what is lost or doubled by it."""
    return Tally()


@pytest.fixture
def database(postgres: "Postgres") -> Iterator[dict[str, str | int]]:
    """Connection parameters of the superuser to a database that is new and empty, and gone afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(make_conninfo("", **postgres.admin()), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    yield postgres.admin(name)
    if postgres.running:
        with psycopg.connect(make_conninfo("", **postgres.admin()), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
