"""The agent's alerts and counters of notifications: stored in the history, restored after a restart or a reload.

Changes are written before they are sent. Saving that fails does not stop notifications.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.alerting.annotations import error_text
from exporter.alerting.notification import Notification
from exporter.alerting.notifier import Delivery
from exporter.alerting.owners import AssetKey
from exporter.alerting.rules import NOT_EVALUATED, RULES, Rule
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.states import AlertStates
from exporter.errors import HistoryError
from exporter.history import alert_store as alert_tables
from exporter.history.alert_store import Alert
from exporter.history.history import History
from exporter.history.totals import instant
from exporter.metrics import Family
from exporter.self_metrics import NOTIFICATIONS_SENT

WRITER = "notifier"
# Counters are written with the next change of an alert, or once a minute; a file that failed is tried again as often,
# for that may take long.
WRITE_SECONDS = 60.0
# A poll that is stuck may hold the file: its own alert must not wait for it. A large transaction takes a few seconds.
TURN_SECONDS = 10.0

Tasks = Callable[[], Mapping[AssetKey, Sequence[int]]]
"""Returns the refresh tasks of the assets with a firing alert; none where error messages are not allowed."""


@dataclass
class AlertStore:
    """The states of all alerts, the samples of the past, counters of notifications, and Tableau's error messages."""

    rules: Sequence[Rule] = RULES
    past: SampleWindow = field(default_factory=SampleWindow)
    errors: dict[AssetKey, str] = field(default_factory=dict)
    _queried: set[AssetKey] = field(default_factory=set)
    _sent: Counter[str] = field(default_factory=Counter)
    _failed: Counter[str] = field(default_factory=Counter)
    restored: bool = False
    """Whether the history was read."""
    _counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    _tried_at: float = -math.inf
    _written_at: float = -math.inf
    _unwritten: bool = False
    """Whether reading or writing failed, and nothing was written since."""

    def __post_init__(self) -> None:
        """Start without alerts."""
        self.states = AlertStates([*self.rules, NOT_EVALUATED])

    def restore(self, history: History, now: float) -> None:
        """Restore everything from the history, as soon as it can be read; it is tried once a minute."""
        if self.restored or 0 <= now - self._tried_at < WRITE_SECONDS:
            return
        self._tried_at = now
        try:
            with history.transaction(instant(now), wait_seconds=TURN_SECONDS) as transaction:
                connection = transaction.connection
                alerts, past = alert_tables.read_alerts(connection), alert_tables.read_past(connection)
                counts = alert_tables.notification_counts(connection)
        except HistoryError as failure:
            self._failed_to_write(history, failure)
            return
        history.write_failures.succeeded(WRITER)
        self.states.restore(alerts)
        self.past.restore(past)
        self._counts, self.restored = counts, True

    def note(self, deliveries: Sequence[Delivery]) -> None:
        """Record which Alertmanagers accepted which alerts."""
        if not deliveries:
            return
        by_labels: dict[object, list[Alert]] = {}
        for alert in self.states.all():
            by_labels.setdefault(alert.labels, []).append(alert)
        for delivery in deliveries:
            self._sent[delivery.url] += len(delivery.accepted)
            self._failed[delivery.url] += delivery.failed
            for notification in delivery.accepted:
                for alert in by_labels.get(notification.labels, ()):
                    self._note(alert, notification, delivery.url)

    def _note(self, alert: Alert, notification: Notification, url: str) -> None:
        if alert.fired_at != notification.starts_at:
            return
        takers = alert.notified if notification.ends_at is None else alert.acknowledged
        if url not in takers:
            takers.add(url)
            self.states.mark_changed(alert)

    def total(self, family: Family, url: str) -> int:
        """Return a counter as it stands in the file; from a failed write to the next that succeeds, with the rest.

        A decrease is a reset to Prometheus. So a part that a kill would take back is published only where it would have
        to wait for more than a minute.
        """
        unwritten = self._sent if family is NOTIFICATIONS_SENT else self._failed
        return self._counts.get((family.name, url), 0) + (unwritten[url] if self._unwritten else 0)

    def write(self, history: History, now: float, tasks: Tasks, *, at_once: bool = False) -> None:
        """Write changes, when it is time."""
        if not self.restored or not (at_once or self._is_time(now)):
            return
        changed = set(self.states.changed)
        try:
            with history.transaction(instant(now), wait_seconds=TURN_SECONDS) as transaction:
                connection = transaction.connection
                alert_tables.replace(connection, changed, self.states.of(changed))
                if self.past.changed:
                    alert_tables.keep_past(connection, self.past.rows())
                alert_tables.count_notifications(connection, self._sent, self._failed)
                counts = alert_tables.notification_counts(connection)
                self._read_errors(tasks(), lambda queried: alert_tables.errors(connection, queried, instant(now)))
        except HistoryError as failure:
            self._written_at = now
            self._failed_to_write(history, failure)
            return
        history.write_failures.succeeded(WRITER)
        self._counts, self._written_at, self._unwritten = counts, now, False
        self.states.changed -= changed
        self.past.changed = False
        self._sent.clear()
        self._failed.clear()

    def _is_time(self, now: float) -> bool:
        counted = any((*self._sent.values(), *self._failed.values()))
        news = bool(self.states.changed or self.past.changed)
        if 0 <= now - self._written_at < WRITE_SECONDS:
            return news and not self._unwritten
        return news or counted

    def _read_errors(
        self, tasks: Mapping[AssetKey, Sequence[int]], query: Callable[[Sequence[int]], Mapping[int, str]]
    ) -> None:
        """Read Tableau's error messages for the refreshes of these assets, each once; forget the others."""
        new = {key: each for key, each in tasks.items() if key not in self._queried}
        found = query([task for each in new.values() for task in each]) if new else {}
        texts = {key: next((found[task] for task in each if task in found), "") for key, each in new.items()}
        errors = {key: text for key, text in self.errors.items() if key in tasks}
        self._queried = set(tasks)
        # A new mapping: notifiers may be reading the old one.
        self.errors = errors | {key: error_text(text) for key, text in texts.items() if text}

    def _failed_to_write(self, history: History, failure: HistoryError) -> None:
        history.write_failures.failed(WRITER, failure)
        self._unwritten = True
