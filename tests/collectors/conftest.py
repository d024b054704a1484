"""Simulated companies of each version, and empty repositories."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime

import pytest

from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.demo.workgroup import VERSIONS
from tests.collectors.repositories import Handmade

NOW = datetime(2025, 11, 19, 10, 30)  # noqa: DTZ001 - the repository's times have no zone


@pytest.fixture(scope="session")
def simulations(postgres18: Postgres) -> Iterator[dict[str, Simulation]]:
    """The same small company in the schema of each version."""
    with ExitStack() as stack:
        yield {
            version: stack.enter_context(
                Simulation(
                    postgres=postgres18,
                    database=f"company_{version.replace('.', '_')}",
                    version=version,
                    scale=SMALL,
                    days=1,
                    requests_per_day=100,
                    now=NOW,
                )
            )
            for version in VERSIONS
        }


@pytest.fixture(params=VERSIONS)
def simulation(request: pytest.FixtureRequest, simulations: dict[str, Simulation]) -> Simulation:
    """The company, version after version."""
    return simulations[request.param]


@pytest.fixture(scope="session")
def empty_repositories(postgres18: Postgres) -> dict[str, Handmade]:
    """An empty repository of each version."""
    return {version: Handmade(postgres18, version) for version in VERSIONS}


@pytest.fixture(params=VERSIONS)
def any_version(request: pytest.FixtureRequest, empty_repositories: dict[str, Handmade]) -> Iterator[Handmade]:
    """An empty repository, version after version."""
    yield empty_repositories[request.param]
    empty_repositories[request.param].empty()


@pytest.fixture
def oldest(empty_repositories: dict[str, Handmade]) -> Iterator[Handmade]:
    """An empty repository of the oldest version."""
    yield empty_repositories[VERSIONS[0]]
    empty_repositories[VERSIONS[0]].empty()


@pytest.fixture
def newest(empty_repositories: dict[str, Handmade]) -> Iterator[Handmade]:
    """An empty repository of the newest version."""
    yield empty_repositories[VERSIONS[-1]]
    empty_repositories[VERSIONS[-1]].empty()
