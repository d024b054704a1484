"""What is known of the agent's alerts: kept in the history, and taken up again after a restart or a reload.

What is new is written before it is told. What cannot be written waits, and is told all the same.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.agent_families import NOTIFICATIONS_SENT
from exporter.alerting.annotations import error_text
from exporter.alerting.notification import Notification
from exporter.alerting.notifier import Delivery
from exporter.alerting.owners import AssetKey
from exporter.alerting.rules import NOT_EVALUATED, RULES, Rule
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.states import AlertStates
from exporter.errors import HistoryError
from exporter.history import alerting as kept
from exporter.history.alerting import Alert
from exporter.history.history import History
from exporter.history.totals import Totals, instant
from exporter.metrics import Family

WRITER = "notifier"
# What can be told again without harm is written with the next thing that cannot, or once a minute; so is a file tried
# that failed, for that may take long.
WRITE_SECONDS = 60.0
# A poll that is stuck may hold the file: its own alert must not wait for it. A large transaction takes a few seconds.
TURN_SECONDS = 10.0

Tasks = Callable[[], Mapping[AssetKey, Sequence[int]]]
"""Gives the tasks of the assets about which an alert fires; none where what Tableau wrote may not be told."""


@dataclass
class AlertStore:
    """The states of all alerts, the past that rules ask for, what was counted, and what Tableau said of refreshes."""

    rules: Sequence[Rule] = RULES
    past: SampleWindow = field(default_factory=SampleWindow)
    errors: dict[AssetKey, str] = field(default_factory=dict)
    _asked: set[AssetKey] = field(default_factory=set)
    _sent: Counter[str] = field(default_factory=Counter)
    _failed: Counter[str] = field(default_factory=Counter)
    _shown: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _remembers: bool = False
    _tried_at: float = -math.inf
    _written_at: float = -math.inf
    _trouble: str | None = None

    def __post_init__(self) -> None:
        """Begin without any alert."""
        self.states = AlertStates([*self.rules, NOT_EVALUATED])

    def remember(self, history: History, now: float) -> None:
        """Take up what the history kept, as soon as it can be read; it is tried once a minute."""
        if self._remembers or 0 <= now - self._tried_at < WRITE_SECONDS:
            return
        self._tried_at = now
        try:
            with history.writing(instant(now), wait_seconds=TURN_SECONDS) as writer:
                alerts, past = kept.read(writer.connection), kept.read_past(writer.connection)
        except HistoryError as failure:
            self._complain(history, failure)
            return
        history.write_failures.succeeded(WRITER)
        self.states.remember(alerts)
        self.past.remember(past)
        self._remembers, self._trouble = True, None

    def note(self, receipts: Sequence[Delivery]) -> None:
        """Note who took what."""
        if not receipts:
            return
        by_labels: dict[object, list[Alert]] = {}
        for alert in self.states.all():
            by_labels.setdefault(alert.labels, []).append(alert)
        for receipt in receipts:
            self._sent[receipt.url] += len(receipt.taken)
            self._failed[receipt.url] += receipt.failed
            for notification in receipt.taken:
                for alert in by_labels.get(notification.labels, ()):
                    self._note(alert, notification, receipt.url)

    def _note(self, alert: Alert, notification: Notification, url: str) -> None:
        if alert.fired_at != notification.starts_at:
            return
        takers = alert.notified if notification.ends_at is None else alert.acknowledged
        if url not in takers:
            takers.add(url)
            self.states.touch(alert)

    def total(self, family: Family, url: str, totals: Totals) -> int:
        """Return a counter as it stands in the file; where that cannot be written, with what waits.

        A counter that falls looks to Prometheus as if all of it were new. So what a kill would take back is not shown
        where it need not wait for more than a minute.
        """
        written = int(totals.counter(family.name, url))
        waiting = self._sent if family is NOTIFICATIONS_SENT else self._failed
        total = written + (waiting[url] if self._trouble is not None else 0)
        before, shown = self._shown.get((family.name, url), (written, total))
        if written >= before:
            total = max(total, shown)
        self._shown[family.name, url] = written, total
        return total

    def write(self, history: History, now: float, tasks: Tasks, *, at_once: bool = False) -> None:
        """Write what is new, when it is time."""
        if not self._remembers or not (at_once or self._is_time(now)):
            return
        changed = set(self.states.changed)
        try:
            with history.writing(instant(now), wait_seconds=TURN_SECONDS) as writer:
                connection = writer.connection
                kept.replace(connection, changed, self.states.of(changed))
                if self.past.changed:
                    kept.keep_past(connection, self.past.rows())
                kept.count(connection, self._sent, self._failed)
                self._ask_errors(tasks(), lambda asked: kept.errors(connection, asked, instant(now)))
        except HistoryError as failure:
            self._written_at = now
            self._complain(history, failure)
            return
        history.write_failures.succeeded(WRITER)
        self._written_at, self._trouble = now, None
        self.states.changed -= changed
        self.past.changed = False
        self._sent.clear()
        self._failed.clear()

    def _is_time(self, now: float) -> bool:
        counted = any((*self._sent.values(), *self._failed.values()))
        news = bool(self.states.changed or self.past.changed)
        if 0 <= now - self._written_at < WRITE_SECONDS:
            return news and self._trouble is None
        return news or counted

    def _ask_errors(
        self, tasks: Mapping[AssetKey, Sequence[int]], ask: Callable[[Sequence[int]], Mapping[int, str]]
    ) -> None:
        """Take up what Tableau said of the refreshes of these assets, each asked for once; forget the others."""
        new = {key: each for key, each in tasks.items() if key not in self._asked}
        found = ask([task for each in new.values() for task in each]) if new else {}
        texts = {key: next((found[task] for task in each if task in found), "") for key, each in new.items()}
        errors = {key: text for key, text in self.errors.items() if key in tasks}
        self._asked = set(tasks)
        # Another one, for those who are reading this one.
        self.errors = errors | {key: error_text(text) for key, text in texts.items() if text}

    def _complain(self, history: History, failure: HistoryError) -> None:
        history.write_failures.failed(WRITER, failure)
        self._trouble = str(failure)
