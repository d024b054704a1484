"""The drill of docs/history.md: the file is lost while the agent works, and a backup of before is put in its place."""

import subprocess
from pathlib import Path

import pytest

from tests.archive.truth import assert_exactly_once
from tests.archive.writer import HostileWriter
from tests.support.agent_process import Agent
from tests.support.program import run
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source


def history(agent: Agent, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of ``history`` on the agent's file, as its owner would."""
    return run("history", *arguments, environment={"PATH": "/usr/bin:/bin", **agent.environment})


@pytest.mark.slow
@pytest.mark.fault(41)
def test_the_drill(source: Source, tmp_path: Path, tally: Tally) -> None:
    """After a backup was put back, all that the source still has is there once, and nothing contradicts itself."""
    source.tell_the_truth()
    backups = tmp_path / "backups"
    backups.mkdir()
    agent = Agent(tmp_path, source.readonly)
    with agent:
        for seed in range(times(1, 10)):
            with HostileWriter(source.parameters, seed):
                agent.polled()
                made = history(agent, "backup", f"--output={backups}", "--keep=2")
                assert made.returncode == 0, made.stdout + made.stderr
                agent.polled()
                _destroy(agent)
                agent.until(lambda: agent.value("tableau_collector_success", collector="http_requests") == 0)
                assert agent.stop() == 0
                _put_back(agent, max(backups.glob("history-*Z.duckdb")))
                agent.start()
                agent.polled()
            agent.polled()
            assert_exactly_once(source, agent)
            verified = history(agent, "verify")
            assert verified.returncode == 0, verified.stdout + verified.stderr
            assert "fault" not in verified.stdout
            assert agent.value("tableau_history_incidents_total", kind="file_busy") == 0
            tally.run()
        assert agent.stop() == 0


def _destroy(agent: Agent) -> None:
    """Overwrite the file, as a broken disk would."""
    with agent.history.open("r+b") as file:
        file.write(b"\xff" * agent.history.stat().st_size)


def _put_back(agent: Agent, backup: Path) -> None:
    """Run the document's commands: no part of the lost file stays."""
    for left in agent.folder.glob("history.duckdb*"):
        if not left.name.endswith(".lock"):
            left.unlink()
    agent.history.write_bytes(backup.read_bytes())


def test_a_prune_beside_the_agent(source: Source, tmp_path: Path) -> None:
    """Rows that a command prunes while the agent runs stay pruned and counted, though the source still has them."""
    source.run(
        "INSERT INTO http_requests (id, created_at, completed_at)"
        " SELECT n, now() AT TIME ZONE 'UTC' - n * interval '1 day', now() FROM generate_series(1, 9) AS n"
    )
    source.run("INSERT INTO http_requests (id, created_at, completed_at) VALUES (10, now() AT TIME ZONE 'UTC', now())")
    with Agent(tmp_path, source.readonly) as agent:
        agent.polled()
        pruned = history(agent, "prune", "--older-than=5d12h", "--compact")
        assert (pruned.returncode, pruned.stderr) == (0, "")
        assert "4 of http_requests" in pruned.stdout
        source.run("VACUUM FULL http_requests")
        agent.polled()
        assert agent.query("SELECT count(*), min(id), max(id) FROM http_requests") == [(6, 1, 10)]
        assert agent.total("tableau_http_requests_total") == 10
        assert agent.value("tableau_history_pruned_rows_total", table="http_requests") == 4
        assert "rewritten" in agent.query("SELECT string_agg(kind, ' ') FROM incidents")[0][0]
        verified = history(agent, "verify")
        assert verified.returncode == 0, verified.stdout
