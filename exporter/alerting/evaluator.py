"""Evaluates the agent's own alerting rules every 15 seconds; notifiers send the alerts.

Changes are written to the history first: an agent that is killed in between continues where it was.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa
import structlog

from exporter import self_metrics as families
from exporter.alerting import conditions
from exporter.alerting.annotations import Annotator, AssetContext, asset_key, runbook_of, summary_alone
from exporter.alerting.notification import Notification, Pairs
from exporter.alerting.notifier import Delivery, Notifier, Outbox, Receiver
from exporter.alerting.owners import AssetKey, Owners
from exporter.alerting.rules import NOT_EVALUATED, RULES, Rule
from exporter.alerting.snapshot import MetricSnapshot, RuleResult, SourceStates, always, never, source_states
from exporter.alerting.store import AlertStore
from exporter.collector import Collector
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.exposition.state_store import NOTIFICATIONS, AnyBlock, StateStore, TimedBlocks
from exporter.history.alert_store import OWNER_EMAIL, Alert
from exporter.history.history import History
from exporter.log_once import LogOnce
from exporter.metrics import Block, Labels, single
from exporter.pagedata.query_results import PageAnswers
from exporter.pagedata.undelivered import UNDELIVERED, Undelivered, UndeliveredList
from exporter.status import FiringAlert

log = structlog.get_logger()

EVALUATION_SECONDS = 15.0
EVERYTHING, GROWTH = "any alert", "what grew within an hour"
"""Values of the label ``rule`` where more than one rule cannot be evaluated."""

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationOptions:
    """Which rules are evaluated, and how often."""

    rules: Sequence[Rule] = RULES
    interval_seconds: float = EVALUATION_SECONDS


@dataclass(frozen=True)
class EvaluationContext:
    """Inputs of the rules at an instant (Unix seconds): published blocks, rows of assets, and the sources.

    ``publish`` publishes the metrics of notifications, ``publish_firing`` the firing alerts.
    """

    blocks: Callable[[float], Iterable[AnyBlock]]
    assets: Callable[[float], pa.Table]
    sources: Callable[[], SourceStates]
    publish: Callable[[Sequence[Block], float], None]
    publish_firing: Callable[[Sequence[FiringAlert]], None] = lambda _alerts: None
    undelivered: Callable[[], Sequence[Undelivered]] = lambda: ()

    @classmethod
    def of(
        cls,
        store: StateStore,
        collectors: Mapping[str, Collector],
        assets: Callable[[float], pa.Table | None],
        answers: PageAnswers,
    ) -> "EvaluationContext":
        """Return what an agent with these collectors publishes; ``assets`` returns None where none are known."""
        return cls(
            store.blocks,
            lambda now: ARROW_SCHEMA.empty_table() if (rows := assets(now)) is None else rows,
            lambda: source_states(store.status, collectors),
            lambda blocks, now: store.set_state(NOTIFICATIONS, TimedBlocks(tuple(blocks), now)),
            store.set_firing,
            lambda: [row for answer in answers.every(UNDELIVERED) for row in UndeliveredList.of([answer]).rows],
        )


@dataclass(frozen=True)
class NotificationOptions:
    """Content of notifications; ``include_errors`` allows Tableau's error messages, which may name users."""

    runbook_url: str | None = None
    owner_email_label: bool = False
    include_errors: bool = True
    dashboard_url: str | None = None
    tableau_url: str | None = None
    timezone: str = "UTC"


class RuleManager:
    """Evaluates rules, stores alerts, hands them to notifiers. One thread calls ``step``; ``store`` outlives it."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        history: History,
        context: EvaluationContext,
        options: NotificationOptions,
        clock: Callable[[], float],
        store: AlertStore | None = None,
    ) -> None:
        self.store = store or AlertStore()
        self._history = history
        self._context = context
        self._options = options
        self._clock = clock
        self._rules = {rule.name: rule for rule in (*self.store.rules, NOT_EVALUATED)}
        self._deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self.notifiers = [Notifier(receiver, clock, self._deliveries) for receiver in receivers]
        self.known = AssetContext()
        """The assets as of the last evaluation."""
        self._failing = LogOnce()
        self._undescribed = LogOnce()

    @property
    def urls(self) -> list[str]:
        """The Alertmanagers."""
        return [notifier.url for notifier in self.notifiers]

    def run(self, stopped: threading.Event, interval_seconds: float) -> None:
        """Evaluate until stopped; unwritten changes are tried once more at the end."""
        for notifier in self.notifiers:
            # A daemon: the end does not wait for an Alertmanager that does not answer.
            threading.Thread(
                target=notifier.run, args=(stopped, interval_seconds), name="notifier", daemon=True
            ).start()
        while not stopped.is_set():
            try:
                self.step()
            except Exception:
                log.exception("evaluating alert rules failed: unexpected error (bug)")
            self._wake()
            stopped.wait(interval_seconds)
        self._wake()
        self._read_deliveries()
        self.store.write(self._history, self._clock(), self._tasks, at_once=True)

    def step(self) -> None:
        """Evaluate once, write changes, and fill the outbox."""
        now, store = self._clock(), self.store
        self._read_deliveries()
        store.restore(self._history, now)
        self._evaluate(now)
        store.states.forget(self.urls, now)
        try:
            store.write(self._history, now, self._tasks)
        finally:
            # Also where the file cannot be written.
            self._fill_outbox(now)
            self._context.publish(self._blocks(), now)
            runbook_url = self._options.runbook_url
            self._context.publish_firing([_firing(alert, runbook_url) for alert in store.states.firing()])

    def _evaluate(self, now: float) -> None:
        broken: dict[Pairs, float] = {}
        view = self._try(EVERYTHING, lambda: self._snapshot(now))
        if view is None:
            broken[("rule", EVERYTHING),] = 1.0
        else:
            if self._try(GROWTH, lambda: self._record_samples(view)) is None:
                broken[("rule", GROWTH),] = 1.0
            for rule in self.store.rules:
                found = self._try(rule.name, partial(rule.find, view))
                if found is None:
                    broken[("rule", rule.name),] = 1.0
                    continue
                # Before the first poll of every source it is unknown which alerts are over.
                self._apply(rule, RuleResult(found.firing_series, always) if view.sources.awaited else found, now)
        # Without a snapshot it is unknown which rule would fail.
        self._apply(NOT_EVALUATED, RuleResult(broken, always if view is None else never), now)
        self._failing.retain({name for ((_, name),) in broken})
        self.store.states.resolve_unknown(now)

    def _snapshot(self, now: float) -> MetricSnapshot:
        """Return the published metrics, and keep what annotations need of assets."""
        view = MetricSnapshot(self._context.blocks(now), now, self.store.past, self._context.sources())
        rows = self._context.assets(now)
        owners = self.known.owners if rows is self.known.owners.rows else Owners(rows)
        self.known = AssetContext(view.assets, owners, conditions.silent_sources(view), now, self._context.undelivered)
        return view

    def _record_samples(self, view: MetricSnapshot) -> bool:
        conditions.record_samples(self.store.past, view)
        return True

    def _try(self, name: str, find: Callable[[], T]) -> T | None:
        """Return the result of an evaluation; None where it fails, which is logged once."""
        try:
            return find()
        except Exception:
            if self._failing.is_new(name):
                log.exception("rule not evaluated; its alerts stay as they are: unexpected error (bug)", rule=name)
            return None

    def _apply(self, rule: Rule, found: RuleResult, now: float) -> None:
        for alert in self.store.states.step(rule, found, now):
            email = ""
            if rule.about_asset and self._options.owner_email_label:
                email = self.known.owners.owner(asset_key(dict(alert.series))).email
            self.store.states.fire(alert, {OWNER_EMAIL: email} if email else {})

    def _tasks(self) -> Mapping[AssetKey, Sequence[int]]:
        """Return the refresh tasks of the assets with a firing alert."""
        if not self._options.include_errors:
            return {}
        keys = (asset_key(dict(alert.series)) for alert in self.store.states.firing())
        return {key: self.known.owners.tasks(key) for key in keys if key[2]}

    def _fill_outbox(self, now: float) -> None:
        """Replace the notifications that are sent from now on."""
        states = self.store.states
        notifications = [
            Notification(alert.labels, {}, fired_at, None, alert.value)
            for alert in states.firing_to_send(now)
            if (fired_at := alert.fired_at) is not None
        ]
        for alert in states.ended():
            owed = states.owed(alert, self.urls, now)
            if alert.fired_at is not None:
                notifications.append(Notification(alert.labels, {}, alert.fired_at, alert.ended_at, alert.value, owed))
        # Errors of before a reload that forbade them may still be there.
        errors = self.store.errors if self._options.include_errors else {}
        options = self._options
        urls = (options.runbook_url, options.dashboard_url, options.tableau_url)
        describer = Annotator(self.known, errors, *urls, options.timezone)
        outbox = Outbox(notifications, lambda notification: self._annotations(describer, notification))
        for notifier in self.notifiers:
            notifier.outbox = outbox

    def _annotations(self, describer: Annotator, notification: Notification) -> dict[str, str]:
        """Return the annotations of an alert; the summary alone where that fails, which is logged once."""
        if (rule := self._rules.get(notification.rule)) is None:
            return {}
        try:
            return describer.annotations(rule, notification.labels, notification.value)
        except Exception:
            if self._undescribed.is_new(rule.name):
                log.exception("alert sent without annotations: unexpected error (bug)", rule=rule.name)
            return summary_alone(rule, notification.labels)

    def _blocks(self) -> list[Block]:
        """Return the metrics of notifications."""
        blocks = [single(families.NOTIFICATIONS_FIRING, sum(1 for _ in self.store.states.firing()))]
        if self.store.restored:
            for family in (families.NOTIFICATIONS_SENT, families.NOTIFICATIONS_FAILED):
                counts = [self.store.total(family, url) for url in self.urls]
                blocks.append(Block(family, Labels(family.labels, [self.urls]), counts))
        return blocks

    def _read_deliveries(self) -> None:
        deliveries = []
        while not self._deliveries.empty():
            deliveries.append(self._deliveries.get())
        self.store.note(deliveries)

    def _wake(self) -> None:
        for notifier in self.notifiers:
            notifier.wake.set()


def _firing(alert: Alert, runbook_url: str | None) -> FiringAlert:
    labels = {name: value for name, value in alert.labels if name != OWNER_EMAIL}
    name, severity = labels.pop("alertname", ""), labels.pop("severity", "")
    since = alert.fired_at or alert.active_since
    return FiringAlert(name, severity, tuple(labels.items()), since, runbook_of(runbook_url, name))
