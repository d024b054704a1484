"""``tableau-exporter demo``: a simulated Tableau with living traffic, and the real agent on it."""

import math
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import yaml

from exporter import app, collectors, logs
from exporter.config import RunOptions
from exporter.demo.simulation import Simulation

WAKE_SECONDS = 0.5

GUIDE = """
tableau-exporter demo: a simulated Tableau Server of {people} people, and the real agent watching it

  status page   http://127.0.0.1:{port}/
  metrics       http://127.0.0.1:{port}/metrics
  history       {history}

Look at:
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_active_users'
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_asset_hours_since_refresh' | sort -k2 -n -t'}}' | tail
  {python} -c "import duckdb; print(duckdb.connect('{history}', read_only=True).sql('FROM usage LIMIT 5'))"

Requests arrive and extracts are refreshed while you look. Ctrl-C ends it and cleans up.
"""


def run(seconds: float | None, keep: bool, port: int) -> int:  # noqa: FBT001 - called with the command's own words
    """Run the demo for some seconds, or until Ctrl-C; ``keep`` leaves its folder behind."""
    folder = Path(tempfile.mkdtemp(prefix="tableau-exporter-demo-"))
    ended = threading.Event()
    with _signals(ended):
        try:
            print("starting PostgreSQL and filling it with 30 days of requests ...", flush=True)  # noqa: T201
            with Simulation() as simulation:
                living = simulation.live()
                try:
                    _watch(simulation, folder, port, ended, seconds)
                finally:
                    living.stop()
        finally:
            if keep:
                print(f"kept: {folder}", flush=True)  # noqa: T201
            else:
                shutil.rmtree(folder, ignore_errors=True)
    return 0


def _watch(simulation: Simulation, folder: Path, port: int, ended: threading.Event, seconds: float | None) -> None:
    history = folder / "history.duckdb"
    options = RunOptions(_configured(simulation, folder, history, port), config_file_explicit=True)
    # What it would warn of, a plain connection to this very machine, is the demo's own doing.
    agent = app.Agent(options, options.load(collectors.discover()), logs.configure("error", "logfmt"))
    agent.start()
    try:
        people = len(simulation.company.tables["system_users"])
        guide = GUIDE.format(people=people, port=agent.port, history=history, python=sys.executable)
        print(guide, flush=True)  # noqa: T201
        until = math.inf if seconds is None else time.monotonic() + seconds
        # A signal that reaches another thread does not wake this one, so it wakes by itself.
        while not ended.is_set() and time.monotonic() < until:
            ended.wait(min(WAKE_SECONDS, until - time.monotonic()))
    finally:
        agent.stop()


def _configured(simulation: Simulation, folder: Path, history: Path, port: int) -> Path:
    """Write the agent's configuration into the demo's folder, where it can be read."""
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(simulation.passwords["readonly"])
    configuration = {
        "repository": {
            "hosts": [f"{simulation.host}:{simulation.port}"],
            "database": simulation.database,
            "password_file": str(password),
            "sslmode": "disable",
            "poll_interval": "5s",
            "exact_interval": "30s",
        },
        "history": {"path": str(history)},
        "collectors": {"views": True},
        "web": {"listen_address": f"127.0.0.1:{port}"},
    }
    path = folder / "tableau-exporter.yml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False))
    return path


@contextmanager
def _signals(ended: threading.Event) -> Iterator[None]:
    """End in order at Ctrl-C and SIGTERM, also while the demo is still being built."""

    def end(_number: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
