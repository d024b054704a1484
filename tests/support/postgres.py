"""PostgreSQL servers as fixtures: one of each version in a process, for every test that does not change the server.

Roles are the whole server's: on these servers the published ones have PASSWORDS, and a test that sets others puts
them back. A test that stops or freezes its server requests ``restartable_server``, and leaves it running.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.demo.postgres import Postgres
from exporter.demo.simulation import role_passwords
from exporter.repository.connection import connect
from tests.support.components import require

__all__ = ["postgres", "postgres15", "postgres18", "restartable_server"]

SERVER_PASSWORD = "of the tests' servers"
PASSWORDS = role_passwords(SERVER_PASSWORD)
PASSWORD = PASSWORDS["readonly"]
# Housekeeping would use transactions at moments of its own.
SETTINGS = {"autovacuum": "off"}
# A database of each test is several hundred files, which take ten times the processor's time on a disk.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30


def in_memory(server: Postgres) -> Postgres:
    """Let a server that is still to be started keep its files in memory, where there is room: they are many."""
    # A user who sets TMPDIR expects everything there.
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        server.folder = MEMORY / server.folder.name
    return server


def new_server(component: str) -> Postgres:
    """Return a server that is still to be started."""
    return in_memory(Postgres(bin_dir=require(component), settings=SETTINGS, password=SERVER_PASSWORD))


@pytest.fixture(scope="session")
def postgres15() -> Iterator[Postgres]:
    """Debian's PostgreSQL, one of the oldest that Tableau's repository may be."""
    with new_server("postgres15") as started:
        yield started


@pytest.fixture(scope="session")
def postgres18() -> Iterator[Postgres]:
    """The demo's PostgreSQL, from its wheel."""
    with new_server("postgres18") as started:
        yield started


@pytest.fixture(scope="session")
def restartable_server() -> Iterator[Postgres]:
    """A PostgreSQL that a test may stop, freeze and restart."""
    with new_server("postgres18") as started:
        yield started


@pytest.fixture(scope="session", params=["postgres15", "postgres18"])
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """Each PostgreSQL in turn."""
    chosen: Postgres = request.getfixturevalue(request.param)
    return chosen


def restore_passwords(changed: Postgres) -> None:
    """Give the published roles of a server their passwords again."""
    with connect(changed.admin()) as connection:
        for role, password in PASSWORDS.items():
            connection.execute(f"ALTER ROLE {role} PASSWORD '{password}'".encode())
