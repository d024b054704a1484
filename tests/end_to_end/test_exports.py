"""The agent's own exports: beside polls, each row once, whatever ends the agent."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from exporter.demo.live_traffic import LiveTraffic
from exporter.demo.simulation import Simulation
from tests.support.agent_process import Agent

Agents = Callable[..., Agent]
SUCCESS, ROWS, FAILURES = (
    f"tableau_export_{name}" for name in ("last_success_timestamp_seconds", "rows_total", "failures_total")
)


@pytest.fixture
def living(changing: Simulation) -> Iterator[LiveTraffic]:
    """Traffic, for the length of a test."""
    living = changing.live(seed=1)
    yield living
    living.stop()


def labels(format_: str, output: Path | str, table: str = "http_requests") -> dict[str, str]:
    """Return the labels of an export."""
    return {"table": table, "format": format_, "destination": str(output)}


def ids(relation: str) -> list[int]:
    """Return the id of every request that was exported to some files, in order."""
    with duckdb.connect() as connection:
        return [row[0] for row in connection.execute(f"SELECT id FROM {relation} ORDER BY id").fetchall()]


def exporting(agent: Agent) -> bool:
    """Whether an export is under way: a child of the agent runs it."""
    found = b""
    # A thread or a child may end meanwhile.
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{agent.process.pid}/task").glob("*/children"):
            for child in children.read_text().split():
                found += Path(f"/proc/{child}/cmdline").read_bytes()
    return b"export_process" in found


def test_an_agent_exports_while_it_polls(
    changing: Simulation, living: LiveTraffic, agents: Agents, tmp_path: Path
) -> None:
    """Each request is exported once, also where the agent ends during an export; a failing output stops no other."""
    lake, share = tmp_path / "lake", tmp_path / "share"
    entries = [
        {"format": "parquet", "table": "http_requests", "output": str(lake), "every": "1s"},
        {"format": "csv", "table": "http_requests", "output": [str(share), "/dev/null/x"], "every": "1s"},
    ]
    agent = agents(changing.parameters(), EXPORTS=json.dumps(entries)).start()
    well, broken = [labels("parquet", lake), labels("csv", share)], labels("csv", "/dev/null/x")
    agent.until(lambda: all(agent.value(SUCCESS, **each) for each in well), "the first exports")
    agent.until(lambda: (agent.value(FAILURES, **broken) or 0) > 0, "the failure is counted")
    assert agent.value(SUCCESS, **broken) is None
    assert [agent.value(FAILURES, **each) for each in well] == [0, 0]
    before = [agent.value(ROWS, **each) or 0 for each in well]
    agent.polled(2)
    agent.until(lambda: all((agent.value(ROWS, **well[i]) or 0) > before[i] for i in (0, 1)), "what came is exported")
    assert agent.logged().count("an export failed; it is tried again") == 1
    agent.until(lambda: exporting(agent), "an export is under way")
    assert agent.stop() == 0
    assert "Traceback" not in agent.logged()

    agent.start()
    living.stop()
    agent.polled()
    archived = [row[0] for row in agent.query("SELECT id FROM http_requests ORDER BY id")]
    parquet, csv = f"'{lake}/**/*.parquet'", f"'{share}/http_requests.csv'"
    for relation in (parquet, csv):
        agent.until(lambda relation=relation: len(ids(relation)) >= len(archived), relation)  # type: ignore[misc]
    assert agent.value("tableau_history_incidents_total", kind="file_busy") == 0
    assert agent.stop() == 0
    assert ids(parquet) == archived
    assert ids(csv) == archived
    assert [path.stat().st_mode & 0o777 for path in (share, share / "http_requests.csv")] == [0o750, 0o640]
