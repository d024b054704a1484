"""The first archive of a large table, again and again, while others read the file and the configuration is reloaded."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.poller.archiver import TRANSACTION_ROWS
from tests.end_to_end.conftest import ask
from tests.support.agent_process import Agent
from tests.support.soak import times

RUNS = times(3, 250)
# One whole transaction, and a few rows for the next.
ROWS = TRANSACTION_ROWS + 1_500
RELOADS = 3
# Longer than an archive may take beside much else on the machine: only an archive that never ends exceeds it.
PATIENCE_SECONDS = 300.0
MOST_SECONDS_BETWEEN_RELOADS = 1.0
# Opens the file at random moments, as its owner may: it holds it for as long as a query takes.
READER = """
import duckdb, random, sys, time
moments = random.Random(int(sys.argv[2]))
while True:
    time.sleep(moments.uniform(0.0, 0.2))
    try:
        with duckdb.connect(sys.argv[1], read_only=True) as connection:
            connection.execute("SELECT count(*) FROM http_requests").fetchall()
    except duckdb.Error:
        pass
"""


@pytest.fixture(scope="module")
def large(postgres18: Postgres) -> Iterator[Simulation]:
    """A small company with more requests than one transaction archives."""
    simulation = Simulation(postgres=postgres18, database="first_archive", scale=SMALL, days=31, requests_per_day=80)
    with simulation:
        columns = ", ".join(
            f'"{name}"'
            for (name,) in ask(
                simulation,
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'http_requests' AND column_name <> 'id'",
            )
        )
        finished = "SELECT * FROM http_requests WHERE completed_at IS NOT NULL"
        ask(
            simulation,
            f"INSERT INTO http_requests ({columns}) SELECT {columns} FROM ({finished}) AS finished,"
            f" generate_series(1, {ROWS}) LIMIT {ROWS}",
        )
        yield simulation


@pytest.fixture(scope="module")
def tableau(large: Simulation) -> Iterator[TableauServer]:
    """The same company's REST API: its poller writes into the same file."""
    with TableauServer(Estate.of(large.company)) as server:
        yield server


@contextmanager
def reader(history: Path, seed: int) -> Iterator[None]:
    """Open the file at random moments, from another process, for the length of the block."""
    process = subprocess.Popen([sys.executable, "-c", READER, str(history), str(seed)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def archive(agent: Agent, finished: int, moments: random.Random) -> None:
    """Have an agent archive everything from the start while it is disturbed, and see it poll on afterwards."""
    agent.patience_seconds = PATIENCE_SECONDS
    agent.start()
    with reader(agent.history, moments.randrange(1_000_000)):
        for _ in range(RELOADS):
            time.sleep(moments.uniform(0.0, MOST_SECONDS_BETWEEN_RELOADS))
            agent.process.send_signal(signal.SIGHUP)
        agent.until(lambda: agent.value("tableau_history_rows_total", table="http_requests") == finished, "all of it")
        agent.polled_somehow()
    assert agent.stop() == 0
    assert "a poll is stuck" not in agent.logged()
    assert agent.query("SELECT count(*), count(DISTINCT id) FROM http_requests") == [(finished, finished)]


@pytest.mark.parametrize("seed", range(times(1, 2)))
@pytest.mark.timeout(4 * 3600)
def test_a_first_archive_is_finished_whatever_disturbs_it(
    seed: int, large: Simulation, tableau: TableauServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of the file and reloads delay the first archive; none of them stops it, or the polls after it."""
    # An agent that is stuck logs where each thread stands when it is aborted.
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    (name, value), *_ = TOKENS.items()
    rest = {
        "REST__URL": tableau.url,
        "REST__TOKEN_NAME": name,
        "REST__TOKEN_VALUE": value,
        "REST__POLL_INTERVAL": "60s",
    }
    ((finished,),) = ask(large, "SELECT count(*) FROM http_requests WHERE completed_at IS NOT NULL")
    moments = random.Random(seed)
    failures: dict[str, str] = {}
    for run in range(RUNS):
        folder = tmp_path / f"run{run}"
        folder.mkdir()
        agent = Agent(folder, large.parameters(), **rest)
        try:
            archive(agent, finished, moments)
        except Exception as failure:  # noqa: BLE001 - the other runs go on
            failures[folder.name] = str(failure)
            agent.process.send_signal(signal.SIGABRT)
            agent.process.wait()
        else:
            shutil.rmtree(folder)
    print(f"{RUNS} first archives of {finished} requests: {len(failures)} failed")  # noqa: T201 - what a long run is for
    assert failures == {}
