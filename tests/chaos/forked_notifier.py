"""The rule manager and its notifiers in a process that is killed and started again, many times a second.

A server that has only imported forks each of them: ``python -m tests.chaos.forked_notifier``. It reads orders as lines
of JSON, and so does the process that it forks; one of the two listens at a time.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Self

import duckdb
import structlog

from exporter.alerting.alertmanager import Alertmanager
from exporter.alerting.evaluator import EVALUATION_SECONDS
from exporter.alerting.notification import Pairs
from exporter.alerting.rules import Rule
from exporter.alerting.snapshot import MetricSnapshot, RuleResult, always, never
from exporter.collectors import discover
from tests.support.failing_connection import failing_at
from tests.support.notifier_harness import TIMEOUT_SECONDS, NotifierHarness

PATIENCE_SECONDS = 0.02
"""Raised for a file that another program holds."""
HURRY_SECONDS = 0.1
"""For an Alertmanager of which it is known that it hangs."""
SENT = "tableau_notifications_sent_total"
ROOT = Path(__file__).parents[2]

_connect = duckdb.connect


@dataclass(frozen=True)
class Kind:
    """A rule, and how long it waits and is retained."""

    alert: str
    severity: str
    for_seconds: float
    keep_firing_for_seconds: float


KINDS = (
    Kind("TableauAssetRefreshLate", "warning", 300.0, 300.0),
    Kind("TableauAssetStale", "critical", 60.0, 120.0),
    Kind("TableauCollectorFailing", "warning", 600.0, 0.0),
)


class ForkedNotifier:
    """One process, as its parent sees it; ``pid`` is 0 while there is none."""

    def __init__(self, folder: Path) -> None:
        self.pid = 0
        self._log = (folder / "notifier.log").open("wb")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.forked_notifier"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        with self._server:
            pass
        self._log.close()

    def begin(self, path: Path, urls: Sequence[str]) -> None:
        """Begin one with a history file."""
        self._report({"path": str(path), "urls": urls})
        self.pid = self._answer()["pid"]

    def ask(self, question: Mapping[str, object], *, kill_after: float | None = None) -> dict[str, Any] | None:
        """Have it do something, and perhaps kill it meanwhile; None where it ended before it was done."""
        self._report(question)
        timer = None
        if kill_after is not None:
            timer = threading.Timer(kill_after, os.kill, (self.pid, signal.SIGKILL))
            timer.start()
        answer = self._answer()
        if timer is not None:
            timer.join()
            if "ended" not in answer:
                self._bury(self._answer())
                return answer
        if "ended" in answer:
            self._bury(answer)
            return None
        return answer

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._bury(self._answer())

    def _bury(self, answer: Mapping[str, Any]) -> None:
        self.pid = 0
        assert answer["ended"] == signal.SIGKILL, f"it ended by itself: {answer}; see {self._log.name}"

    def _report(self, event: Mapping[str, object]) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(event).encode() + b"\n")
        self._server.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, f"the server ended; see {self._log.name}"
        answer: dict[str, Any] = json.loads(line)
        return answer


class Shown:
    """The rules' results: the last ones received."""

    def __init__(self) -> None:
        self.seen: Mapping[str, Mapping[str, Any]] = {}
        self.kills_at: str | None = None
        """The rule at which the process ends."""
        self.rules = [
            Rule(
                kind.alert,
                kind.severity,
                kind.for_seconds,
                self._find(kind),
                "s",
                "{span}",
                kind.keep_firing_for_seconds,
            )
            for kind in KINDS
        ]

    def _find(self, kind: Kind) -> Callable[[MetricSnapshot], RuleResult]:
        def find(_view: MetricSnapshot) -> RuleResult:
            if self.kills_at == kind.alert:
                _end()
            seen = self.seen[kind.alert]
            if seen["raises"]:
                raise ZeroDivisionError
            holding: dict[Pairs, float] = {
                tuple((name, text) for name, text in pairs): 1.0 for pairs in seen["holding"]
            }
            return RuleResult(holding, always if seen["silent"] else never)

        return find


def _end() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _live(questions: Iterator[bytes], answers: int, path: str, urls: Sequence[str]) -> None:
    """Run commands until killed."""
    published = Shown()
    harness = NotifierHarness(Path(path), urls, published.rules, patience_seconds=PATIENCE_SECONDS)
    _notify(answers, {"pid": os.getpid()})
    for line in questions:
        question = json.loads(line)
        harness.now = question["now"]
        if "urls" in question:
            _reload(harness, question["urls"])
        else:
            _evaluate(harness, published, question)
        sent = {url: harness.value(SENT, alertmanager=url) for url in harness.urls}
        _notify(answers, {"sent": sent})


def _reload(harness: NotifierHarness, urls: Sequence[str]) -> None:
    stopped = threading.Event()
    stopped.set()
    harness.rule_manager.run(stopped, EVALUATION_SECONDS)
    harness.urls = urls
    harness.reload()


def _evaluate(harness: NotifierHarness, published: Shown, question: Mapping[str, Any]) -> None:
    published.seen, published.kills_at = question["seen"], question["kills_at"]
    for notifier in harness.rule_manager.notifiers:
        receiver = notifier.receiver
        assert isinstance(receiver, Alertmanager)
        seconds = HURRY_SECONDS if notifier.url in question["hanging"] else TIMEOUT_SECONDS
        receiver._options = replace(receiver._options, timeout=seconds)
    statement = question["kills_at_statement"]
    duckdb.connect = failing_at(_connect, statement, _end) if statement else _connect
    harness.step()


def _notify(answers: int, event: Mapping[str, object]) -> None:
    os.write(answers, json.dumps(event).encode() + b"\n")


def _serve() -> None:
    """Fork the requested processes, one after the other."""
    answers = os.dup(1)
    os.dup2(2, 1)
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    discover()
    questions = iter(sys.stdin.buffer.readline, b"")
    for line in questions:
        question = json.loads(line)
        if "path" not in question:
            # It was sent to a process that was killed before it read it.
            continue
        if not (child := os.fork()):
            try:
                _live(questions, answers, question["path"], question["urls"])
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        _notify(answers, {"ended": status})


if __name__ == "__main__":
    _serve()
