"""An attack from all sides while requests are archived: nothing is lost, scrapes are answered, little is logged."""

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import bcrypt
import httpx
import pytest

from tests.archive.load import Load
from tests.archive.truth import assert_many_exactly_once
from tests.support.agent_process import Agent
from tests.support.reliability import Tally
from tests.support.soak import LONG, times
from tests.support.source import Source
from tests.support.wait import PATIENCE_SECONDS

# ATTACK_SECONDS=600 attacks for ten minutes, as make soak does.
SECONDS = float(os.environ.get("ATTACK_SECONDS", times(10, 600)))
IDLE = times(1_000, 5_000)
# One commit in six completes a request of before: these are 500 rows a second.
COMMITS_A_SECOND = 600
SEED = 13
SCRAPE_SECONDS = 0.25
P99_SECONDS = 1.0
LOG_BYTES = 1_000_000
# A quarter of MemoryMax in the systemd unit.
MEMORY_MB = 512
USER = ("prometheus", "right")


class Prometheus:
    """Scrapes as Prometheus does, each over a new connection; a scrape without an answer counts as endless."""

    def __init__(self, agent: Agent) -> None:
        self.seconds: list[float] = []
        self.statuses: set[int] = set()
        self.resident_mb: list[float] = []
        self._agent = agent
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    @property
    def p99(self) -> float:
        """The p99 of the scrapes, in seconds."""
        return sorted(self.seconds)[math.ceil(0.99 * len(self.seconds)) - 1]

    @property
    def figures(self) -> str:
        """Check the agent under a long attack."""
        failed = self.seconds.count(math.inf)
        return (
            f"{len(self.seconds)} scrapes, {failed} without an answer, p99 {self.p99:.3f} s,"
            f" longest {max(self.seconds):.3f} s; the agent took {max(self.resident_mb):.0f} MB"
        )

    def _run(self) -> None:
        # Once at least: on a machine that has much else to do a scrape may outlast a short attack.
        while not self._stopping.wait(SCRAPE_SECONDS) or not self.statuses:
            self.resident_mb.append(resident_mb(self._agent))
            self.seconds.append(self._scrape())

    def _scrape(self) -> float:
        began = time.monotonic()
        try:
            answer = httpx.get(f"{self._agent.url}/metrics", auth=self._agent.user, timeout=PATIENCE_SECONDS)
        except httpx.TransportError:
            return math.inf
        self.statuses.add(answer.status_code)
        return time.monotonic() - began


class Attack:
    """The attackers' process; ``counts`` has, in the end, the number of each attack."""

    def __init__(self, agent: Agent) -> None:
        port = httpx.URL(agent.url).port
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.archive.attackers", str(port), str(IDLE)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        assert self._process.stdout
        assert self._process.stdout.readline() == "attacking\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.counts = json.loads(self._process.communicate()[0])


@pytest.fixture
def agent(source: Source, tmp_path: Path) -> Agent:
    """An agent with a user, whose hash is as dear as htpasswd's documentation has it."""
    web = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(USER[1].encode(), bcrypt.gensalt(10)).decode()
    web.write_text(f"basic_auth_users: {{{USER[0]}: {hashed}}}")
    made = Agent(tmp_path, source.readonly, REPOSITORY__EXACT_INTERVAL="5s", WEB__CONFIG_FILE=str(web))
    made.user = USER
    return made


@pytest.mark.attack("everything")
@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * SECONDS)
def test_an_attack_from_all_sides(
    source: Source, agent: Agent, tmp_path: Path, tally: Tally, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under idle connections, guesses and malformed requests all rows are archived once and each scrape is answered."""
    source.tell_the_truth()
    with agent:
        agent.polled()
        with (
            Load(source.parameters, SEED, COMMITS_A_SECOND) as load,
            Attack(agent) as attack,
            Prometheus(agent) as prometheus,
        ):
            time.sleep(SECONDS)
        logged = agent.log.stat().st_size
        agent.polled()
        figures = assert_many_exactly_once(source, agent, tmp_path / "truth.csv", tally)
        with capsys.disabled():
            print(  # noqa: T201
                f"\n{SECONDS:.0f} s: {attack.counts}; {load.commits} commits, {load.rate:.0f} a second; {figures};"
                f" {prometheus.figures}; {logged} bytes of log"
            )
        assert prometheus.statuses == {httpx.codes.OK}
        assert logged < LOG_BYTES
        assert max(prometheus.resident_mb) < MEMORY_MB
        assert attack.counts["idle connections"] > IDLE
        assert {"malformed requests", "guesses that left"} <= attack.counts.keys()
        if LONG:
            assert prometheus.p99 <= P99_SECONDS
        assert agent.stop() == 0


def resident_mb(agent: Agent) -> float:
    """Return how much memory the agent has now."""
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
