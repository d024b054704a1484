"""PostgreSQL servers as fixtures. A conftest that imports them gives its folder servers of its own.

That is for tests that set the passwords of roles: these are the whole server's, and other tests rely on theirs.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.components import require

if TYPE_CHECKING:
    from exporter.demo.postgres import Postgres

__all__ = ["postgres", "postgres15", "postgres18"]


@pytest.fixture(scope="session")
def postgres15() -> Iterator["Postgres"]:
    """Debian's PostgreSQL, one of the oldest that Tableau's repository may be."""
    from exporter.demo.postgres import Postgres

    with Postgres(bin_dir=require("postgres15")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres18() -> Iterator["Postgres"]:
    """The demo's PostgreSQL, from its wheel."""
    from exporter.demo.postgres import Postgres

    with Postgres(bin_dir=require("postgres18")) as server:
        yield server


@pytest.fixture(scope="session", params=["postgres15", "postgres18"])
def postgres(request: pytest.FixtureRequest) -> "Postgres":
    """Each PostgreSQL in turn."""
    server: Postgres = request.getfixturevalue(request.param)
    return server
