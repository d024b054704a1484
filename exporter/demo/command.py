"""``tableau-exporter demo``: a simulated Tableau with live traffic, and the real agent on it."""

import math
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from exporter import app, collectors, logs
from exporter.config import RunOptions
from exporter.demo import fast_rules, scenario
from exporter.demo.alerting import Alerting
from exporter.demo.banner import banner
from exporter.demo.postgres import HOST
from exporter.demo.scenario import write_configuration
from exporter.errors import DemoError

WAKE_SECONDS = 0.5


def run(seconds: float | None, port: int, *, keep: bool, cloud: bool, alerts: bool) -> int:
    """Run the demo for some seconds, or until Ctrl-C; ``keep`` leaves its folder behind. Raises DemoError."""
    check_port(port)
    folder = Path(tempfile.mkdtemp(prefix="tableau-exporter-demo-"))
    ended = threading.Event()
    with _signals(ended):
        try:
            if not cloud:
                print("starting PostgreSQL and filling it with 30 days of requests ...", flush=True)  # noqa: T201
            with (
                _recorded(folder / "agent.log") as configure_logs,
                scenario.cloud() if cloud else scenario.server() as found,
                Alerting(folder, ended, found.fix) if alerts else nullcontext() as alerting,
            ):
                _watch(found, folder, port, ended, seconds, alerting, configure_logs)
        finally:
            if keep:
                print(f"kept: {folder}", flush=True)  # noqa: T201
            else:
                shutil.rmtree(folder, ignore_errors=True)
    return 0


def check_port(port: int) -> None:
    """Raise DemoError where the agent could not listen: that is known before all the rest is built."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        message = (
            f"cannot listen on {HOST}:{port}: {error.strerror}; choose another port with --port, or 0 for any free one"
        )
        raise DemoError(message) from None


def _watch(
    found: scenario.Simulated,
    folder: Path,
    port: int,
    ended: threading.Event,
    seconds: float | None,
    alerting: Alerting | None,
    configure_logs: logs.Configure,
) -> None:
    notified = alerting.alertmanager if alerting else None
    alertmanagers = [f"http://{notified.address}"] if notified else []
    configuration = write_configuration(found, folder, port, scenario.AGENT, alertmanagers)
    options = RunOptions(configuration, config_file_explicit=True)
    loaded = options.load(collectors.discover())
    redactor = configure_logs(loaded.log.level, loaded.log.format)
    agent = app.Agent(options, loaded, redactor, fast_rules.tempo(), configure_logs)
    agent.start()
    try:
        if alerting:
            alerting.scrape(agent.port)
        text = banner(
            cloud=found.repository is None,
            people=len(found.company.tables["system_users"]),
            port=agent.port,
            tableau=found.tableau.url,
            history=folder / "history.duckdb",
            audit=write_configuration(found, folder, port, scenario.VISITOR),
            alerts=alerting.pages() if alerting else None,
        )
        print(text, flush=True)  # noqa: T201
        until = math.inf if seconds is None else time.monotonic() + seconds
        # A signal that reaches another thread does not wake this one, so it wakes by itself.
        while not ended.is_set() and time.monotonic() < until:
            for line in alerting.news() if alerting else ():
                print(line, flush=True)  # noqa: T201
            ended.wait(min(WAKE_SECONDS, until - time.monotonic()))
    finally:
        agent.stop()


@contextmanager
def _recorded(path: Path) -> Iterator[logs.Configure]:
    """Keep the agent's log in a file, over a reload too.

    The terminal has errors alone: what it would warn of, a plain connection to this very machine, is the demo's doing.
    """
    with path.open("w", encoding="utf-8") as record:
        try:
            yield lambda _, log_format: logs.configure("error", log_format, record=record)
        finally:
            logs.configure("error")  # a late event is not written into a closed file


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
