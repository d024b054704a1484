"""A poller on a company's repository, and clusters of a test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.demo.postgres import Postgres
from tests.support.poller_harness import WITH_NAMES, PollerHarness
from tests.support.postgres_cluster import Cluster, cluster
from tests.support.source import Source, source, template

__all__ = ["source", "template"]


@pytest.fixture
def postgres(postgres15: Postgres) -> Postgres:
    """Debian's PostgreSQL; a module that needs both requests it."""
    return postgres15


@pytest.fixture
def harness(source: Source, tmp_path: Path) -> PollerHarness:
    """A poller on the company's repository, with a history of its own."""
    return PollerHarness(source.readonly, tmp_path / "history.duckdb")


@pytest.fixture
def naming_harness(source: Source, tmp_path: Path) -> PollerHarness:
    """A poller that keeps names too."""
    return PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=WITH_NAMES)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is small: it is read fast unless an exact read is requested."""
    monkeypatch.setattr("exporter.poller.read_plan.SMALL_BYTES", -1)


@pytest.fixture
def make_harness(tmp_path: Path) -> Callable[[Source], PollerHarness]:
    """Make a poller that reads as the superuser."""
    return lambda source: PollerHarness(source.parameters, tmp_path / "history.duckdb")


@pytest.fixture
def primary() -> Iterator[Cluster]:
    """A cluster of a test's own, with an empty repository."""
    with cluster() as made:
        yield made
