"""The agent's own alerts: every quarter of a minute the rules look at what is shown, and couriers tell what they find.

What is new is written to the history first: an agent that is killed in between goes on where it was.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa
import structlog

from exporter import agent_families as families
from exporter.alerting import conditions
from exporter.alerting.annotations import Annotator, AssetContext, asset_key, bare_annotations, runbook_of
from exporter.alerting.notification import Notification, Pairs
from exporter.alerting.notifier import Delivery, Notifier, Outbox, Receiver
from exporter.alerting.owners import AssetKey, Owners
from exporter.alerting.rules import NOT_EVALUATED, RULES, Rule
from exporter.alerting.snapshot import MetricSnapshot, RuleResult, SourceStates, always, never
from exporter.alerting.store import AlertStore
from exporter.exposition.state_store import AnyBlock
from exporter.history.alerting import OWNER_EMAIL, Alert
from exporter.history.history import History
from exporter.metrics import Block, Labels, single
from exporter.status import FiringAlert

log = structlog.get_logger()

EVALUATION_SECONDS = 15.0
EVERYTHING, GROWTH = "any alert", "what grew within an hour"
"""What takes the place of a rule's name where more than one cannot be evaluated."""

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationOptions:
    """Which rules are looked at, and how often."""

    rules: Sequence[Rule] = RULES
    interval_seconds: float = EVALUATION_SECONDS


def _nowhere(_alerts: Sequence[FiringAlert]) -> None:
    """Show them nowhere."""


@dataclass(frozen=True)
class EvaluationContext:
    """What is known at an instant (Unix seconds): what is shown, of assets also the rows; and what is polled.

    ``show`` takes what is shown of the notifications, ``show_firing`` the alerts that fire.
    """

    blocks: Callable[[float], Iterable[AnyBlock]]
    assets: Callable[[float], pa.Table]
    sources: Callable[[], SourceStates]
    show: Callable[[Sequence[Block], float], None]
    show_firing: Callable[[Sequence[FiringAlert]], None] = _nowhere


@dataclass(frozen=True)
class NotificationOptions:
    """How it is told; ``says_errors`` allows what Tableau wrote, which may name people."""

    runbook_url: str | None = None
    owner_email_label: bool = False
    says_errors: bool = True
    dashboard_url: str | None = None


class RuleManager:
    """Looks, remembers and tells. Only its own thread, or a test, calls ``step``; ``memory`` outlives it."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        history: History,
        present: EvaluationContext,
        options: NotificationOptions,
        clock: Callable[[], float],
        memory: AlertStore | None = None,
    ) -> None:
        self.memory = memory or AlertStore()
        self._history = history
        self._present = present
        self._manner = options
        self._clock = clock
        self._rules = {rule.name: rule for rule in (*self.memory.rules, NOT_EVALUATED)}
        self._receipts: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self.notifiers = [Notifier(receiver, clock, self._receipts) for receiver in receivers]
        self.known = AssetContext()
        """What the last look saw of assets."""
        self._broken: set[str] = set()
        self._speechless: set[str] = set()

    @property
    def urls(self) -> list[str]:
        """The Alertmanagers."""
        return [notifier.url for notifier in self.notifiers]

    def run(self, stopped: threading.Event, interval_seconds: float) -> None:
        """Look and tell until told to stop; what is not written by then is tried once more."""
        for notifier in self.notifiers:
            # Nobody waits at the end for an Alertmanager that does not answer.
            threading.Thread(target=notifier.run, args=(stopped, interval_seconds), name="courier", daemon=True).start()
        while not stopped.is_set():
            try:
                self.step()
            except Exception:
                log.exception("looking for alerts failed for a reason that is a defect of this program")
            self._wake()
            stopped.wait(interval_seconds)
        self._wake()
        self._take_receipts()
        self.memory.write(self._history, self._clock(), self._tasks, at_once=True)

    def step(self) -> None:
        """Look once, write what is new, and lay out what must be told."""
        now, memory = self._clock(), self.memory
        self._take_receipts()
        memory.remember(self._history, now)
        self._look(now)
        memory.states.forget(self.urls, now)
        try:
            memory.write(self._history, now, self._tasks)
        finally:
            # Whatever becomes of the file.
            self._lay_out(now)
            self._present.show(self._blocks(), now)
            runbook_url = self._manner.runbook_url
            self._present.show_firing([_shown(alert, runbook_url) for alert in memory.states.firing()])

    def _look(self, now: float) -> None:
        broken: dict[Pairs, float] = {}
        view = self._found(EVERYTHING, lambda: self._view(now))
        if view is None:
            broken[("rule", EVERYTHING),] = 1.0
        else:
            if self._found(GROWTH, lambda: self._take_up(view)) is None:
                broken[("rule", GROWTH),] = 1.0
            for rule in self.memory.rules:
                found = self._found(rule.name, partial(rule.find, view))
                if found is None:
                    broken[("rule", rule.name),] = 1.0
                    continue
                # An agent that has just begun knows too little to say that something is over.
                self._go_on(rule, RuleResult(found.holding, always) if view.sources.awaited else found, now)
        # While nothing is seen at all, nobody knows which rule would fail.
        self._go_on(NOT_EVALUATED, RuleResult(broken, always if view is None else never), now)
        self._broken = {name for ((_, name),) in broken}
        self.memory.states.drop_unknown(now)

    def _view(self, now: float) -> MetricSnapshot:
        """Take up what is shown, and what is told of assets."""
        view = MetricSnapshot(self._present.blocks(now), now, self.memory.past, self._present.sources())
        rows = self._present.assets(now)
        owners = self.known.owners if rows is self.known.owners.rows else Owners(rows)
        self.known = AssetContext(view.assets, owners, conditions.silent_sources(view))
        return view

    def _take_up(self, view: MetricSnapshot) -> bool:
        conditions.take_up(self.memory.past, view)
        return True

    def _found(self, name: str, find: Callable[[], T]) -> T | None:
        """Return what is looked for; None where that fails, which is said once."""
        try:
            return find()
        except Exception:
            if name not in self._broken:
                log.exception("an alert could not be looked for, and stays as it is", alert=name)
            return None

    def _go_on(self, rule: Rule, found: RuleResult, now: float) -> None:
        for alert in self.memory.states.step(rule, found, now):
            email = ""
            if rule.about_asset and self._manner.owner_email_label:
                email = self.known.owners.owner(asset_key(dict(alert.series))).email
            self.memory.states.fire(alert, {OWNER_EMAIL: email} if email else {})

    def _tasks(self) -> Mapping[AssetKey, Sequence[int]]:
        """Return the tasks of the assets about which an alert fires."""
        if not self._manner.says_errors:
            return {}
        keys = (asset_key(dict(alert.series)) for alert in self.memory.states.firing())
        return {key: self.known.owners.tasks(key) for key in keys if key[2]}

    def _lay_out(self, now: float) -> None:
        """Say what must be told from now on."""
        states = self.memory.states
        notifications = [
            Notification(alert.labels, {}, fired_at, None, alert.value)
            for alert in states.sent_as_firing(now)
            if (fired_at := alert.fired_at) is not None
        ]
        for alert in states.ended():
            owed = states.owed(alert, self.urls, now)
            if alert.fired_at is not None:
                notifications.append(Notification(alert.labels, {}, alert.fired_at, alert.ended_at, alert.value, owed))
        # What was known while it was allowed to be said may still be there.
        errors = self.memory.errors if self._manner.says_errors else {}
        describer = Annotator(self.known, errors, self._manner.runbook_url, self._manner.dashboard_url)
        outbox = Outbox(notifications, lambda notification: self._annotations(describer, notification))
        for notifier in self.notifiers:
            notifier.outbox = outbox

    def _annotations(self, describer: Annotator, notification: Notification) -> dict[str, str]:
        """Return what is said of an alert; where that fails, which is said once, as much as cannot fail."""
        if (rule := self._rules.get(notification.rule)) is None:
            return {}
        try:
            return describer.annotations(rule, notification.labels, notification.value)
        except Exception:
            if rule.name not in self._speechless:
                self._speechless.add(rule.name)
                log.exception("an alert could not be described, and is told without a description", alert=rule.name)
            return bare_annotations(rule, notification.labels)

    def _blocks(self) -> list[Block]:
        """Return what is shown of the notifications."""
        shown = [single(families.NOTIFICATIONS_FIRING, sum(1 for _ in self.memory.states.firing()))]
        if self._history.known:
            totals = self._history.totals
            for family in (families.NOTIFICATIONS_SENT, families.NOTIFICATIONS_FAILED):
                counts = [self.memory.total(family, url, totals) for url in self.urls]
                shown.append(Block(family, Labels(family.labels, [self.urls]), counts))
        return shown

    def _take_receipts(self) -> None:
        receipts = []
        while not self._receipts.empty():
            receipts.append(self._receipts.get())
        self.memory.note(receipts)

    def _wake(self) -> None:
        for notifier in self.notifiers:
            notifier.wake.set()


def _shown(alert: Alert, runbook_url: str | None) -> FiringAlert:
    labels = {name: value for name, value in alert.labels if name != OWNER_EMAIL}
    name, severity = labels.pop("alertname", ""), labels.pop("severity", "")
    since = alert.fired_at or alert.active_since
    return FiringAlert(name, severity, tuple(labels.items()), since, runbook_of(runbook_url, name))
