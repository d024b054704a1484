"""A company's repository in a fresh database, on the server a test asks for."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from exporter.demo import workgroup
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.repository.connection import connect
from tests.archive.rig import Rig
from tests.archive.source import PASSWORD, Source

NOW = datetime(2025, 11, 19, 10, 30)  # noqa: DTZ001 - the repository's times have no zone


@pytest.fixture(scope="session")
def company() -> Company:
    """A small company; nobody may change it."""
    return Company.build(1, NOW, SMALL)


@pytest.fixture
def source(database: dict[str, str | int], company: Company) -> Iterator[Source]:
    """The company's repository without requests, and whoever plays Tableau on it."""
    with connect(database) as connection:
        workgroup.create(connection, workgroup.VERSIONS[-1], readonly_password=PASSWORD, tableau_password=PASSWORD)
        company.insert(connection, workgroup.VERSIONS[-1])
    with Source(database) as opened:
        yield opened


@pytest.fixture
def rig(source: Source, tmp_path: Path) -> Rig:
    """A poller on the company's repository, with a history of its own."""
    return Rig(source.readonly, tmp_path / "history.duckdb")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is small: it is read fast unless an exact reading is asked for."""
    monkeypatch.setattr("exporter.poller.planning.SMALL_BYTES", -1)
