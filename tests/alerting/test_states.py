"""The course of an alert, by an injected clock."""

from collections.abc import Mapping

import pytest

from exporter.alerting.rules import Rule
from exporter.alerting.snapshot import RuleResult
from exporter.alerting.states import LATER_SECONDS, AlertStates, is_owed

WAIT, KEEP = 300.0, 300.0
RULE = Rule("TableauAssetStale", "critical", WAIT, lambda _view: RuleResult({}), "s", "d", keep_firing_for_seconds=KEEP)
ASSET = (("asset_id", "a"), ("asset_type", "workbook"), ("site", "default"))
ALERTMANAGER, OTHER = "http://one", "http://two"
HOLDS, AWAY = RuleResult({ASSET: 30.0}), RuleResult({})


def unknown(_labels: Mapping[str, str]) -> bool:
    """Return unknown."""
    return True


SILENT = RuleResult({}, unknown)


class Course:
    """One rule's alerts, evaluated every quarter of a minute."""

    def __init__(self) -> None:
        self.states = AlertStates([RULE])
        self.now = 1_000_000.0

    def go(self, found: RuleResult, seconds: float = 15.0) -> list[str]:
        """Evaluate for so long; return the states of all alerts."""
        until = self.now + seconds
        while self.now < until:
            self.now += 15.0
            for alert in self.states.step(RULE, found, self.now):
                self.states.fire(alert)
        return [alert.state for alert in self.states.all()]

    def sent_as_firing(self) -> int:
        """Return how many alerts are sent as firing."""
        return len(list(self.states.firing_to_send(self.now)))


@pytest.fixture
def course() -> Course:
    """Nothing yet."""
    return Course()


def test_it_fires_when_its_condition_has_held_long_enough(course: Course) -> None:
    """Pending until the wait is over, firing from then on."""
    assert course.go(HOLDS, WAIT) == ["pending"]
    assert course.go(HOLDS) == ["firing"]
    assert course.sent_as_firing() == 1


def test_what_passes_soon_never_fires(course: Course) -> None:
    """A condition that ends before the wait is over is forgotten, and waits anew."""
    course.go(HOLDS, WAIT)
    assert course.go(AWAY) == []
    assert course.go(HOLDS, WAIT) == ["pending"]


def test_it_ends_when_its_condition_was_away_long_enough(course: Course) -> None:
    """It is sent as firing while it is retained, not in the minutes in which it may end, and has ended after those."""
    course.go(HOLDS, WAIT + 15)
    assert course.go(AWAY, KEEP - 75) == ["firing"]
    assert course.sent_as_firing() == 1
    assert course.go(AWAY, 30) == ["firing"]
    assert course.sent_as_firing() == 0
    assert course.go(AWAY, 60 + LATER_SECONDS) == ["resolved"]


def test_it_goes_on_when_its_condition_comes_back(course: Course) -> None:
    """While it is retained it is the same alert."""
    course.go(HOLDS, WAIT + 15)
    (alert,) = course.states.all()
    course.go(AWAY, KEEP)
    assert course.go(HOLDS) == ["firing"]
    assert list(course.states.all()) == [alert]
    assert course.sent_as_firing() == 1
    assert course.go(AWAY, KEEP) == ["firing"]


@pytest.mark.parametrize("firing", [False, True])
def test_what_is_not_known_stays_as_it_is(course: Course, *, firing: bool) -> None:
    """While the condition is unknown, no alert fires and none ends, for however long."""
    course.go(HOLDS, WAIT + 15 if firing else WAIT)
    assert course.go(SILENT, 7200) == ["firing" if firing else "pending"]


def test_what_was_seen_to_end_ends(course: Course) -> None:
    """It is dropped when it is no longer known: it would be sent neither as firing nor as ended."""
    course.go(HOLDS, WAIT + 15)
    course.go(AWAY)
    assert course.go(SILENT, KEEP + LATER_SECONDS) == ["resolved"]


def test_an_end_is_owed_to_notified_receivers(course: Course) -> None:
    """A receiver of the alert, or of its end, is owed its end for a day, others for a quarter of an hour."""
    course.go(HOLDS, WAIT + 15)
    (alert,) = course.states.all()
    alert.notified.add(ALERTMANAGER)
    course.go(AWAY, KEEP + LATER_SECONDS + 15)
    ended = course.now
    assert is_owed(alert, ALERTMANAGER, ended + 86_399)
    assert not is_owed(alert, ALERTMANAGER, ended + 86_401)
    assert is_owed(alert, OTHER, ended + 899)
    assert not is_owed(alert, OTHER, ended + 901)
    alert.acknowledged.add(ALERTMANAGER)
    assert is_owed(alert, ALERTMANAGER, ended + 899)
    assert not is_owed(alert, ALERTMANAGER, ended + 901)


def test_an_end_that_all_took_is_forgotten(course: Course) -> None:
    """An alert that is owed to no receiver is removed, also from the history."""
    course.go(HOLDS, WAIT + 15)
    course.go(AWAY, KEEP + LATER_SECONDS + 15)
    (alert,) = course.states.all()
    course.states.changed.clear()
    course.states.forget([ALERTMANAGER], course.now)
    assert course.states.changed == set()
    alert.notified.add(ALERTMANAGER)
    alert.acknowledged.add(ALERTMANAGER)
    course.states.forget([ALERTMANAGER], course.now + 899)
    assert course.states.changed == set()
    course.states.forget([ALERTMANAGER], course.now + 901)
    assert list(course.states.all()) == []
    assert course.states.changed == {alert.labels}


def test_who_was_not_told_of_an_end_is_owed_the_next(course: Course) -> None:
    """An alert that fires again before its end was accepted replaces it, and retains its receivers."""
    course.go(HOLDS, WAIT + 15)
    (alert,) = course.states.all()
    alert.notified |= {ALERTMANAGER, OTHER}
    course.go(AWAY, KEEP + LATER_SECONDS + 15)
    alert.acknowledged.add(OTHER)
    assert course.go(HOLDS, WAIT) == ["pending", "resolved"]
    assert course.go(HOLDS) == ["firing"]
    (again,) = course.states.all()
    assert again.notified == {ALERTMANAGER}


def test_a_clock_that_is_set_back_delays_nothing(course: Course) -> None:
    """A start in the future becomes now."""
    course.go(HOLDS, 60)
    course.states.changed.clear()
    course.now -= 86_400
    course.go(HOLDS)
    assert course.states.changed
    course.go(HOLDS, WAIT)
    assert [alert.state for alert in course.states.all()] == ["firing"]


def test_what_no_rule_raises_any_more_ends(course: Course) -> None:
    """An alert of an older program, or of a removed rule, does not fire for ever."""
    course.go(HOLDS, WAIT + 15)
    others = AlertStates([])
    others.restore(course.states.all())
    others.resolve_unknown(course.now)
    others.resolve_unknown(course.now + LATER_SECONDS)
    assert [alert.state for alert in others.all()] == ["resolved"]


def test_more_labels_are_another_line_of_the_history(course: Course) -> None:
    """Where an alert is sent with a label more, the line without it is replaced."""
    course.now += 15
    course.states.step(RULE, HOLDS, course.now)
    (pending,) = course.states.all()
    before = pending.labels
    course.states.changed.clear()
    course.now += WAIT
    (fired,) = course.states.step(RULE, HOLDS, course.now)
    course.states.fire(fired, {"owner_email": "priya@example.com"})
    assert dict(fired.labels)["owner_email"] == "priya@example.com"
    assert course.states.changed == {before, fired.labels}


def late(course: Course, found: RuleResult, seconds: float) -> AlertStates:
    """Continue with another agent, which cannot read the last one's alerts yet; return the alerts it found."""
    course.states = AlertStates([RULE])
    course.go(found, seconds)
    return course.states


def test_an_end_that_is_read_late_ends_nothing_that_fires(course: Course) -> None:
    """An earlier end is over with the new alert; receivers that had the alert open still have it open."""
    course.go(HOLDS, WAIT + 15)
    (before,) = course.states.all()
    before.notified |= {ALERTMANAGER, OTHER}
    course.go(AWAY, KEEP + LATER_SECONDS + 15)
    before.acknowledged.add(OTHER)
    states = late(course, HOLDS, WAIT + 15)
    states.restore([before])
    (alert,) = states.all()
    assert alert.state == "firing"
    assert alert.notified == {ALERTMANAGER}


def test_what_is_read_late_does_not_fire_again(course: Course) -> None:
    """An alert that ended since then has ended; its earlier receivers are owed that end."""
    course.go(HOLDS, WAIT + 15)
    (before,) = course.states.all()
    before.notified.add(ALERTMANAGER)
    states = late(course, HOLDS, WAIT + 15)
    course.go(AWAY, KEEP + LATER_SECONDS + 15)
    states.restore([before])
    (alert,) = states.all()
    assert alert.state == "resolved"
    assert alert.notified == {ALERTMANAGER}
