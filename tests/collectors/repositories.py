"""Repositories to read with the real session, as the agent does."""

from datetime import datetime
from typing import Any

import pyarrow as pa

from exporter.collector import Context, Events, State
from exporter.demo import rows, workgroup
from exporter.demo.postgres import Postgres
from exporter.demo.rows import Row
from exporter.demo.workgroup import quoted
from exporter.metrics import Block
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions
from exporter.repository.connection import connect
from tests.support.postgres import PASSWORDS

SITES = {1: "default", 2: "marketing", 3: "finance", 4: "emea"}
CONTEXT = Context(SITES, lambda _: (None, None))

Samples = dict[tuple[str, ...], Any]


def repository(parameters: dict[str, str | int]) -> RepositoryClient:
    """Return the repository that these parameters lead to."""
    return RepositoryClient(
        RepositoryOptions(
            (Address(str(parameters["host"]), int(parameters["port"])),),
            str(parameters["dbname"]),
            str(parameters["user"]),
            lambda: str(parameters["password"]),
            (("sslmode", "disable"),),
        )
    )


def read(parameters: dict[str, str | int], what: State | Events) -> pa.Table:
    """Read the rows of a state, or of events that have a statement."""
    assert what.row is not None
    assert what.sql is not None
    with repository(parameters).session() as session:
        # A poll reads everything: where one table may not be read, others may.
        session.load_catalog(["sites", *(relation.name for relation in what.reads)])
        return session.read(what.row, what.reads, what.sql)


def samples(blocks: list[Block], family: str, now: float = 0.0) -> Samples:
    """Return the samples of a family: values by labels, without absent ones."""
    return {
        labels: value
        for block in blocks
        if block.family.name == family
        for labels, value in zip(block.labels.rows(), block.at(now), strict=True)
        if value is not None
    }


class Handmade:
    """A repository of one version that holds only a test's rows."""

    def __init__(self, postgres: Postgres, version: str) -> None:
        self.version = version
        self._admin = postgres.admin(f"handmade_{version.replace('.', '_')}")
        self._filled: set[str] = set()
        self._rows = 1000
        with connect(postgres.admin()) as connection:
            connection.execute(f"CREATE DATABASE {self._admin['dbname']}".encode())
        with connect(self._admin) as connection:
            workgroup.create(
                connection,
                version,
                readonly_password=PASSWORDS["readonly"],
                tableau_password=PASSWORDS["tableau"],
            )

    def add(self, table: str, **values: object) -> int:
        """Insert a row; columns that the version lacks are left out."""
        self._rows += 1
        row: Row = {"id": self._rows, **values}
        self._filled.add(table)
        with connect(self._admin) as connection:
            return rows.insert(connection, self.version, table, row)

    def parameters(self, user: str = "readonly") -> dict[str, str | int]:
        """Return connection parameters of one of the published users."""
        return {**self._admin, "user": user, "password": PASSWORDS[user]}

    def read(self, what: State | Events, user: str = "readonly") -> list[dict[str, Any]]:
        """Read the rows of a state as one of the published users."""
        found: list[dict[str, Any]] = read(self.parameters(user), what).to_pylist()
        return found

    def empty(self) -> None:
        """Remove the test's rows."""
        if self._filled:
            with connect(self._admin) as connection:
                connection.execute(f"TRUNCATE {', '.join(map(quoted, sorted(self._filled)))}".encode())
        self._filled.clear()


def at(day: int, hour: int = 0) -> datetime:
    """Return an instant of November 2025, as the repository stores it."""
    return datetime(2025, 11, day, hour)  # noqa: DTZ001 - the repository's times have no zone
