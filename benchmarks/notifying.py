"""What direct notifications cost an agent with many assets, in a process of its own: prints one JSON object.

The clock is injected: it looks every 15 seconds for 10 minutes, of which alerts fire for five. Three Alertmanagers that
only take what they are told run in another process.
"""

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from benchmarks import rest
from exporter.alerting.alertmanager import Alertmanager
from exporter.alerting.alertmanager import AlertmanagerOptions as Way
from exporter.alerting.batches import Sent, batches
from exporter.alerting.evaluator import EVALUATION_SECONDS, EvaluationContext, NotificationOptions, RuleManager
from exporter.alerting.notification import Notification
from exporter.collectors import discover
from exporter.exposition.state_store import StateStore
from exporter.freshness import SlaLookup, Tiers
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.poller.context import PollContext
from exporter.poller.merged_state import merged_states
from exporter.poller.rest_poller import RestPoller
from exporter.rest.client import RestClient
from exporter.rest.credentials import RestOptions, Token

RECEIVERS, LOOKS, A_MINUTE = 3, 40, 4
ALERTS_PATH = "/api/v2/alerts"


class Overheard:
    """An Alertmanager, and what it was told as long as somebody listens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.listening = False
        self.alerts: list[Notification] = []
        self._receiver = Alertmanager(Way(url))

    def send(self, alerts: Sequence[Notification]) -> Sent:
        """Tell it."""
        sent = self._receiver.send(alerts)
        if self.listening:
            self.alerts += sent.accepted
        return sent

    def close(self) -> None:
        """End what is open."""
        self._receiver.close()


class Agent:
    """One agent's REST half and its notifier; ``now`` is its clock (Unix seconds)."""

    def __init__(self, folder: Path, url: str, urls: Sequence[str], share: float) -> None:
        self.now = time.time()
        found = {"assets": discover()["assets"]}
        promised = sla_lookup(share)
        store = StateStore(["rest"], version="0", library="0", started_at=self.now)
        merged = merged_states(found, promised)
        history = History(HistoryFile(folder / "history.duckdb"), found, Privacy())
        history.lock()
        shared = PollContext(history, found, store, lambda: self.now, promised, merged, lambda: None)
        source = RestClient(RestOptions(url, (), lambda: Token(rest.NAME, rest.VALUE)))
        if not RestPoller(source, shared, 300.0, 0).poll():
            raise SystemExit("the poll failed")
        (assets,) = merged.values()
        context = EvaluationContext.of(store, found, assets.rows, shared.answers)
        self.told = [Overheard(url) for url in urls]
        self.rule_manager = RuleManager(self.told, history, context, NotificationOptions(), lambda: self.now)

    def version(self) -> float:
        """Look once and tell every Alertmanager; return the processor seconds of both."""
        self.now += EVALUATION_SECONDS
        begun = time.process_time()
        self.rule_manager.step()
        for notifier in self.rule_manager.notifiers:
            notifier.deliver()
        return time.process_time() - begun


def sla_lookup(share: float) -> SlaLookup:
    """Promise next to nothing to a share of all assets, by their names, and leave the others without promise."""

    def promised(asset: Mapping[str, Any]) -> Tiers:
        return (None, 1e-9) if zlib.crc32(asset["name"].encode()) % 1000 < share * 1000 else (None, None)

    return promised


def bare(urls: Sequence[str], bodies: Sequence[bytes]) -> float:
    """Post the same to everybody by one client, and nothing else; return the processor seconds."""
    begun = time.process_time()
    with httpx.Client(headers={"Content-Type": "application/json"}) as client:
        for url in urls:
            for body in bodies:
                client.post(url + ALERTS_PATH, content=body).raise_for_status()
    return time.process_time() - begun


def measure(share: float, url: str) -> dict[str, float]:
    """Run one agent in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.notifying", str(share), url]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


class _Taker(BaseHTTPRequestHandler):
    """Takes everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def takers() -> Iterator[list[str]]:
    """Run so many Alertmanagers; yield their URLs."""
    with contextlib.ExitStack() as stack:
        urls = []
        for _ in range(RECEIVERS):
            command = [sys.executable, "-m", "benchmarks.notifying", "take"]
            taker = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(taker.terminate)
            assert taker.stdout is not None
            urls.append(taker.stdout.readline().strip())
        yield urls


def _take() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the agent that the command line describes."""
    if sys.argv[1] == "take":
        _take()
    with takers() as urls, tempfile.TemporaryDirectory() as folder:
        agent = Agent(Path(folder), sys.argv[2], urls, float(sys.argv[1]))
        polled = _peak()
        looks = [agent.version() for _ in range(LOOKS)]
        peak = _peak()
        agent.told[0].listening = True
        for _ in range(A_MINUTE):
            agent.version()
        bodies = [b"[" + b",".join(text for _, text in batch) + b"]" for batch in batches(agent.told[0].alerts)]
        firing = sum(1 for _ in agent.rule_manager.store.states.firing())
        steady = looks[-3 * A_MINUTE :]
        print(
            json.dumps(
                {
                    "firing": firing,
                    "dearest": max(looks),
                    "a_minute": sum(steady) / 3,
                    "quiet": statistics.median(looks[2:15]),
                    "bare": bare(urls, bodies),
                    "sent_mb": sum(map(len, bodies)) / 1e6,
                    "polled_mb": polled,
                    "peak_mb": peak,
                }
            )
        )


if __name__ == "__main__":
    main()
