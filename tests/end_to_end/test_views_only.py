"""The user ``tableau``, who may read the underscore views alone: all their columns are collected."""

from collections.abc import Iterator

import pytest

from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.demo.workgroup import VERSIONS
from tests.end_to_end.conftest import ask
from tests.end_to_end.scrapes import by_labels, check, missing
from tests.support.agent_process import Agent


@pytest.fixture(scope="module", params=[VERSIONS[0], VERSIONS[-1]])
def simulation(request: pytest.FixtureRequest, postgres15: Postgres) -> Iterator[Simulation]:
    """A small company in the oldest and in the newest schema."""
    version = str(request.param)
    database = f"views_{version.replace('.', '_')}"
    with Simulation(
        postgres=postgres15, database=database, version=version, scale=SMALL, days=1, requests_per_day=300
    ) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def agent(simulation: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent that has polled as that user."""
    with Agent(tmp_path_factory.mktemp("tableau"), simulation.parameters("tableau")) as agent:
        agent.polled()
        yield agent


def test_what_the_views_tell_is_collected(agent: Agent) -> None:
    """Requests, users and jobs can be read; a collector that cannot work names the missing column."""
    success = by_labels(agent.metrics("tableau_collector_success"), "tableau_collector_success", "collector")
    assert {name for (name,), worked in success.items() if worked} >= {
        "active_users",
        "background_jobs",
        "http_requests",
        "users",
    }
    found = check(agent)
    assert found.returncode == 1
    for (name,), worked in success.items():
        (line,) = [line for line in found.stdout.splitlines() if f"collector {name}:" in line]
        assert line.startswith("fault") == (not worked), line
    assert "_workbooks.data_engine_extracts" in found.stdout
    assert "http_requests (reads _http_requests instead, which has no ids" in found.stdout
    assert "GRANT SELECT ON http_requests TO tableau" in found.stdout


def test_logins_are_collected(agent: Agent) -> None:
    """The view of users has the latest login of each."""
    assert agent.value("tableau_collector_success", collector="logins") == 1


def test_no_label_is_an_error_text(agent: Agent) -> None:
    """A missing column or table is named, not explained: ``table.column``, or ``table``."""
    names = {column for columns in missing(agent).values() for column in columns}
    assert {name for name in names if not name.replace(".", "").replace("_", "").isalnum()} == set()


def test_requests_are_archived_once(simulation: Simulation, agent: Agent) -> None:
    """Over polls and completions each request stands once, open before and final after its completion."""
    total = "SELECT count(*) FROM http_requests"
    finished = f"{total} WHERE completed_at IS NOT NULL"
    assert agent.query(total) == ask(simulation, finished)
    ((waiting,),) = ask(simulation, f"{total} WHERE completed_at IS NULL")
    assert agent.query("SELECT count(*) FROM http_requests_open") == [(waiting,)]
    completed = "UPDATE http_requests SET completed_at = created_at + interval '1 second', status = 200"
    ask(simulation, f"{completed} WHERE completed_at IS NULL AND id % 2 = 0")
    agent.polled(2)
    assert agent.query(total) == ask(simulation, finished)
    ask(simulation, f"{completed} WHERE completed_at IS NULL")
    agent.polled(2)
    assert agent.query(total) == ask(simulation, finished) == ask(simulation, total)
    assert agent.total("tableau_http_requests_total") == agent.query(total)[0][0]
    assert agent.query("SELECT count(*) FROM http_requests_open") == [(0,)]
