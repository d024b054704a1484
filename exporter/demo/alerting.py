"""Prometheus and Alertmanager beside the demo, where they are installed: the shipped rules, and what becomes of them.

A program that is missing, or does not start, is reported in one line, and the demo goes on without it.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from exporter.assets import find
from exporter.demo import fast_rules
from exporter.demo.child_process import ChildProcess, installed
from exporter.demo.fast_rules import ALERTMANAGER_FILE, RULES_FILE
from exporter.demo.notices import FIRING, NoticedAlert, Notices, Pace, line
from exporter.demo.postgres import HOST
from exporter.demo.receiver import WebhookReceiver
from exporter.errors import DemoError

PROMETHEUS_PROGRAMS = ("prometheus",)
# As Debian calls it, and as its makers do.
ALERTMANAGER_PROGRAMS = ("prometheus-alertmanager", "alertmanager")
TO_INSTALL = "apt-get install --no-install-recommends prometheus prometheus-alertmanager"
# Debian's Prometheus has the older of its two user interfaces.
ALERT_PAGES = ("/alerts", "/classic/alerts")
SCRAPED = "/api/v1/query?query=up%7Bjob%3D%22tableau%22%7D"
STALE = {"TableauAssetStale", "TableauAssetStaleBeforeUse"}


class Alerting:
    """A context manager: Alertmanager runs inside, Prometheus from ``scrape()`` on.

    ``fix`` makes the broken refresh of one asset succeed: that of the first alert on a stale asset.
    """

    def __init__(self, folder: Path, ended: threading.Event, fix: Callable[[str], bool]) -> None:
        self.prometheus: ChildProcess | None = None
        self.alertmanager: ChildProcess | None = None
        self._folder = folder
        self._ended = ended
        self._fix = fix
        self._fixed: dict[str, str] = {}
        self._receiver = WebhookReceiver()
        self._notices = Notices()
        self._pace = Pace(time.monotonic)
        self._target = ""
        self._ruled = False
        self._notes: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._receiver)
            self.alertmanager = self._started(stack, "Alertmanager", ALERTMANAGER_PROGRAMS, self._alertmanager)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def scrape(self, port: int) -> None:
        """Start Prometheus on the agent at this port."""
        self._target = f"{HOST}:{port}"
        self.prometheus = self._started(self._stack, "Prometheus", PROMETHEUS_PROGRAMS, self._prometheus)

    def pages(self) -> dict[str, str]:
        """Return the addresses of the pages."""
        pages = {}
        if self.prometheus:
            found = (path for path in ALERT_PAGES if self.prometheus.get(path)[0] == 200)
            pages["alerts"] = f"http://{self.prometheus.address}{next(found, ALERT_PAGES[0])}"
        if self.alertmanager:
            pages["Alertmanager"] = f"http://{self.alertmanager.address}/"
        return pages

    def news(self) -> Iterator[str]:
        """Yield a line for each event since the last call."""
        self._give_rules()
        for child in (self.prometheus, self.alertmanager):
            if child is not None and child.died():
                yield f"{child.name} has ended: {child.complaint()}; the demo goes on without it"
        yield from self._notes
        self._notes.clear()
        if withheld := self._pace.withheld():
            yield f"... and {withheld} more: {', '.join(self.pages().values())}"
        for alert, receivers in self._notices.new(self._receiver.arrived()):
            fixes = self._fixes(alert)
            # The one that is fixed is always printed, firing and resolved.
            if self._pace.allows() or alert.labels.get("asset_id", "") in self._fixed.values():
                yield line(alert, receivers)
            if fixes:
                yield "(the refresh of this asset is fixed now: it succeeds in some seconds)"

    def _fixes(self, alert: NoticedAlert) -> bool:
        """Fix the refresh of an asset of each alert on stale data: of the first whose refresh is broken."""
        name, asset = str(alert.labels.get("alertname")), str(alert.labels.get("asset_id"))
        if alert.status != FIRING or name not in STALE or name in self._fixed or not self._fix(asset):
            return False
        self._fixed[name] = asset
        return True

    def _started(
        self, stack: ExitStack, name: str, programs: tuple[str, ...], command: Callable[[str, ChildProcess], list[str]]
    ) -> ChildProcess | None:
        program = installed(programs)
        if program is None:
            self._notes.append(f"{name} is not installed ({TO_INSTALL}): the demo goes on without it")
            return None
        child = ChildProcess(name, self._folder)
        stack.callback(child.stop)
        try:
            child.start(command(program, child))
            wrong = child.wait(self._ended)
        except (DemoError, OSError) as error:
            wrong = f"{name} did not start: {error}"
        if wrong is None:
            return child
        child.stop()
        self._notes.append(f"{wrong}; the demo goes on without it")
        return None

    def _alertmanager(self, program: str, child: ChildProcess) -> list[str]:
        path = self._folder / ALERTMANAGER_FILE
        path.write_text(fast_rules.alertmanager(find(f"alerts/{ALERTMANAGER_FILE}").read_text(), self._receiver.url))
        return [
            program,
            f"--config.file={path}",
            f"--storage.path={self._folder / 'alertmanager'}",
            f"--web.listen-address={child.address}",
            "--cluster.listen-address=",
        ]

    def _prometheus(self, program: str, child: ChildProcess) -> list[str]:
        (self._folder / RULES_FILE).write_text(fast_rules.rules(find(f"alerts/{RULES_FILE}").read_text()))
        self._configure(None)
        return [
            program,
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self._folder / 'prometheus'}",
            f"--web.listen-address={child.address}",
        ]

    @property
    def _configuration(self) -> Path:
        return self._folder / "prometheus.yml"

    def _configure(self, rules: Path | None) -> None:
        notified = self.alertmanager.address if self.alertmanager else None
        self._configuration.write_text(fast_rules.prometheus(self._target, notified, rules))

    def _give_rules(self) -> None:
        """Have the rules evaluated once the agent was scraped.

        Prometheus needs some seconds for that, and with such short waits the alert on a missing agent would fire.
        """
        if self._ruled or self.prometheus is None or (pid := self.prometheus.pid) is None:
            return
        status, body = self.prometheus.get(SCRAPED)
        if status == 200 and json.loads(body)["data"]["result"]:
            self._configure(self._folder / RULES_FILE)
            os.kill(pid, signal.SIGHUP)
            self._ruled = True
