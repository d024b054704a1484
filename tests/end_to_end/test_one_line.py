"""One outage is one line of the log and one problem of the status page, with any number of collectors."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest

from exporter.demo import processes
from exporter.demo.postgres import HOST
from exporter.demo.simulation import Simulation
from exporter.demo.tableau.server import TOKENS
from tests.end_to_end.conftest import ask
from tests.support.agent_process import Agent
from tests.support.wait import PATIENCE_SECONDS

Agents = Callable[..., Agent]
NAME, VALUE = next(iter(TOKENS.items()))
SERVED = ["--workbooks=5", "--datasources=5", "--jobs=5", "--people=3", "--sites=1"]
# How long a poll takes is this machine's doing.
SLOW = "a poll lasts longer than rest.poll_interval"
EVERY_TABLE = "SELECT ON ALL TABLES IN SCHEMA public"


class Tableau:
    """The simulated REST API in a process of its own, which can be killed and started again at the same port."""

    def __init__(self) -> None:
        self.port = processes.free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers; harmless while it runs."""
        if self._process is None:
            command = [sys.executable, "-m", "exporter.demo.tableau", *SERVED, f"--port={self.port}"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._process.stdout
            assert self._process.stdout.readline()

    def stop(self) -> None:
        """Kill it; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def tableau() -> Iterator[Tableau]:
    """Return the REST API."""
    served = Tableau()
    yield served
    served.stop()


@pytest.fixture
def agent(restartable: Simulation, tableau: Tableau, agents: Agents) -> Iterator[Agent]:
    """Return an agent that polls both sources, which answer before and after each test."""
    tableau.start()
    rest = {"REST__URL": tableau.url, "REST__TOKEN_NAME": NAME, "REST__TOKEN_VALUE": VALUE, "REST__POLL_INTERVAL": "1s"}
    agent = agents(restartable.parameters(), **rest, COLLECTORS__VIEWS="true", LOG__LEVEL="debug").start()
    agent.until(lambda: httpx.get(f"{agent.url}/-/ready").status_code == httpx.codes.OK, "the first polls have ended")
    assert (ups(agent), failed(agent)) == ({"repository": 1, "rest": 1}, set())
    yield agent
    restartable.postgres.start()
    tableau.start()


def ups(agent: Agent) -> dict[str, float]:
    """Return which sources answer."""
    return {dict(labels)["source"]: value for (_, labels), value in agent.metrics("tableau_up").items()}


def failed(agent: Agent) -> set[str]:
    """Return the collectors that failed."""
    samples = agent.metrics("tableau_collector_success").items()
    return {dict(labels)["collector"] for (_, labels), value in samples if not value}


def problems(agent: Agent) -> list[str]:
    """Return the problems on the status page."""
    page = httpx.get(agent.url, timeout=PATIENCE_SECONDS).text
    verdict = page.partition('aria-label="The agent"')[2].partition("</section>")[0]
    return re.findall("<li>(.*?)</li>", verdict)


def logged(agent: Agent, after: str, *levels: str) -> list[str]:
    """Return the lines of some levels that came after those logged before."""
    lines = agent.logged().removeprefix(after).splitlines()
    return [line for line in lines if any(f" level={level} " in line for level in levels) and SLOW not in line]


def silent_again(agent: Agent, after: str, source: str) -> bool:
    """Whether later polls of a source failed as well: these are for debugging."""
    return sum(source in line and "is down" in line for line in logged(agent, after, "debug")) >= 2


NAMES = {"repository": "the repository", "rest": "the REST API"}


@pytest.mark.parametrize("down", [("repository",), ("rest",), ("repository", "rest")], ids="-".join)
def test_sources_that_are_stopped(
    agent: Agent, restartable: Simulation, tableau: Tableau, down: tuple[str, ...]
) -> None:
    """A source that is stopped is a line and a problem, and a line when it answers again; its collectors are none."""
    before = agent.logged()
    if "repository" in down:
        restartable.postgres.stop()
    if "rest" in down:
        tableau.stop()
    for source in down:
        agent.until(partial(silent_again, agent, before, NAMES[source]), "it is polled in vain")
    assert {source for source, up in ups(agent).items() if not up} == set(down)
    assert failed(agent) >= ({"assets"} if down == ("rest",) else {"assets", "users", "http_requests", "active_users"})
    assert problems(agent) == [f"The source {source} is down" for source in down]
    lines = logged(agent, before, "warning", "error")
    assert sorted(re.findall('msg="(.*?) is down"', "\n".join(lines))) == sorted(NAMES[one] for one in down)
    assert len(lines) == len(down), lines
    outage = agent.logged()
    restartable.postgres.start()
    tableau.start()
    agent.until(lambda: failed(agent) == set() and problems(agent) == [], "all is well again")
    # A poll that begins while the REST API starts may find the list of sites unreachable, and the other lists not.
    assert [line for line in logged(agent, outage, "warning", "error") if "sites as last listed" not in line] == []
    for source in down:
        assert sum(f'msg="{NAMES[source]} is up"' in line for line in logged(agent, outage, "info")) == 1
    assert "collectors recovered" not in agent.logged()


def test_rights_that_are_lost_for_all(agent: Agent, restartable: Simulation) -> None:
    """A user who may read nothing any more is one line with the GRANT, and one problem."""
    before = agent.logged()
    ask(restartable, f"REVOKE {EVERY_TABLE} FROM readonly")
    try:
        agent.until(lambda: silent_again(agent, before, NAMES["repository"]), "it is polled in vain")
        assert problems(agent) == ["The source repository is down"]
        lines = logged(agent, before, "warning", "error")
        assert len(lines) == 1, lines
        assert "GRANT SELECT ON ALL TABLES" in lines[0]
    finally:
        ask(restartable, f"GRANT {EVERY_TABLE} TO readonly")
    agent.until(lambda: failed(agent) == set() and problems(agent) == [], "all is well again")
    assert "collectors recovered" not in agent.logged()
