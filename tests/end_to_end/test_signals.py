"""Signals: an orderly end, a reload that is all or nothing, and an end that is not orderly at all."""

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import yaml

from exporter.demo.live_traffic import LiveTraffic
from exporter.demo.simulation import Simulation
from tests.end_to_end.conftest import ask
from tests.end_to_end.scrapes import Scraper, by_labels
from tests.support.agent_process import Agent
from tests.support.wait import PATIENCE_SECONDS

Agents = Callable[..., Agent]
SUCCESSFUL = "tableau_exporter_config_last_reload_successful"
LOADED_AT = "tableau_exporter_config_last_reload_success_timestamp_seconds"
SLA = "tableau_asset_sla_hours"
# The environment has precedence over the file: here the file sets everything.
NOTHING = dict.fromkeys(
    ("REPOSITORY__POLL_INTERVAL", "REPOSITORY__EXACT_INTERVAL", "HISTORY__PATH", "WEB__LISTEN_ADDRESS"), ""
)


class Configured:
    """An agent that reads a configuration file, which a test may change and have reloaded."""

    def __init__(self, agent: Agent, simulation: Simulation, folder: Path) -> None:
        parameters = simulation.parameters()
        self.agent = agent
        self.path = folder / "tableau-exporter.yml"
        self.password_file = folder / "password"
        self.password_file.write_text(f"{parameters['password']}\n")
        self.document: dict[str, Any] = {
            "history": {"path": str(agent.history)},
            "web": {"listen_address": "127.0.0.1:0"},
            "repository": {
                "hosts": [f"{parameters['host']}:{parameters['port']}"],
                "database": parameters["dbname"],
                "user": parameters["user"],
                "password_file": str(self.password_file),
                "sslmode": "disable",
                "poll_interval": "1s",
                "exact_interval": "1s",
            },
        }
        self.write()

    def write(self, **sections: object) -> None:
        """Change sections of the file."""
        self.document |= sections
        self.path.write_text(yaml.safe_dump(self.document))

    def start(self) -> Agent:
        """Start the agent with the file, and wait until it polls."""
        self.agent.start("--config.file", str(self.path))
        self.agent.polled()
        return self.agent

    def hang_up(self) -> None:
        """Have the file reloaded as ``kill -HUP`` does, and wait until that was tried."""
        before = self.tries()
        self.agent.process.send_signal(signal.SIGHUP)
        self.agent.until(lambda: self.tries() > before, "the reload was tried")

    def tries(self) -> int:
        """Return how many reloads are in the log."""
        return self.agent.logged().count("was reloaded") + self.agent.logged().count("was not reloaded")


@pytest.fixture
def configured(repository: Simulation, agents: Agents, tmp_path: Path) -> Configured:
    """An agent on the repository in which nothing happens."""
    return Configured(agents(None, **NOTHING), repository, tmp_path)


def slas(agent: Agent) -> set[tuple[str, float]]:
    """Return every published SLA, as severity and hours."""
    return {
        (severity, hours) for (_, severity), hours in by_labels(agent.metrics(SLA), SLA, "asset_id", "severity").items()
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_agent_in_order(number: int, changing: Simulation, agents: Agents) -> None:
    """The running poll is finished, its rows are archived, the file is closed without a log, and the exit code is 0."""
    agent = agents(changing.parameters(), REPOSITORY__POLL_INTERVAL="300s").start()
    agent.until(lambda: agent.value("tableau_up", source="repository") == 1)
    ask(
        changing,
        "INSERT INTO http_requests (controller, action, created_at, completed_at, status)"
        " VALUES ('signal', 'last', timezone('UTC', now()), timezone('UTC', now()), 200)",
    )
    assert agent.stop(number) == 0
    assert agent.query("SELECT count(*) FROM http_requests WHERE controller = 'signal'") == [(number_of(changing),)]
    assert not list(agent.folder.glob("*.wal"))
    assert "Traceback" not in agent.logged()


def number_of(simulation: Simulation) -> int:
    """Count the last requests that tests of signals have made."""
    return int(ask(simulation, "SELECT count(*) FROM http_requests WHERE controller = 'signal'")[0][0])


def test_a_signal_ends_an_agent_whose_repository_hangs(restartable: Simulation, agents: Agents) -> None:
    """A server that does not answer cannot keep the agent alive."""
    agent = agents(
        restartable.parameters(), REPOSITORY__STATEMENT_TIMEOUT="1s", REPOSITORY__CONNECT_TIMEOUT="2s"
    ).start()
    agent.polled()
    restartable.postgres.pause()
    try:
        assert agent.stop() == 0
    finally:
        restartable.postgres.resume()
    assert agent.query("SELECT count(*) > 0 FROM http_requests") == [(True,)]


def test_a_reload_takes_what_has_changed(configured: Configured) -> None:
    """SLAs and collectors follow the file; the gauges have the reload and its instant."""
    agent = configured.start()
    assert {hours for _, hours in slas(agent)} == {12, 24}
    assert (agent.value(SUCCESSFUL), agent.total("tableau_users") > 0) == (1, True)
    loaded_at = agent.total(LOADED_AT)
    rules = [{"match": {"asset_type": "datasource"}, "warning": "3h", "critical": "6h"}]
    configured.write(freshness={"rules": rules}, collectors={"users": False})
    with Scraper(agent) as scraper:
        configured.hang_up()
        agent.until(lambda: {("warning", 3), ("critical", 6)} <= slas(agent), "the promises follow the rule")
        agent.until(lambda: agent.total(LOADED_AT) > loaded_at)
        assert agent.value(SUCCESSFUL) == 1
        agent.polled()
        names = {name for name, _ in agent.metrics()}
        assert "tableau_users" not in names
        assert agent.value("tableau_collector_success", collector="users") is None
        configured.write(collectors={"users": True})
        assert httpx.post(f"{agent.url}/-/reload", timeout=PATIENCE_SECONDS).status_code == httpx.codes.OK
        agent.until(lambda: agent.total("tableau_users") > 0, "the collector is back")
    assert scraper.silent == []


def test_what_a_limit_dropped_is_still_counted_after_a_reload(configured: Configured) -> None:
    """A limit is in force at once; the count of dropped series outlives it."""
    agent = configured.start()
    configured.write(limits={"series_per_family": 20})
    configured.hang_up()
    agent.until(lambda: len(by_labels(agent.metrics(SLA), SLA, "asset_id", "severity")) == 20, "the limit is in force")
    dropped = agent.value("tableau_series_dropped_total", family=SLA)
    assert dropped
    configured.write(limits={"series_per_family": 200_000})
    configured.hang_up()
    agent.until(lambda: len(by_labels(agent.metrics(SLA), SLA, "asset_id", "severity")) > 20, "the limit is gone")
    assert agent.value("tableau_series_dropped_total", family=SLA) == dropped


def test_counters_do_not_fall_at_a_reload(configured: Configured) -> None:
    """A reload begins nothing anew."""
    agent = configured.start()
    with Scraper(agent) as scraper:
        for _ in range(5):
            configured.hang_up()
        agent.polled(2)
    assert scraper.scrapes
    assert (scraper.fallen, scraper.silent) == ([], [])


def test_a_reload_is_all_or_nothing(configured: Configured) -> None:
    """Any fault leaves the state unchanged; both ways of reloading name every fault, and the gauges report it."""
    agent = configured.start()
    loaded_at = agent.total(LOADED_AT)
    configured.write(freshness={"warning": "1h", "critical": "2h"}, limits={"series_per_family": -1}, histroy={})
    configured.hang_up()
    agent.until(lambda: agent.value(SUCCESSFUL) == 0, "the gauge says that it was not taken")
    assert "histroy" in agent.logged()
    assert "limits.series_per_family" in agent.logged()
    answer = httpx.post(f"{agent.url}/-/reload", timeout=PATIENCE_SECONDS)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert {line.split(":")[0] for line in answer.text.splitlines()} == {"histroy", "limits.series_per_family"}
    agent.polled()
    assert {hours for _, hours in slas(agent)} == {12, 24}
    assert agent.total(LOADED_AT) == loaded_at
    assert "The last configuration reload failed" in httpx.get(agent.url, timeout=PATIENCE_SECONDS).text
    del configured.document["histroy"]
    configured.write(limits={"series_per_family": 100})
    configured.hang_up()
    agent.until(lambda: agent.value(SUCCESSFUL) == 1, "the corrected file is taken")
    agent.until(lambda: {hours for _, hours in slas(agent)} == {1, 2})


def test_what_is_opened_once_cannot_be_reloaded(configured: Configured) -> None:
    """A change that needs a restart is refused in one clear line, with all others of the file."""
    agent = configured.start()
    history = configured.document["history"]
    web = {"listen_address": ":1", "telemetry_path": "/m", "external_url": "https://a/b", "systemd_socket": True}
    configured.write(freshness={"critical": "99h"}, history={"path": f"{history['path']}.new"}, web=web)
    answer = httpx.post(f"{agent.url}/-/reload", timeout=PATIENCE_SECONDS)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    refusal = "cannot change while the agent runs; restart it"
    keys = ("listen_address", "telemetry_path", "route_prefix", "systemd_socket")
    fixed = ("history.path", *(f"web.{key}" for key in keys))
    assert answer.text.splitlines() == [f"{path}: {refusal}" for path in fixed]
    agent.until(lambda: agent.value(SUCCESSFUL) == 0)
    agent.polled()
    assert {hours for _, hours in slas(agent)} == {12, 24}


def test_a_rotated_password_is_picked_up(restartable: Simulation, agents: Agents, tmp_path: Path) -> None:
    """A new password in its file is used without a reload; until then the agent reports the refused one."""
    configured = Configured(agents(None, **NOTHING), restartable, tmp_path)
    agent = configured.start()
    before = restartable.passwords["readonly"]
    try:
        ask(restartable, "ALTER ROLE readonly PASSWORD 'rotated''s new one'")
        agent.until(lambda: agent.value("tableau_up", source="repository") == 0, "the old password is refused")
        assert "authentication failed" in agent.logged()
        configured.password_file.write_text("rotated's new one")
        agent.until(lambda: agent.value("tableau_up", source="repository") == 1, "the new password is taken")
    finally:
        ask(restartable, f"ALTER ROLE readonly PASSWORD '{before}'")
    assert "rotated's" not in agent.logged()


@pytest.fixture
def living(changing: Simulation) -> Iterator[LiveTraffic]:
    """Traffic, for the length of a test."""
    living = changing.live(seed=1)
    yield living
    living.stop()


def test_counters_do_not_fall_when_the_agent_is_killed(
    changing: Simulation, living: LiveTraffic, agents: Agents
) -> None:
    """Killed at any moment and started again, scraped all along: nothing falls, nothing is missed or doubled."""
    agent = agents(changing.parameters()).start()
    moments = random.Random(2)
    highest: dict[Any, float] = {}
    for _ in range(3):
        with Scraper(agent) as scraper:
            agent.until(lambda: agent.total("tableau_http_requests_total") > 0)
            polls = moments.randrange(2)
            agent.polled(polls)
        assert scraper.fallen == []
        for key, value in scraper.highest.items():
            assert value >= highest.get(key, 0), key
            highest[key] = value
        agent.kill()
        agent.start()
    living.stop()
    agent.polled()
    assert agent.stop() == 0
    ((finished,),) = ask(changing, "SELECT count(*) FROM http_requests WHERE completed_at IS NOT NULL")
    assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(finished, finished)]
    (counted,) = agent.query("SELECT sum(value) FROM counters WHERE family = 'tableau_http_requests_total'")
    assert counted == (finished,)


def test_a_reader_of_the_file_at_start_does_not_make_counters_fall(changing: Simulation, agents: Agents) -> None:
    """While another program holds the file, its counts are unknown: absent, not 0."""
    agent = agents(changing.parameters()).start()
    agent.polled()
    assert agent.stop() == 0
    with duckdb.connect(str(agent.history), read_only=True):
        agent.start()
        agent.until(
            lambda: "agent is ready" in httpx.get(f"{agent.url}/-/ready", timeout=PATIENCE_SECONDS).text,
            "the first poll was tried",
        )
        published = {name for name, _ in agent.metrics()}
        assert not published & {"tableau_history_incidents_total", "tableau_history_possibly_lost_requests_total"}
    agent.until(lambda: agent.value("tableau_history_incidents_total", kind="file_busy"), "the wait is counted")
