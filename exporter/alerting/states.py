"""The states of each alert: pending, firing, resolved, and forgotten once every Alertmanager has its end.

The agent and Prometheus may send one Alertmanager the same alert, which takes the last of the two, and they evaluate at
different instants. So the agent stops sending shortly before an alert can end, and sends the end a little later than it
could; Alertmanager keeps the alert meanwhile, because of ``notification.AHEAD_SECONDS``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from exporter.alerting.notification import Pairs, bounded_labels
from exporter.alerting.rules import Rule
from exporter.alerting.snapshot import RuleResult
from exporter.history.alert_store import Alert

RESEND_SECONDS = 60.0
# How much earlier, or later, than the agent Prometheus may see the end of a condition.
EARLIER_SECONDS, LATER_SECONDS = 60.0, 120.0
REPEAT_SECONDS = 900.0
"""How long the end of an alert is sent: an Alertmanager may be restarted before it has notified its receivers."""
OWED_SECONDS = 86_400.0
"""The same, to an Alertmanager that has the alert and did not accept its end: it would stay open there."""


def is_owed(alert: Alert, url: str, now: float) -> bool:
    """Whether an Alertmanager must still be notified of the end of an alert."""
    owed = url in alert.notified and url not in alert.acknowledged
    return alert.resolved_at is not None and now - alert.resolved_at < (OWED_SECONDS if owed else REPEAT_SECONDS)


class AlertStates:
    """All alerts. ``changed`` are the labels of those that are not written to the history yet."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._active: dict[str, dict[Pairs, Alert]] = {}
        self._ended: dict[Pairs, Alert] = {}
        self.changed: set[Pairs] = set()

    def step(self, rule: Rule, found: RuleResult, now: float) -> list[Alert]:
        """Update the alerts of a rule by its result; return those that fire from now on."""
        active = self._active.setdefault(rule.name, {})
        fired = []
        for series, value in found.firing_series.items():
            alert = active.get(series)
            if alert is None:
                labels = labelled(rule, series)
                alert = active[series] = Alert(labels, value, active_since=now)
                self.mark_changed(alert)
            alert.value = value
            if alert.active_since > now:
                alert.active_since = now
                self.mark_changed(alert)
            if alert.ended_at is not None:
                alert.ended_at = None
                self.mark_changed(alert)
            if alert.fired_at is None and now - alert.active_since >= rule.for_seconds:
                alert.fired_at = now
                fired.append(alert)
                self.mark_changed(alert)
        for series, alert in list(active.items()):
            # An alert that was seen to end goes on to end, also where the condition is unknown.
            if series not in found.firing_series and (alert.ended_at is not None or not found.unknown(dict(series))):
                self._end(active, alert, rule.keep_firing_for_seconds, now)
        return fired

    def fire(self, alert: Alert, more: Mapping[str, str] | None = None) -> None:
        """Add labels to an alert that fires; an earlier end of it is not sent any more."""
        if more:
            self.mark_changed(alert)
            alert.labels = tuple(sorted({**dict(alert.labels), **more}.items()))
        if (before := self._ended.pop(alert.labels, None)) is not None:
            # Alertmanagers that have the earlier one have it open still.
            alert.notified |= before.notified - before.acknowledged
        self.mark_changed(alert)

    def _end(self, active: dict[Pairs, Alert], alert: Alert, keep_firing_for_seconds: float, now: float) -> None:
        """Update an alert whose condition does not hold."""
        if alert.fired_at is None:
            del active[alert.series]
            self.mark_changed(alert)
            return
        if alert.ended_at is None or alert.ended_at > now:
            alert.ended_at = now
            self.mark_changed(alert)
        if now - alert.ended_at >= keep_firing_for_seconds + LATER_SECONDS:
            alert.resolved_at = now
            del active[alert.series]
            self._ended[alert.labels] = alert
            self.mark_changed(alert)

    def resolve_unknown(self, now: float) -> None:
        """Resolve alerts of rules that do not exist any more."""
        for name in self._active.keys() - self._rules.keys():
            for alert in list(self._active[name].values()):
                self._end(self._active[name], alert, 0.0, now)

    def firing(self) -> Iterator[Alert]:
        """Yield every firing alert."""
        return (alert for active in self._active.values() for alert in active.values() if alert.fired_at is not None)

    def firing_to_send(self, now: float) -> Iterator[Alert]:
        """Yield the alerts to send as firing: not those that may end at any moment."""
        for alert in self.firing():
            rule = self._rules.get(alert.rule)
            keep_firing_for_seconds = rule.keep_firing_for_seconds if rule else 0.0
            if alert.ended_at is None or now - alert.ended_at < keep_firing_for_seconds - EARLIER_SECONDS:
                yield alert

    def ended(self) -> Iterable[Alert]:
        """Return every resolved alert."""
        return list(self._ended.values())

    def owed(self, alert: Alert, urls: Iterable[str], now: float) -> frozenset[str]:
        """Return the Alertmanagers that the end of an alert is sent to.

        Where it is about to fire again, Prometheus may send that first: those that accepted the end get it no more.
        """
        back = alert.series in self._active.get(alert.rule, {})
        known = alert.acknowledged if back else frozenset[str]()
        return frozenset(url for url in urls if is_owed(alert, url, now) and url not in known)

    def forget(self, urls: Iterable[str], now: float) -> None:
        """Forget the resolved alerts that no Alertmanager is owed."""
        for alert in list(self._ended.values()):
            if not any(is_owed(alert, url, now) for url in urls):
                del self._ended[alert.labels]
                self.mark_changed(alert)

    def mark_changed(self, alert: Alert) -> None:
        """Mark an alert to be written to the history."""
        self.changed.add(alert.labels)

    def of(self, labels: Iterable[Pairs]) -> list[Alert]:
        """Return the alerts with these labels."""
        wanted = set(labels)
        return [alert for alert in self.all() if alert.labels in wanted]

    def all(self) -> Iterator[Alert]:
        """Yield every alert."""
        for active in self._active.values():
            yield from active.values()
        yield from self._ended.values()

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Restore alerts from the history; those that were found since then keep their new state."""
        over = dict(self._ended)
        for alert in alerts:
            active = self._active.setdefault(alert.rule, {})
            seen = active.get(alert.series)
            # Alerts that fired or ended since then are later than those of the history.
            later = over.get(alert.labels)
            if later is None and alert.resolved_at is not None and seen is not None and seen.fired_at is not None:
                later = seen
            if later is not None:
                later.notified |= alert.notified - alert.acknowledged
                self.mark_changed(later)
            elif alert.resolved_at is not None:
                self._ended[alert.labels] = alert
            else:
                active[alert.series] = _continued(alert, seen)


def _continued(alert: Alert, seen: Alert | None) -> Alert:
    """Return an alert of the history with the state that was found since then."""
    if seen is not None:
        alert.value, alert.ended_at = seen.value, seen.ended_at
        alert.notified |= seen.notified
        alert.fired_at = alert.fired_at if alert.fired_at is not None else seen.fired_at
    return alert


def labelled(rule: Rule, series: Pairs) -> Pairs:
    """Return all labels of an alert."""
    return bounded_labels({**dict(series), "alertname": rule.alert, "severity": rule.severity})
