"""Repositories that the tests of the whole agent read; a test that changes one has its own."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from tests.support.agent_process import Agent

Asker = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="session")
def repository(postgres18: Postgres) -> Iterator[Simulation]:
    """A small company of the newest version with a month of requests, in which nothing happens any more."""
    simulation = Simulation(postgres=postgres18, database="end_to_end", scale=SMALL, days=31, requests_per_day=80)
    with simulation:
        yield simulation


@pytest.fixture(scope="module")
def changing(postgres18: Postgres, request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A repository that the tests of one module may change."""
    database = Path(str(request.node.name)).stem
    simulation = Simulation(postgres=postgres18, database=database, scale=SMALL, days=2, requests_per_day=300)
    with simulation:
        yield simulation


@pytest.fixture(scope="module")
def restartable(restartable_server: Postgres, request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A repository of one module on a server that its tests may stop and freeze; it runs again after each."""
    database = Path(str(request.node.name)).stem
    simulation = Simulation(postgres=restartable_server, database=database, scale=SMALL, days=1, requests_per_day=300)
    with simulation:
        yield simulation


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Make agents on folders of their own; all are ended with the test."""
    with ExitStack() as stack:

        def make(parameters: Mapping[str, str | int] | None, **settings: str) -> Agent:
            folder = tmp_path / f"agent{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            agent = Agent(folder, parameters, **settings)
            stack.callback(agent.__exit__)
            return agent

        yield make


def ask(simulation: Simulation, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Query the repository, or change it, as its superuser."""
    with psycopg.connect(make_conninfo("", **simulation.admin()), autocommit=True) as connection:
        cursor = connection.execute(sql.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []
