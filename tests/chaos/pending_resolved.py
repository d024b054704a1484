"""Model of the resolved alerts that each Alertmanager must still receive, whatever a kill left of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.alert_model import OWED_TO_ALL, OWED_TO_NOTIFIED, ModelAlert
from tests.support.fake_alertmanager import Labels


@dataclass(frozen=True)
class Due:
    """An end: when it was over (the agent's clock), at which look, and the receivers known to have the alert open."""

    over: float
    look: int
    notified: frozenset[str]

    def is_owed(self, url: str, now: float) -> bool:
        """Return whether a receiver that recovers now must be notified."""
        return now - self.over < (OWED_TO_NOTIFIED if url in self.notified else OWED_TO_ALL)


@dataclass
class Kept:
    """The known receivers of each alert, and the ends."""

    notified: dict[Labels, frozenset[str]] = field(default_factory=dict)
    ends: dict[Labels, Due] = field(default_factory=dict)

    def copy(self) -> "Kept":
        """Return it as it is now."""
        return Kept(dict(self.notified), dict(self.ends))


class PendingResolved:
    """The least that the agent must remember of this, and that its file must hold."""

    def __init__(self, alerts: Mapping[Labels, ModelAlert]) -> None:
        self._alerts = alerts
        self._file = Kept()
        self._answers: list[tuple[str, Labels]] = []
        self.memory = Kept()

    def begin(self) -> None:
        """An agent begins that has not read the file yet."""
        self.memory = Kept()
        self._answers.clear()

    def read(self) -> None:
        """The agent reads the file, and continues the alerts that were not over in the meantime."""
        for labels, alert in self._alerts.items():
            if labels in self._file.notified and alert.fires:
                self.memory.notified[labels] = self._file.notified[labels] | self.memory.notified.get(
                    labels, frozenset()
                )
            if labels in self._file.ends and not alert.may_fire and not alert.over_unread:
                self.memory.ends.setdefault(labels, self._file.ends[labels])

    def answered(self, url: str, accepted: Iterable[Labels]) -> None:
        """A receiver accepted alerts; the agent notes it at the next evaluation."""
        self._answers += [(url, labels) for labels in accepted]

    def note(self) -> None:
        """The agent notes it."""
        for url, labels in self._answers:
            if self._alerts[labels].fires:
                self.memory.notified[labels] = self.memory.notified.get(labels, frozenset()) | {url}
        self._answers.clear()

    def look(self, fired: Iterable[Labels], now: float, number: int) -> int:
        """Apply the alerts that ended and those that fire again; return how many ended."""
        before, ended = set(fired), 0
        for labels, alert in self._alerts.items():
            if alert.may_fire:
                self.memory.ends.pop(labels, None)
            if not alert.ended_now:
                continue
            notified = self.memory.notified.pop(labels, frozenset())
            if labels in before and not alert.may_fire:
                self.memory.ends[labels] = Due(now, number, notified)
                ended += 1
        return ended

    def write(self) -> None:
        """Write the remembered state."""
        self._file = self.memory.copy()
