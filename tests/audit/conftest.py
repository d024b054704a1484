"""Shared by the tests of the audit: a small company, an environment that leads to it, and made-up sites."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from exporter.audit.reading import Sites
from exporter.config import Configuration
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.errors import SourceError
from exporter.inventory import Inventory
from exporter.rest.client import SiteResult

REST = {
    "REST__URL": "http://127.0.0.1:1",
    "REST__TOKEN_NAME": "exporter",
    "REST__TOKEN_VALUE": "not to be told",
}
SetUp = Callable[..., None]


def site_result(site: str, inventory: Inventory | None, error: str | None = None) -> SiteResult:
    """Return the result of the REST API for a site."""
    return SiteResult(site, inventory, error)


def answering(*results: SiteResult, then: SourceError | None = None) -> Sites:
    """Return a reader of these sites, which fails afterwards where an error is given."""

    def sites(_: Configuration, __: pa.Table) -> Iterator[SiteResult]:
        yield from results
        if then is not None:
            raise then

    return sites


@pytest.fixture(scope="session")
def company(postgres18: Postgres) -> Iterator[Simulation]:
    """A small company in whose repository nothing happens."""
    with Simulation(postgres=postgres18, database="audited", scale=SMALL, days=0.1, requests_per_day=100) as simulation:
        yield simulation


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    """Set the environment to a simulation and settings, and nothing else, in a folder of its own."""
    for name in os.environ:
        if name.startswith("TABLEAU_EXPORTER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def set_up(simulation: Simulation | None, **settings: str) -> None:
        keys: dict[str, str] = {}
        if simulation is not None:
            parameters = simulation.parameters()
            keys = {
                "REPOSITORY__HOSTS": f"{parameters['host']}:{parameters['port']}",
                "REPOSITORY__DATABASE": str(parameters["dbname"]),
                "REPOSITORY__PASSWORD": str(parameters["password"]),
                "REPOSITORY__SSLMODE": "disable",
            }
        for name, value in (keys | settings).items():
            monkeypatch.setenv(f"TABLEAU_EXPORTER_{name}", value)

    return set_up


AT = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the rows' times have no zone
