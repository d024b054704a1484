"""What one Alertmanager is told, and when: each has a courier of its own, so that a dead one delays no other.

An alert that is refused is told apart from the others from then on, so that it endangers none of them.
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
from exporter.alerting.notification import Notification, Pairs
from exporter.alerting.response import line
from exporter.alerting.states import RESEND_SECONDS

log = structlog.get_logger()

# Looking comes at steady intervals, and is never on the second.
SLACK_SECONDS = 1.0
REFUSALS = 256
"""After how many refusals a round ends: what was not told is told in the next, before what was refused."""
ALL_REFUSED = 2 * (FRUITLESS + SAMPLES)
"""The same where nothing was taken for minutes: two batches of which nothing is taken, and that is a failure."""
REFUSED_WITH_OTHERS, REFUSED_ALONE = 1, 2
_AT_ONCE = {0: ALERTS, REFUSED_WITH_OTHERS: 16, REFUSED_ALONE: ALERTS}
# Lines of the log for each round.
LINES = 10


class Receiver(Protocol):
    """An Alertmanager."""

    @property
    def url(self) -> str:
        """What it is called."""

    def send(self, alerts: Sequence[Notification]) -> Sent:
        """Tell it."""

    def close(self) -> None:
        """End what is open."""


@dataclass(frozen=True)
class Outbox:
    """Everything that must be told now, and how it is put into words."""

    notifications: Sequence[Notification] = ()
    annotations: Callable[[Notification], dict[str, str]] = lambda _message: {}


@dataclass(frozen=True)
class Delivery:
    """What became of a batch: what an Alertmanager took, and how many it did not take, each counted once a minute."""

    url: str
    taken: Sequence[Notification]
    failed: int


@dataclass
class _Round:
    """How one round went so far."""

    failure: str | None = None
    refused: list[tuple[Notification, str]] = field(default_factory=list)
    refusals: int = 0
    most: int = REFUSALS
    given_up: str | None = None
    """Why a batch was given up of which nothing was taken."""

    @property
    def is_over(self) -> bool:
        """Whether no more is tried: it would fail as well, or take too long."""
        return self.failure is not None or self.refusals >= self.most


@dataclass
class Notifier:
    """Tells one Alertmanager; only its own thread, or a test, calls ``deliver``."""

    receiver: Receiver
    clock: Callable[[], float]
    receipts: "queue.SimpleQueue[Delivery]"
    outbox: Outbox = field(default_factory=Outbox)
    """Replaced whole by whoever knows what must be told."""
    wake: threading.Event = field(default_factory=threading.Event)
    _told: dict[Pairs, tuple[float | None, float]] = field(default_factory=dict)
    _failed_at: dict[Pairs, float] = field(default_factory=dict)
    _doubts: dict[Pairs, int] = field(default_factory=dict)
    _took_at: float = -math.inf
    _trouble: str | None = None
    _named: set[Pairs] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Whom it tells."""
        return self.receiver.url

    def deliver(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Tell what is due; return whether all of it could be told. What could not is due again the next time."""
        outbox, now = self.outbox, self.clock()
        self._forget(outbox)
        left = deque(
            self._batches([notification for notification in outbox.notifications if self._is_due(notification, now)])
        )
        this = _Round()
        # A batch at a time is put into words.
        while left and not this.is_over:
            if stopping():
                return False
            self._send(left.popleft(), outbox, this)
        rest = [notification for batch in left for notification in batch]
        if rest:
            self.receipts.put(Delivery(self.url, (), self._count(rest, now)))
        if this.given_up and this.failure is None and not self._took_lately(now):
            this.failure = f"alertmanager {self.url}: refuses whatever it is told: {this.given_up}: look at its logs"
        self._complain(this)
        return not (this.failure or rest)

    def run(self, stopped: threading.Event, seconds: float) -> None:
        """Tell until told to stop."""
        while not stopped.is_set():
            self.wake.wait(seconds)
            self.wake.clear()
            try:
                self.deliver(stopped.is_set)
            except Exception:
                log.exception("notifying failed for a reason that is a defect of this program", alertmanager=self.url)
        self.receiver.close()

    def _is_due(self, notification: Notification, now: float) -> bool:
        if notification.ends_at is not None and self.url not in notification.owed:
            return False
        told = self._told.get(notification.labels)
        return told is None or told[0] != notification.ends_at or _is_time(told[1], now)

    def _batches(self, due: Sequence[Notification]) -> Iterator[Sequence[Notification]]:
        """Yield what is due, the weightiest first; what is in doubt, or has a stranger's names, endangers no other."""

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
        taken = [by_labels[alert.labels] for alert in sent.accepted]
        refused = [by_labels[alert.labels] for alert, _ in sent.refused]
        doubtful = [by_labels[alert.labels] for alert in sent.doubtful]
        # Who was refused alone before, and is now with others, need not be asked about again at once.
        settled = [notification for notification in doubtful if self._doubts.get(notification.labels) == REFUSED_ALONE]
        for notification in (*taken, *refused, *settled):
            self._told[notification.labels] = (notification.ends_at, now)
        self._doubts |= {
            notification.labels: REFUSED_WITH_OTHERS for notification in doubtful if notification not in settled
        }
        self._doubts |= {notification.labels: REFUSED_ALONE for notification in refused}
        for notification in taken:
            self._doubts.pop(notification.labels, None)
            self._failed_at.pop(notification.labels, None)
        if taken:
            self._took_at = now
        there = {notification.labels for notification in taken}
        failed = self._count([notification for notification in batch if notification.labels not in there], now)
        self.receipts.put(Delivery(self.url, taken, failed))
        self._judge(sent, this, now)

    def _judge(self, sent: Sent, this: _Round, now: float) -> None:
        """Go on with a round by what came of a batch."""
        this.refused += sent.refused
        this.refusals += sent.refusals
        this.failure = sent.failure
        this.given_up = sent.fruitless or this.given_up
        this.most = REFUSALS if self._took_lately(now) else ALL_REFUSED

    def _took_lately(self, now: float) -> bool:
        return 0 <= now - self._took_at < 2 * RESEND_SECONDS

    def _count(self, notifications: Sequence[Notification], now: float) -> int:
        """Return how many of what was not taken count as failed: each once in the time after which it is told again."""
        new = [
            notification.labels
            for notification in notifications
            if _is_time(self._failed_at.get(notification.labels, math.inf), now)
        ]
        self._failed_at |= dict.fromkeys(new, now)
        return len(new)

    def _complain(self, this: _Round) -> None:
        """Say what is new: each refusal once, a few in a round, and a failure until it changes."""
        if this.failure is None:
            self._name([(alert, reason) for alert, reason in this.refused if alert.labels not in self._named])
        if this.failure and this.failure != self._trouble:
            log.error("an Alertmanager is not notified; every alert is sent again", error=this.failure)
        elif self._trouble and not this.failure:
            log.info("the Alertmanager is notified again", alertmanager=self.url)
        self._trouble = this.failure

    def _name(self, refused: Sequence[tuple[Notification, str]]) -> None:
        for alert, reason in refused[:LINES]:
            of = dict(alert.labels)
            asset = {name: line(of[name]) for name in ("site", "asset_id") if name in of}
            name = line(of.get("alertname", ""))
            log.warning("an alert was refused", alertmanager=self.url, alert=name, error=reason, **asset)
        if len(refused) > LINES:
            log.warning("more alerts were refused", alertmanager=self.url, alerts=len(refused) - LINES)
        self._named |= {alert.labels for alert, _ in refused}

    def _forget(self, outbox: Outbox) -> None:
        if self._told or self._failed_at or self._doubts:
            there = {notification.labels for notification in outbox.notifications}
            self._told = {labels: told for labels, told in self._told.items() if labels in there}
            self._failed_at = {labels: at for labels, at in self._failed_at.items() if labels in there}
            self._doubts = {labels: doubt for labels, doubt in self._doubts.items() if labels in there}
            self._named &= there


def _is_time(last: float, now: float) -> bool:
    """Tell whether what was done then is to be done again."""
    return not now - RESEND_SECONDS + SLACK_SECONDS < last <= now
