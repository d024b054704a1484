"""Fixtures of all tests, their order, and the option that writes the table of faults."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from exporter.demo.postgres import Postgres
from tests.support.hyper_server import hyper_server, one_hyperd
from tests.support.postgres import postgres, postgres15, postgres18, restartable_server
from tests.support.reliability import Reliability, Tally

# Files that take longest, the longest first: begun last, one of them would go on alone while other workers have ended.
LONGEST = (
    "demo/test_command.py",
    "end_to_end/test_canaries.py",
    "test_container.py",
    "poller/test_rest_poller.py",
    "poller/test_supplements.py",
    "poller/test_insights_poller.py",
    "end_to_end/test_versions.py",
    "history/test_sandbox.py",
    "history/test_freshness_audit.py",
    "end_to_end/test_views_only.py",
    "end_to_end/test_signals.py",
    "history/test_importing.py",
    "end_to_end/test_one_line.py",
    "rest/test_simulated.py",
    "alerting/test_evaluator.py",
    "archive/test_source_incidents.py",
    "web/test_layout.py",
    "test_backfill.py",
    "end_to_end/test_outages.py",
    "chaos/test_fault_sequences.py",
    "history/test_redaction.py",
    "web/test_in_chromium.py",
    "end_to_end/test_values.py",
    "chaos/test_alertmanager_outages.py",
    "archive/test_damage.py",
    "rest/test_client.py",
    "archive/test_sharing.py",
    "archive/test_clock.py",
    "end_to_end/test_cloud.py",
    "archive/test_recovery.py",
)

__all__ = ["hyper_server", "one_hyperd", "postgres", "postgres15", "postgres18", "restartable_server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the table of faults."""
    parser.addoption("--reliability", metavar="DOCUMENT", help="write the table of faults into this document")


def pytest_configure(config: pytest.Config) -> None:
    """Collect the counts of the tests of faults, where requested."""
    if document := config.getoption("--reliability"):
        if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
            raise pytest.UsageError("--reliability counts in one process: leave out -n")
        config.pluginmanager.register(Reliability(Path(document)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; Makefile's --no-loadscope-reorder keeps the order for the workers."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONGEST)}
    if missing := [str(path) for path in places if not path.exists()]:
        raise pytest.UsageError(f"LONGEST of tests/conftest.py names what is not there: {', '.join(missing)}")
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture
def tally() -> Tally:
    """Count how often a test drives its fault, and the rows it loses or doubles."""
    return Tally()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[dict[str, str | int]]:
    """Connection parameters of the superuser to a database that is new and empty, and gone afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(make_conninfo("", **postgres.admin()), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    yield postgres.admin(name)
    if postgres.running:
        with psycopg.connect(make_conninfo("", **postgres.admin()), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
