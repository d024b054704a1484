"""Notifications as lines on the terminal. Names in them come from outside: no control character is printed."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from exporter.demo.receiver import Notification
from exporter.texts import one_line, visible

LONGEST = 120
PACE_SECONDS, PACE_LINES = 30.0, 12
FIRING, RESOLVED = "firing", "resolved"


class NoticedAlert(NamedTuple):
    """One alert of a notification."""

    status: str
    labels: Mapping[str, object]
    annotations: Mapping[str, object]

    @property
    def identity(self) -> str:
        """The identity of the alert."""
        return repr(sorted(self.labels.items()))


class Pace:
    """Limits the lines of half a minute; the rest is counted, and reported once at its end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = -math.inf
        self._left = 0
        self._withheld = 0

    def allows(self) -> bool:
        """Return whether another line may be printed now."""
        if self._clock() >= self._until and not self._withheld:
            self._until, self._left = self._clock() + PACE_SECONDS, PACE_LINES
        if self._left == 0:
            self._withheld += 1
            return False
        self._left -= 1
        return True

    def withheld(self) -> int:
        """Return how many lines were withheld in the half minute that is over now; else 0."""
        if self._clock() < self._until:
            return 0
        count, self._withheld = self._withheld, 0
        return count


class Notices:
    """The notifications that were printed, by receiver: a group is sent whole whenever one of its alerts changes."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], str] = {}

    def new(self, notifications: Iterable[Notification]) -> list[tuple[NoticedAlert, list[str]]]:
        """Return each alert that changed, the critical first, and the receivers that learned so just now."""
        news: dict[tuple[str, str], tuple[NoticedAlert, list[str]]] = {}
        for notification in notifications:
            receiver = str(notification.get("receiver"))
            for alert in map(_alert, notification["alerts"]):
                if self._told.get((alert.identity, receiver)) == alert.status:
                    continue
                self._told[alert.identity, receiver] = alert.status
                news.setdefault((alert.identity, alert.status), (alert, []))[1].append(receiver)
        return sorted(news.values(), key=lambda item: item[0].labels.get("severity") != "critical")


def line(alert: NoticedAlert, receivers: list[str]) -> str:
    """Return the line of an alert: status, severity, asset, age, SLA, owner and receivers."""
    name, severity = (_printable(alert.labels.get(key, "")) for key in ("alertname", "severity"))
    names = ", ".join(map(_printable, receivers))
    return f"{alert.status:<8}  {severity:<8}  {name}: {_asset(alert) or _summary(alert)}  -> {names}"


def _asset(alert: NoticedAlert) -> str:
    labels = {key: _printable(value) for key, value in alert.labels.items()}
    if not labels.get("asset_name"):
        return ""
    hours, sla = (_printable(alert.annotations.get(key, "")) for key in ("hours", "promised"))
    # What a resolved alert was is no longer so.
    was = "was " if alert.status == RESOLVED else ""
    age = f", data age {was}{hours} h, SLA {sla} h" if hours else ""
    place = f'{labels.get("asset_type", "asset")} "{labels["asset_name"]}" in {labels.get("project", "?")}'
    return f"{place}{age}, owner {labels.get('content_owner') or 'unknown'}"


def _summary(alert: NoticedAlert) -> str:
    return _printable(alert.annotations.get("summary", ""))


def _printable(value: object) -> str:
    text = visible(one_line(value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _alert(found: Any) -> NoticedAlert:  # noqa: ANN401 - JSON
    found = found if isinstance(found, dict) else {}
    labels, annotations = (
        value if isinstance(value := found.get(key), dict) else {} for key in ("labels", "annotations")
    )
    return NoticedAlert(RESOLVED if found.get("status") == RESOLVED else FIRING, labels, annotations)
