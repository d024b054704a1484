"""A small simulated repository, shared by the tests that only read it."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.server import TableauServer
from tests.support.postgres import restore_passwords

# A Wednesday morning.
NOW = datetime(2025, 11, 19, 10, 30)  # noqa: DTZ001 - the repository's times have no zone


@pytest.fixture(scope="session")
def now() -> datetime:
    """The instant at which the simulated past ends."""
    return NOW


@pytest.fixture(scope="session")
def company() -> Company:
    """A small company; no test may change it."""
    return Company.build(1, NOW, SMALL)


@pytest.fixture(scope="session")
def simulation(postgres18: Postgres) -> Iterator[Simulation]:
    """A small repository of the newest version with three days of requests."""
    simulation = Simulation(postgres=postgres18, database="demo", scale=SMALL, days=3, requests_per_day=600, now=NOW)
    with simulation:
        yield simulation


@pytest.fixture
def database(postgres: Postgres, database: dict[str, str | int]) -> Iterator[dict[str, str | int]]:
    """A new and empty database; roles that get other passwords in it have theirs again afterwards."""
    yield database
    restore_passwords(postgres)


@pytest.fixture(scope="session")
def running(company: Company) -> Iterator[TableauServer]:
    """A simulated Tableau Server with the small company."""
    with TableauServer(Estate.of(company)) as server:
        yield server


@pytest.fixture
def tableau(running: TableauServer) -> Iterator[TableauServer]:
    """The same with all its failure modes off, and no session."""
    running.failure_modes.reset()
    running.estate.oddities = Oddities()
    running.sessions.end_all()
    running.requests.clear()
    running.seen.clear()
    yield running
    running.failure_modes.reset()
    running.estate.oddities = Oddities()


@pytest.fixture(scope="session")
def cloud(company: Company) -> Iterator[TableauServer]:
    """A simulated Tableau Cloud with the small company."""
    with TableauServer(Estate.of(company), cloud=True) as server:
        yield server
