"""A repository that is down: the agent reports it at once, serves its last state, and recovers by itself."""

import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from exporter.demo.simulation import Simulation
from tests.end_to_end.scrapes import Scraper, counters
from tests.support.agent_process import Agent
from tests.support.wait import PATIENCE_SECONDS

Agents = Callable[..., Agent]
REQUESTS = "tableau_http_requests_total"
STARTED = "tableau_exporter_poll_started_timestamp_seconds"
IMPATIENT = {"REPOSITORY__CONNECT_TIMEOUT": "2s", "REPOSITORY__STATEMENT_TIMEOUT": "2s"}


@pytest.fixture
def server(restartable: Simulation) -> Iterator[Simulation]:
    """The repository, running before and after each test."""
    yield restartable
    restartable.postgres.resume()
    restartable.postgres.start()


def is_up(agent: Agent) -> bool:
    """Whether the agent reports that the repository answers."""
    return agent.value("tableau_up", source="repository") == 1


def ready(agent: Agent) -> int:
    """Return the status of /-/ready."""
    return httpx.get(f"{agent.url}/-/ready", timeout=PATIENCE_SECONDS).status_code


def test_a_repository_that_is_down_at_start_is_found_when_it_comes(server: Simulation, agents: Agents) -> None:
    """The agent starts without its repository, reports 0 and is ready, and polls it once it is there."""
    server.postgres.stop()
    agent = agents(server.parameters()).start()
    agent.until(lambda: ready(agent) == httpx.codes.OK, "the first poll was tried")
    # Its rows are rendered a moment later.
    agent.until(lambda: agent.value("tableau_up", source="repository") == 0, "it is down")
    agent.until(lambda: agent.value("tableau_collector_success", collector="http_requests") == 0, "nothing is read")
    assert "The source repository is down" in httpx.get(agent.url, timeout=PATIENCE_SECONDS).text
    server.postgres.start()
    agent.until(lambda: is_up(agent) and agent.total(REQUESTS) > 0, "the repository is polled")


def test_a_poll_that_is_stuck_is_seen_and_logged(server: Simulation, agents: Agents) -> None:
    """While a server answers nothing the poll is in the metrics, and its stacks are in the log; then, that it moves."""
    # The poll waits longer for a connection than the agent lets pass between two renderings.
    settings = {"REPOSITORY__STATEMENT_TIMEOUT": "1s", "REPOSITORY__CONNECT_TIMEOUT": "60s"}
    agent = agents(server.parameters(), **settings)
    agent.module = "tests.support.short_watchdog"
    agent.start()
    agent.until(lambda: is_up(agent), "it is polled")
    server.postgres.pause()
    agent.until(lambda: "a poll is stuck" in agent.logged(), "the watchdog reports it")
    agent.until(lambda: agent.value(STARTED, source="repository") is not None, "the poll is in the metrics")
    line = next(line for line in agent.logged().splitlines() if "a poll is stuck" in line)
    assert "source=repository" in line
    assert "exporter.poller.repository_poller.RepositoryPoller.poll:" in line
    server.postgres.resume()
    agent.until(lambda: "moves again" in agent.logged(), "the watchdog reports that it moves")
    agent.until(lambda: agent.value(STARTED, source="repository") is None, "no poll is under way")
    assert "Traceback" not in agent.logged()


def test_a_repository_that_goes_away_and_comes_back(server: Simulation, agents: Agents) -> None:
    """Every scrape is answered; stale state goes after three intervals, counters stay, and all of it comes back."""
    agent = agents(server.parameters()).start()
    agent.polled()
    assert agent.total("tableau_asset_hours_since_refresh") > 0
    with Scraper(agent) as scraper:
        before = counters(agent.metrics())
        server.postgres.stop()
        agent.until(lambda: not is_up(agent), "the outage is seen")
        assert agent.value("tableau_collector_success", collector="assets") == 0
        states = ("tableau_asset_hours_since_refresh", "tableau_users", "tableau_active_users", "tableau_content")
        agent.until(
            lambda: not {name for name, _ in agent.metrics()} & set(states),
            "what is stale is absent after three intervals",
        )
        after = counters(agent.metrics())
        assert {key: after.get(key) for key in before} == before
        server.postgres.start()
        agent.until(lambda: is_up(agent) and set(states) <= {name for name, _ in agent.metrics()}, "all is back")
    assert scraper.scrapes
    assert (scraper.silent, scraper.fallen) == ([], [])


def test_a_repository_that_hangs(server: Simulation, agents: Agents) -> None:
    """A server that is frozen holds up a poll, never a scrape; after its thaw the polls go on."""
    agent = agents(server.parameters(), **IMPATIENT).start()
    agent.polled()
    with Scraper(agent) as scraper:
        server.postgres.pause()
        agent.until(lambda: not is_up(agent), "the hanging server is given up")
        server.postgres.resume()
        agent.until(lambda: is_up(agent), "the server answers again")
        agent.polled()
    assert (scraper.silent, scraper.fallen) == ([], [])


def test_of_two_hosts_the_one_that_answers_is_used(server: Simulation, agents: Agents) -> None:
    """A host that refuses connections does not keep the agent from the other one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        hosts = f"127.0.0.1:{taken.getsockname()[1]},{server.host}:{server.port}"
        agent = agents(server.parameters(), REPOSITORY__HOSTS=hosts).start()
        agent.until(lambda: is_up(agent), "the second host is found")
        assert f"{server.host}:{server.port}" in httpx.get(agent.url, timeout=PATIENCE_SECONDS).text


def test_counters_are_served_from_the_file_before_the_first_poll(server: Simulation, agents: Agents) -> None:
    """After a restart the history is published while the first poll waits; only then the agent is ready."""
    agent = agents(server.parameters(), REPOSITORY__CONNECT_TIMEOUT="60s").start()
    agent.polled()
    assert agent.stop() == 0
    rows = agent.query("SELECT count(*) FROM http_requests")[0][0]
    server.postgres.pause()
    agent.start()
    agent.until(lambda: agent.total(REQUESTS) == rows, "the counters of the file")
    assert ready(agent) == httpx.codes.SERVICE_UNAVAILABLE
    assert agent.value("tableau_up", source="repository") == 0
    assert agent.value("tableau_history_rows_total", table="http_requests") == rows
    server.postgres.resume()
    agent.until(lambda: ready(agent) == httpx.codes.OK, "the first poll was tried")
    agent.until(lambda: is_up(agent))


def test_counters_survive_a_restart_without_the_repository(server: Simulation, agents: Agents) -> None:
    """With the repository gone for good, a restarted agent publishes the same counters as before."""
    agent = agents(server.parameters()).start()
    agent.polled()
    assert agent.stop() == 0
    server.postgres.stop()
    agent.start()
    agent.until(lambda: ready(agent) == httpx.codes.OK)
    published = agent.total(REQUESTS), agent.total("tableau_history_rows_total")
    assert published[0] == agent.query("SELECT count(*) FROM http_requests")[0][0]
    assert (
        published[1] == agent.query("SELECT sum(value) FROM counters WHERE family = 'tableau_history_rows_total'")[0][0]
    )
