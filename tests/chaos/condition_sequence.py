"""Seeded input of the rules: conditions come and go, sources are silent, rules fail."""

from dataclasses import dataclass
from random import Random

from tests.chaos.alert_model import AWAY, HOLDS, RAISES, UNKNOWN
from tests.chaos.forked_notifier import KINDS, Kind
from tests.support.fake_alertmanager import Labels

BEGIN = 1_700_000_000
MINUTE, HOUR = 60, 3600
ASSETS = ("a", "b", "c")
NOT_EVALUATED = Kind("TableauAlertNotEvaluated", "warning", 300.0, 0.0)


@dataclass
class Phase:
    """Something that is so until an instant, and then otherwise."""

    on: bool = False
    until: int = BEGIN


class ConditionSequence:
    """The conditions that hold; ``alerts`` are all possible ones."""

    def __init__(self, chance: Random) -> None:
        self.rests = False
        """Whether nothing holds any more, and everything is known."""
        self.alerts: dict[Labels, Kind] = {}
        self._chance = chance
        self._conditions = {labels: Phase() for kind in KINDS for labels in _of(kind)}
        self._raising = {kind.alert: Phase() for kind in KINDS}
        self._silent = {kind.alert: Phase() for kind in KINDS}
        for kind in KINDS:
            self.alerts |= dict.fromkeys(_of(kind), kind)
            self.alerts[_labels(NOT_EVALUATED, rule=f"{kind.alert} {kind.severity}")] = NOT_EVALUATED

    def go_on(self, time: int) -> None:
        """Start and end the conditions due at an instant."""
        for phase in self._conditions.values():
            self._turn(phase, time, 1.0, (10, 4 * MINUTE), (3 * MINUTE, 15 * MINUTE), (15 * MINUTE, HOUR))
        for phase in (*self._raising.values(), *self._silent.values()):
            self._turn(phase, time, 0.006, (15, 4 * MINUTE), (4 * MINUTE, 20 * MINUTE))

    def _turn(self, phase: Phase, time: int, likely: float, *spans: tuple[int, int]) -> None:
        if time < phase.until:
            return
        if phase.on or self._chance.random() < likely:
            phase.on = not phase.on
            if phase.on or likely == 1.0:
                phase.until = time + self._chance.randint(*self._chance.choice(spans))

    def seen(self, labels: Labels) -> str:
        """Return the rule's samples for an alert."""
        of = dict(labels)
        if self.rests:
            return AWAY
        if "rule" in of:
            return HOLDS if self._raising[of["rule"].split(maxsplit=1)[0]].on else AWAY
        if self._raising[of["alertname"]].on:
            return RAISES
        if self._silent[of["alertname"]].on:
            return UNKNOWN
        return HOLDS if self._conditions[labels].on else AWAY

    def published(self, kind: Kind) -> dict[str, object]:
        """Return the same of all alerts of a rule, as a process receives it."""
        seen = {labels: self.seen(labels) for labels in _of(kind)}
        holding = [labels for labels, what in seen.items() if what == HOLDS]
        return {
            "holding": [[pair for pair in labels if pair[0] not in ("alertname", "severity")] for labels in holding],
            "silent": UNKNOWN in seen.values(),
            "raises": RAISES in seen.values(),
        }


def _of(kind: Kind) -> list[Labels]:
    return [_labels(kind, asset_id=asset, asset_type="workbook") for asset in ASSETS]


def _labels(kind: Kind, **others: str) -> Labels:
    return tuple(sorted({"alertname": kind.alert, "severity": kind.severity, **others}.items()))
