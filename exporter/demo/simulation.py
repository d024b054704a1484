"""A whole simulated Tableau repository: an embedded PostgreSQL, its ``workgroup`` database, and life in it."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Self

from exporter.demo import traffic, workgroup
from exporter.demo.company import Company
from exporter.demo.draft import Scale
from exporter.demo.live_traffic import LiveTraffic
from exporter.demo.postgres import Postgres
from exporter.demo.workgroup import quoted
from exporter.repository.connection import connect

NEWEST = workgroup.VERSIONS[-1]


def utc_now() -> datetime:
    """Return the time as the repository keeps it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


class Simulation:
    """A context manager: inside, the database runs and is filled.

    ``folder`` keeps the server's files; without one they are temporary. ``postgres`` is a running server to use
    instead, under another ``database`` name perhaps; it is then left running. ``now`` is the end of the past.
    """

    def __init__(  # noqa: PLR0913 - each has a default, and tests need every one
        self,
        folder: Path | None = None,
        *,
        version: str = NEWEST,
        seed: int = 1,
        scale: Scale | None = None,
        days: float = 30,
        requests_per_day: float = traffic.REQUESTS_PER_DAY,
        now: datetime | None = None,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        postgres: Postgres | None = None,
        database: str = "workgroup",
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        self.version = version
        self.database = database
        self.now = now or utc_now()
        self.postgres = postgres or Postgres(folder, bin_dir=bin_dir, settings=settings)
        self.passwords = dict(passwords or role_passwords(self.postgres.password))
        self.company = Company.build(seed, self.now, scale)
        self._seed = seed
        self._days = days
        self._requests_per_day = requests_per_day
        self._owned = postgres is None
        self._living: list[LiveTraffic] = []

    @property
    def host(self) -> str:
        """The address that the server listens on."""
        return self.postgres.host

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self.postgres.port

    def parameters(self, role: str = "readonly") -> dict[str, str | int]:
        """Return connection parameters of one of the published roles: readonly or tableau."""
        return {**self.admin(), "user": role, "password": self.passwords[role]}

    def admin(self) -> dict[str, str | int]:
        """Return connection parameters of the superuser, for code that acts as Tableau itself."""
        return self.postgres.admin(self.database)

    def live(self, *, seed: int | None = None) -> LiveTraffic:
        """Start living traffic; it ends with the simulation, or by its own ``stop()``."""
        living = LiveTraffic(self.company, self.admin(), self.version, Random(seed), utc_now)
        living.start()
        self._living.append(living)
        return living

    def __enter__(self) -> Self:
        try:
            self.postgres.start()
            self._fill()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the traffic and, if it is ours, the server."""
        for living in self._living:
            living.stop()
        if self._owned:
            self.postgres.close()

    def _fill(self) -> None:
        with connect(self.postgres.admin()) as connection:
            connection.execute(f"CREATE DATABASE {quoted(self.database)}".encode())
        with connect(self.admin()) as connection:
            workgroup.create(
                connection,
                self.version,
                readonly_password=self.passwords["readonly"],
                tableau_password=self.passwords["tableau"],
            )
            self.company.insert(connection, self.version)
            requests = traffic.past(self.company, self.now, self._days, self._requests_per_day, seed=self._seed)
            traffic.load(connection, self.version, requests)
            connection.execute("ANALYZE")


def role_passwords(server_password: str) -> dict[str, str]:
    """Return the passwords of the published roles on a server with this password of the superuser."""
    # Roles belong to the server: every simulation on it must come to the same passwords.
    return {
        role: hashlib.sha256(f"{role}:{server_password}".encode()).hexdigest()[:32] for role in ("readonly", "tableau")
    }
