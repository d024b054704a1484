"""The course of each alert: pending, firing, ended, and forgotten once everybody who must knows it.

Two senders may tell one Alertmanager the same: the agent and Prometheus. Whoever says last "fires" or "has ended" is
believed, and they look at different instants. So the agent falls silent shortly before an alert can end and says that
it has ended a little later than it could; Alertmanager holds it meanwhile, because of ``notification.AHEAD_SECONDS``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from exporter.alerting.notification import Pairs, bounded_labels
from exporter.alerting.rules import Rule
from exporter.alerting.snapshot import RuleResult
from exporter.history.alerting import Alert

RESEND_SECONDS = 60.0
# By so much Prometheus may see the end of a condition earlier, or later, than the agent does.
EARLIER_SECONDS, LATER_SECONDS = 60.0, 120.0
REPEAT_SECONDS = 900.0
"""For how long the end of an alert is told: one that took it may be restarted before it has told anybody."""
OWED_SECONDS = 86_400.0
"""The same, to one that was told of the alert and has not taken its end: it would be open there for ever."""


def is_owed(alert: Alert, url: str, now: float) -> bool:
    """Whether an Alertmanager must still be notified of the end of an alert."""
    owed = url in alert.notified and url not in alert.acknowledged
    return alert.resolved_at is not None and now - alert.resolved_at < (OWED_SECONDS if owed else REPEAT_SECONDS)


class AlertStates:
    """Every alert that is not forgotten yet. ``changed`` are those of which the history does not know yet."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._active: dict[str, dict[Pairs, Alert]] = {}
        self._ended: dict[Pairs, Alert] = {}
        self.changed: set[Pairs] = set()

    def step(self, rule: Rule, found: RuleResult, now: float) -> list[Alert]:
        """Go on with a rule's alerts by what was found; return those that fire from now on."""
        active = self._active.setdefault(rule.name, {})
        fired = []
        for pairs, value in found.holding.items():
            alert = active.get(pairs)
            if alert is None:
                labels = labelled(rule, pairs)
                alert = active[pairs] = Alert(labels, value, active_since=now)
                self.touch(alert)
            alert.value = value
            if alert.active_since > now:
                alert.active_since = now
                self.touch(alert)
            if alert.ended_at is not None:
                alert.ended_at = None
                self.touch(alert)
            if alert.fired_at is None and now - alert.active_since >= rule.for_seconds:
                alert.fired_at = now
                fired.append(alert)
                self.touch(alert)
        for pairs, alert in list(active.items()):
            # What was seen to end goes on to end, also when nothing more is known.
            if pairs not in found.holding and (alert.ended_at is not None or not found.unknown(dict(pairs))):
                self._away(active, alert, rule.keep_firing_for_seconds, now)
        return fired

    def fire(self, alert: Alert, more: Mapping[str, str] | None = None) -> None:
        """Let a fired alert take its place, with more labels; an end that was not told to all is over with that."""
        if more:
            self.touch(alert)
            alert.labels = tuple(sorted({**dict(alert.labels), **more}.items()))
        if (before := self._ended.pop(alert.labels, None)) is not None:
            # Who was told of it then has it open still.
            alert.notified |= before.notified - before.acknowledged
        self.touch(alert)

    def _away(self, active: dict[Pairs, Alert], alert: Alert, keep_firing_for_seconds: float, now: float) -> None:
        """Go on with an alert whose condition does not hold."""
        if alert.fired_at is None:
            del active[alert.series]
            self.touch(alert)
            return
        if alert.ended_at is None or alert.ended_at > now:
            alert.ended_at = now
            self.touch(alert)
        if now - alert.ended_at >= keep_firing_for_seconds + LATER_SECONDS:
            alert.resolved_at = now
            del active[alert.series]
            self._ended[alert.labels] = alert
            self.touch(alert)

    def drop_unknown(self, now: float) -> None:
        """End what no rule of this program raises."""
        for name in self._active.keys() - self._rules.keys():
            for alert in list(self._active[name].values()):
                self._away(self._active[name], alert, 0.0, now)

    def firing(self) -> Iterator[Alert]:
        """Yield every alert that fires."""
        return (alert for active in self._active.values() for alert in active.values() if alert.fired_at is not None)

    def sent_as_firing(self, now: float) -> Iterator[Alert]:
        """Yield what is told to fire: not what may end at any moment."""
        for alert in self.firing():
            rule = self._rules.get(alert.rule)
            keep_firing_for_seconds = rule.keep_firing_for_seconds if rule else 0.0
            if alert.ended_at is None or now - alert.ended_at < keep_firing_for_seconds - EARLIER_SECONDS:
                yield alert

    def ended(self) -> Iterable[Alert]:
        """Return every alert whose end is told."""
        return list(self._ended.values())

    def owed(self, alert: Alert, urls: Iterable[str], now: float) -> frozenset[str]:
        """Return which Alertmanagers are told that an alert has ended.

        Where it is about to fire again, Prometheus may say so first: nobody is told the end who knows it.
        """
        back = alert.series in self._active.get(alert.rule, {})
        known = alert.acknowledged if back else frozenset[str]()
        return frozenset(url for url in urls if is_owed(alert, url, now) and url not in known)

    def forget(self, urls: Iterable[str], now: float) -> None:
        """Forget the ends that nobody must be told of any more."""
        for alert in list(self._ended.values()):
            if not any(is_owed(alert, url, now) for url in urls):
                del self._ended[alert.labels]
                self.touch(alert)

    def touch(self, alert: Alert) -> None:
        """Say that an alert changed."""
        self.changed.add(alert.labels)

    def of(self, labels: Iterable[Pairs]) -> list[Alert]:
        """Return what there is of some alerts."""
        wanted = set(labels)
        return [alert for alert in self.all() if alert.labels in wanted]

    def all(self) -> Iterator[Alert]:
        """Yield every alert."""
        for active in self._active.values():
            yield from active.values()
        yield from self._ended.values()

    def remember(self, alerts: Iterable[Alert]) -> None:
        """Take up what the history kept; of an alert that was seen since then, since when it is there."""
        over = dict(self._ended)
        for alert in alerts:
            active = self._active.setdefault(alert.rule, {})
            seen = active.get(alert.series)
            # What fired since then and what ended since then are later than either.
            later = over.get(alert.labels)
            if later is None and alert.resolved_at is not None and seen is not None and seen.fired_at is not None:
                later = seen
            if later is not None:
                later.notified |= alert.notified - alert.acknowledged
                self.touch(later)
            elif alert.resolved_at is not None:
                self._ended[alert.labels] = alert
            else:
                active[alert.series] = _continued(alert, seen)


def _continued(alert: Alert, seen: Alert | None) -> Alert:
    """Return an alert that the history kept as it was seen since then."""
    if seen is not None:
        alert.value, alert.ended_at = seen.value, seen.ended_at
        alert.notified |= seen.notified
        alert.fired_at = alert.fired_at if alert.fired_at is not None else seen.fired_at
    return alert


def labelled(rule: Rule, pairs: Pairs) -> Pairs:
    """Return all labels of an alert."""
    return bounded_labels({**dict(pairs), "alertname": rule.alert, "severity": rule.severity})
