"""Every committed request is archived exactly once, whatever the writer does and however often the agent is killed."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from exporter.demo.postgres import Postgres
from tests.archive.truth import assert_exactly_once
from tests.archive.writer import HostileWriter
from tests.support.agent_process import Agent
from tests.support.soak import times
from tests.support.source import Source

# ARCHIVE_SECONDS=1800 writes for half an hour.
SECONDS = float(os.environ.get("ARCHIVE_SECONDS", times(12, 20)))
SEED = 4


@dataclass(frozen=True)
class Course:
    """One course of the test: which server, how the agent reads it, and how often it is killed."""

    server: str
    exact_interval: str
    seconds: float
    kills: int


COURSES = (
    Course("postgres15", "1s", SECONDS, 10),
    # The table is made large: it is read fast, by id, between the exact readings.
    Course("postgres18", "5s", SECONDS * 0.75, 5),
)


@pytest.fixture(params=COURSES, ids=lambda course: course.server)
def course(request: pytest.FixtureRequest) -> Course:
    """Each course in turn."""
    chosen: Course = request.param
    return chosen


@pytest.fixture
def postgres(request: pytest.FixtureRequest, course: Course) -> Postgres:
    """The server of the course."""
    server: Postgres = request.getfixturevalue(course.server)
    return server


@pytest.mark.fault(1, 2, 3, 5, 7, 8, 9, 14)
@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * SECONDS)
def test_a_hostile_writer_and_random_kills(
    source: Source, tmp_path: Path, course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is missed or doubled and the counters are true, however hostile the writer and whenever the kill."""
    if course.exact_interval != "1s":
        source.make_large()
    source.tell_the_truth()
    chance = Random(SEED)
    agent = Agent(tmp_path, source.readonly, REPOSITORY__EXACT_INTERVAL=course.exact_interval)
    end = time.monotonic() + course.seconds
    kills = 0
    with agent, HostileWriter(source.parameters, SEED) as writer:
        while time.monotonic() < end or kills < course.kills:
            # Half of the lives end about when the first poll writes.
            time.sleep(chance.choice((chance.uniform(0.0, 0.5), chance.uniform(0.0, 5.0))))
            if kills < course.kills or chance.random() < 0.1:
                agent.kill()
                kills += 1
                agent.start()
            if kills % 2:
                writer.delete(_archived(agent, chance))
    with agent:
        agent.polled()
        figures = assert_exactly_once(source, agent)
        modes = dict(agent.query("SELECT mode, count(*) FROM poll_log WHERE source = 'http_requests' GROUP BY mode"))
        with capsys.disabled():
            print(f"\n{course.server}: {figures}; {kills} kills, polls {modes}")  # noqa: T201
        assert "internal error" not in agent.logged()
        assert agent.stop() == 0


def _archived(agent: Agent, chance: Random) -> list[int]:
    """Choose requests that are in the history for good, as an old cleanup would."""
    if not agent.history.exists():
        return []
    ids = [number for (number,) in agent.query("SELECT id FROM http_requests WHERE completed_at IS NOT NULL")]
    return chance.sample(ids, len(ids) // 4)
