"""Many commits a second for a long time: nothing is missed, nothing doubled, and the agent grows no larger."""

import os
import time
from pathlib import Path

import pytest

from tests.archive.load import Load
from tests.archive.truth import assert_many_exactly_once
from tests.archive.writer import HostileWriter
from tests.support.agent_process import Agent
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source

# ARCHIVE_SECONDS=1800 writes for half an hour, as make soak does.
SECONDS = float(os.environ.get("ARCHIVE_SECONDS", times(12, 1800)))
COMMITS_A_SECOND = 500
SEED = 5
# Growth allowed in the second half: buffers of DuckDB, and the labels and users of that half.
GROWTH_MB = 48.0
CLEANUP_SECONDS = 90.0


@pytest.mark.slow
@pytest.mark.fault(1, 2, 3, 5, 7, 9)
@pytest.mark.timeout(300 + 3 * SECONDS)
def test_five_hundred_commits_a_second(
    source: Source, tmp_path: Path, tally: Tally, capsys: pytest.CaptureFixture[str]
) -> None:
    """However many sessions commit without a pause, each request is archived once; the agent's memory stays flat."""
    source.tell_the_truth()
    halves: tuple[list[float], list[float]] = ([], [])
    with (
        Agent(tmp_path, source.readonly, REPOSITORY__EXACT_INTERVAL="5s") as agent,
        HostileWriter(source.parameters, SEED, sessions=4),
        Load(source.parameters, SEED, COMMITS_A_SECOND) as load,
    ):
        # The memory of the start is no growth.
        agent.polled()
        began = time.monotonic()
        cleaned_at = began
        while (passed := time.monotonic() - began) < SECONDS:
            halves[passed > SECONDS / 2].append(_resident_mb(agent))
            if time.monotonic() - cleaned_at > CLEANUP_SECONDS:
                _clean_up(source, agent)
                cleaned_at = time.monotonic()
            time.sleep(0.25)
    with agent:
        agent.polled()
        figures = assert_many_exactly_once(source, agent, tmp_path / "truth.csv", tally)
        first, second = max(halves[0]), max(halves[1])
        with capsys.disabled():
            print(  # noqa: T201
                f"\n{load.commits} commits, {load.rate:.0f} a second; {figures};"
                f" the agent took {first:.0f} MB in the first half, {second:.0f} MB in the second"
            )
        assert second - first < GROWTH_MB
        assert "internal error" not in agent.logged()
        assert agent.stop() == 0


def _resident_mb(agent: Agent) -> float:
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _clean_up(source: Source, agent: Agent) -> None:
    """Remove final requests older than an exact read: they are archived, or the agent has lost them."""
    source.run("CREATE TEMP TABLE doomed AS SELECT id FROM http_requests WHERE completed_at IS NOT NULL")
    agent.polled()
    source.run("DELETE FROM http_requests USING doomed WHERE doomed.id = http_requests.id")
    source.run("DROP TABLE doomed")
