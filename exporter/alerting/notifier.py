"""Sends notifications to one Alertmanager: each has a notifier of its own, so that one that is down delays no other.

An alert that was refused is sent apart from the others from then on, so that it does not fail their batch.
"""

import itertools
import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from exporter.alerting.batches import ALERTS, FRUITLESS, SAMPLES, Sent
from exporter.alerting.notification import Notification, Pairs, line
from exporter.alerting.states import RESEND_SECONDS
from exporter.log_once import LogOnce

log = structlog.get_logger()

# Evaluations come at steady intervals, and are never on the second.
SLACK_SECONDS = 1.0
REFUSALS = 256
"""The number of refusals that ends a round: alerts not sent yet come first in the next."""
ALL_REFUSED = 2 * (FRUITLESS + SAMPLES)
"""The same where nothing was accepted for minutes: two batches without an accepted alert are a failure."""
REFUSED_WITH_OTHERS, REFUSED_ALONE = 1, 2
_AT_ONCE = {0: ALERTS, REFUSED_WITH_OTHERS: 16, REFUSED_ALONE: ALERTS}
# Per round.
MAX_LOG_LINES = 10


class Receiver(Protocol):
    """An Alertmanager."""

    @property
    def url(self) -> str:
        """The URL from the configuration."""

    def send(self, alerts: Sequence[Notification]) -> Sent:
        """Send notifications to it."""

    def close(self) -> None:
        """Release its resources."""


@dataclass(frozen=True)
class Outbox:
    """All notifications to send, and a function that makes their annotations."""

    notifications: Sequence[Notification] = ()
    annotations: Callable[[Notification], dict[str, str]] = lambda _message: {}


@dataclass(frozen=True)
class Delivery:
    """Result of sending: accepted notifications, and how many failed, each counted once a minute."""

    url: str
    accepted: Sequence[Notification]
    failed: int


@dataclass
class _Round:
    """The state of one round of sending."""

    failure: str | None = None
    refused: list[tuple[Notification, str]] = field(default_factory=list)
    refusals: int = 0
    most: int = REFUSALS
    given_up: str | None = None
    """Why a batch without an accepted alert was given up."""

    @property
    def is_over(self) -> bool:
        """Whether to stop: more would fail as well, or take too long."""
        return self.failure is not None or self.refusals >= self.most


@dataclass
class Notifier:
    """Notifies one Alertmanager; one thread calls ``deliver``."""

    receiver: Receiver
    clock: Callable[[], float]
    deliveries: "queue.SimpleQueue[Delivery]"
    outbox: Outbox = field(default_factory=Outbox)
    """Replaced whole by the rule manager."""
    wake: threading.Event = field(default_factory=threading.Event)
    _sent: dict[Pairs, tuple[float | None, float]] = field(default_factory=dict)
    _failed_at: dict[Pairs, float] = field(default_factory=dict)
    _doubts: dict[Pairs, int] = field(default_factory=dict)
    _accepted_at: float = -math.inf
    _failure: LogOnce = field(default_factory=LogOnce)
    _refused: LogOnce = field(default_factory=LogOnce)

    @property
    def url(self) -> str:
        """The Alertmanager."""
        return self.receiver.url

    def deliver(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Send what is due; return whether all of it was sent. The rest is due again the next time."""
        outbox, now = self.outbox, self.clock()
        self._forget(outbox)
        left = deque(
            self._batches([notification for notification in outbox.notifications if self._is_due(notification, now)])
        )
        this = _Round()
        # Annotations are made one batch at a time.
        while left and not this.is_over:
            if stopping():
                return False
            self._send(left.popleft(), outbox, this)
        rest = [notification for batch in left for notification in batch]
        if rest:
            self.deliveries.put(Delivery(self.url, (), self._count(rest, now)))
        if this.given_up and this.failure is None and not self._accepted_lately(now):
            this.failure = f"alertmanager {self.url}: refuses every alert: {this.given_up}: check its logs"
        self._log(this)
        return not (this.failure or rest)

    def run(self, stopped: threading.Event, seconds: float) -> None:
        """Send until stopped."""
        while not stopped.is_set():
            self.wake.wait(seconds)
            self.wake.clear()
            try:
                self.deliver(stopped.is_set)
            except Exception:
                log.exception("notifying failed: unexpected error (bug)", alertmanager=self.url)
        self.receiver.close()

    def _is_due(self, notification: Notification, now: float) -> bool:
        if notification.ends_at is not None and self.url not in notification.owed:
            return False
        last = self._sent.get(notification.labels)
        return last is None or last[0] != notification.ends_at or _is_time(last[1], now)

    def _batches(self, due: Sequence[Notification]) -> Iterator[Sequence[Notification]]:
        """Yield what is due, critical alerts first; refused ones, and those with names from Tableau, apart."""

        def kind(notification: Notification) -> tuple[int, bool]:
            return self._doubts.get(notification.labels, 0), notification.is_about_asset

        ordered = sorted(due, key=lambda notification: (*kind(notification), not notification.is_critical))
        for _, some in itertools.groupby(ordered, kind):
            alike = list(some)
            most = _AT_ONCE[self._doubts.get(alike[0].labels, 0)]
            yield from (alike[begin : begin + most] for begin in range(0, len(alike), most))

    def _send(self, batch: Sequence[Notification], outbox: Outbox, this: _Round) -> None:
        now = self.clock()
        by_labels = {notification.labels: notification for notification in batch}
        sent = self.receiver.send(
            [notification.prepared(outbox.annotations(notification), now) for notification in batch]
        )
        accepted = [by_labels[alert.labels] for alert in sent.accepted]
        refused = [by_labels[alert.labels] for alert, _ in sent.refused]
        doubtful = [by_labels[alert.labels] for alert in sent.doubtful]
        # An alert that was refused alone before need not be tried alone again at once.
        settled = [notification for notification in doubtful if self._doubts.get(notification.labels) == REFUSED_ALONE]
        for notification in (*accepted, *refused, *settled):
            self._sent[notification.labels] = (notification.ends_at, now)
        self._doubts |= {
            notification.labels: REFUSED_WITH_OTHERS for notification in doubtful if notification not in settled
        }
        self._doubts |= {notification.labels: REFUSED_ALONE for notification in refused}
        for notification in accepted:
            self._doubts.pop(notification.labels, None)
            self._failed_at.pop(notification.labels, None)
        if accepted:
            self._accepted_at = now
        there = {notification.labels for notification in accepted}
        failed = self._count([notification for notification in batch if notification.labels not in there], now)
        self.deliveries.put(Delivery(self.url, accepted, failed))
        self._update(sent, this, now)

    def _update(self, sent: Sent, this: _Round, now: float) -> None:
        """Update the round by the result of a batch."""
        this.refused += sent.refused
        this.refusals += sent.refusals
        this.failure = sent.failure
        this.given_up = sent.fruitless or this.given_up
        this.most = REFUSALS if self._accepted_lately(now) else ALL_REFUSED

    def _accepted_lately(self, now: float) -> bool:
        return 0 <= now - self._accepted_at < 2 * RESEND_SECONDS

    def _count(self, notifications: Sequence[Notification], now: float) -> int:
        """Return how many notifications count as failed: each once per resend interval."""
        new = [
            notification.labels
            for notification in notifications
            if _is_time(self._failed_at.get(notification.labels, math.inf), now)
        ]
        self._failed_at |= dict.fromkeys(new, now)
        return len(new)

    def _log(self, this: _Round) -> None:
        """Log each refusal once, a few in a round, and a failure until it changes."""
        if this.failure is None:
            self._log_refused([(alert, reason) for alert, reason in this.refused if self._refused.is_new(alert.labels)])
            if self._failure.is_over(self.url):
                log.info("Alertmanager notified again", alertmanager=self.url)
        elif self._failure.is_new(self.url, this.failure):
            log.error("Alertmanager not notified; every alert is sent again", error=this.failure)

    def _log_refused(self, refused: Sequence[tuple[Notification, str]]) -> None:
        for alert, reason in refused[:MAX_LOG_LINES]:
            of = dict(alert.labels)
            asset = {name: line(of[name]) for name in ("site", "asset_id") if name in of}
            name = line(of.get("alertname", ""))
            log.warning("alert refused", alertmanager=self.url, alert=name, error=reason, **asset)
        if len(refused) > MAX_LOG_LINES:
            log.warning("more alerts refused", alertmanager=self.url, alerts=len(refused) - MAX_LOG_LINES)

    def _forget(self, outbox: Outbox) -> None:
        if self._sent or self._failed_at or self._doubts:
            there = {notification.labels for notification in outbox.notifications}
            self._sent = {labels: last for labels, last in self._sent.items() if labels in there}
            self._failed_at = {labels: at for labels, at in self._failed_at.items() if labels in there}
            self._doubts = {labels: doubt for labels, doubt in self._doubts.items() if labels in there}
            self._refused.retain(there)


def _is_time(last: float, now: float) -> bool:
    """Whether it is due again."""
    return not now - RESEND_SECONDS + SLACK_SECONDS < last <= now
