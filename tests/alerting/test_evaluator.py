"""Evaluation, storage and notification by an injected clock, on a real history and over real HTTP."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from exporter.alerting import conditions
from exporter.alerting.evaluator import NotificationOptions
from exporter.alerting.notification import Pairs
from exporter.alerting.rules import RULES, Rule
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.snapshot import MetricSnapshot, RuleResult, SourceStates
from exporter.alerting.states import LATER_SECONDS
from exporter.collectors.assets.metrics import DUE
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.history import alert_store as alert_tables
from exporter.history.file import Limits
from exporter.history.transaction import Transaction
from exporter.metrics import Block, Labels
from tests.support.fake_alertmanager import ERRS, WELL, FakeAlertmanager
from tests.support.notifier_harness import NotifierHarness

BOOK: Pairs = (("asset_id", "luid-1"), ("asset_name", "Month End"), ("asset_type", "workbook"), ("site", "default"))
SENT, FAILED = "tableau_notifications_sent_total", "tableau_notifications_failed_total"
FIRING = "tableau_notifications_firing"
MINUTE = 60.0


class ScriptedRule:
    """A rule whose condition a test sets."""

    def __init__(self) -> None:
        self.firing_series: dict[Pairs, float] = {}
        self.fails = False
        self.rule = self.saying("{span}")

    def saying(self, description: str) -> Rule:
        """Return the rule with another description."""
        name = "TableauAssetRefreshLate"
        return Rule(name, "warning", 5 * MINUTE, self.find, "{asset_name} is late.", description, 5 * MINUTE)

    def find(self, _view: MetricSnapshot) -> RuleResult:
        """Return the samples that hold now."""
        if self.fails:
            raise ZeroDivisionError
        return RuleResult(dict(self.firing_series))


@pytest.fixture
def scripted() -> ScriptedRule:
    """A condition that does not hold yet."""
    return ScriptedRule()


@pytest.fixture
def receivers() -> Iterator[list[FakeAlertmanager]]:
    """Three Alertmanagers."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeAlertmanager()) for _ in range(3)]


@pytest.fixture
def harness(tmp_path: Path, receivers: list[FakeAlertmanager], scripted: ScriptedRule) -> NotifierHarness:
    """A notifier of the three Alertmanagers."""
    harness = NotifierHarness(tmp_path / "history.duckdb", [receiver.url for receiver in receivers], [scripted.rule])
    for receiver in receivers:
        receiver.clock = lambda: harness.now
    return harness


def fire(harness: NotifierHarness, scripted: ScriptedRule) -> None:
    """Let the alert fire."""
    scripted.firing_series = {BOOK: 7200.0}
    harness.go(5 * MINUTE + 15)


def end(harness: NotifierHarness, scripted: ScriptedRule) -> None:
    """Let it end."""
    scripted.firing_series = {}
    harness.go(5 * MINUTE + LATER_SECONDS + 15)


def test_all_are_told_and_again_every_minute(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """Each Alertmanager is notified when it fires and then every minute, with an end four minutes ahead."""
    fire(harness, scripted)
    begun = harness.now
    harness.go(10 * MINUTE)
    for receiver in receivers:
        assert len(receiver.notified) == 11
        assert {notified.starts_at for notified in receiver.notified} == {begun}
        assert receiver.notified[-1].ends_at == harness.now + 240
    assert harness.value(FIRING) == 1


def test_the_end_is_told_for_a_quarter_of_an_hour(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """It is sent with the instant of its end, every minute also after it was accepted; then the history forgets it.

    An Alertmanager that is restarted after it took the end, and before it notified its receivers, has lost it.
    """
    fire(harness, scripted)
    fired = harness.now
    end(harness, scripted)
    harness.go(20 * MINUTE)
    for receiver in receivers:
        assert len(receiver.ends) == 15
        assert {(notified.starts_at, notified.ends_at) for notified in receiver.ends} == {(fired, fired + 15)}
    assert harness.kept() == []
    assert harness.value(FIRING) == 0


def test_an_end_is_not_told_while_it_may_fire_again(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """A pending alert may fire in Prometheus a moment before it does in the agent: no end is sent in between."""
    fire(harness, scripted)
    end(harness, scripted)
    harness.go(MINUTE)
    for receiver in receivers:
        receiver.notified.clear()
    scripted.firing_series = {BOOK: 7300.0}
    harness.go(10 * MINUTE)
    for receiver in receivers:
        assert receiver.notified
        assert not receiver.ends


@pytest.mark.parametrize("name", ["w" * 5000, "lone \udcff surrogate"])
def test_a_name_of_any_length_is_one_alert(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager], name: str
) -> None:
    """A label that is cut, or that cannot be encoded, is the same alert after a restart: it fires on."""
    labels = Labels(DUE.labels, [[value] for value in ("default", "Finance", "workbook", "luid-1", name)])
    block = Block(DUE, labels, [harness.now])
    view = MetricSnapshot([block], harness.now, harness.store.past, SourceStates())
    ((pairs, _),) = view.samples(DUE)
    scripted.firing_series = {pairs: 7200.0}
    harness.go(5 * MINUTE + 15)
    fired = harness.now
    harness.restart()
    harness.go(20 * MINUTE)
    for receiver in receivers:
        assert not receiver.ends
        assert {notified.starts_at for notified in receiver.notified} == {fired}


def test_an_agent_that_has_just_begun_says_of_nothing_that_it_is_over(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """Until every source was polled an alert of the last agent neither fires nor ends."""
    fire(harness, scripted)
    harness.restart()
    scripted.firing_series = {}
    harness.sources = lambda: SourceStates(awaited=True)
    harness.go(30 * MINUTE)
    assert len(receivers[0].open_at(harness.now)) == 1
    harness.sources = SourceStates
    end(harness, scripted)
    assert receivers[0].ends


def test_a_dead_one_delays_no_other(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """Two are notified as if the third were up; it gets every firing alert when it is back."""
    receivers[0].behave(ERRS)
    fire(harness, scripted)
    assert [len(receiver.notified) for receiver in receivers] == [0, 1, 1]
    receivers[0].behave(WELL)
    harness.go(15)
    assert [len(receiver.notified) for receiver in receivers] == [1, 1, 1]


@pytest.mark.parametrize(("notified", "away", "owed"), [(False, 12, True), (False, 20, False), (True, 130, True)])
def test_an_end_that_was_missed(
    harness: NotifierHarness,
    scripted: ScriptedRule,
    receivers: list[FakeAlertmanager],
    *,
    notified: bool,
    away: float,
    owed: bool,
) -> None:
    """A notified Alertmanager gets the end hours later; one that never was notified, for 15 minutes."""
    receivers[0].behave(WELL if notified else ERRS)
    fire(harness, scripted)
    receivers[0].behave(ERRS)
    end(harness, scripted)
    harness.go(away * MINUTE, away * MINUTE / 10)
    receivers[0].behave(WELL)
    harness.go(MINUTE)
    assert bool(receivers[0].ends) == owed
    assert all(receiver.ends for receiver in receivers[1:])


def test_a_restart_changes_nothing(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """Pending keeps waiting, firing keeps the instant at which it began, an end is sent by the next agent."""
    scripted.firing_series = {BOOK: 7200.0}
    harness.go(4 * MINUTE)
    harness.restart()
    harness.go(MINUTE + 15)
    fired = harness.now
    assert {notified.starts_at for receiver in receivers for notified in receiver.notified} == {fired}
    harness.restart()
    harness.step()
    assert [len(receiver.notified) for receiver in receivers] == [2, 2, 2]
    assert {notified.starts_at for receiver in receivers for notified in receiver.notified} == {fired}
    for receiver in receivers:
        receiver.behave(ERRS)
    end(harness, scripted)
    harness.restart()
    for receiver in receivers:
        receiver.behave(WELL)
    harness.step()
    assert all(receiver.ends for receiver in receivers)


def test_what_is_told_was_written_before(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """A killed agent's successor continues with the alerts that were sent."""
    scripted.firing_series = {BOOK: 7200.0}
    harness.go(5 * MINUTE)
    harness.now += 15
    harness.rule_manager.step()
    assert harness.kept() == [("TableauAssetRefreshLate", "firing")]
    assert not receivers[0].notified


def test_a_held_history_does_not_stop_notifications(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """While another program holds the file alerts fire and end, and are written when it is free."""
    harness.step()
    with duckdb.connect(str(harness.path)):
        fire(harness, scripted)
        assert len(receivers[0].notified) == 1
    harness.go(MINUTE + 15)
    assert harness.kept() == [("TableauAssetRefreshLate", "firing")]
    assert harness.value(SENT, alertmanager=receivers[0].url) == 1


def test_counters_do_not_decrease_during_a_long_archive(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """A notification that was counted while the file was held counts on when it is written amid a long archive."""
    harness.step()
    with duckdb.connect(str(harness.path)):
        fire(harness, scripted)
        harness.go(15)
    assert harness.value(SENT, alertmanager=receivers[0].url) == 1
    with harness.history.batch():
        harness.go(MINUTE + 15)
        assert not harness.store.states.changed, "nothing was written"
        assert harness.value(SENT, alertmanager=receivers[0].url) == 1


def test_a_poll_that_never_releases_the_file_does_not_stop_notifications(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread of the agent is stuck with the file: alerts fire all the same, and are written when it is free."""
    monkeypatch.setattr("exporter.alerting.store.TURN_SECONDS", 0.0)
    harness.step()
    accepted, over = threading.Event(), threading.Event()

    def stuck() -> None:
        with harness.file.turn:
            accepted.set()
            over.wait()

    thread = threading.Thread(target=stuck, daemon=True)
    thread.start()
    accepted.wait()
    fire(harness, scripted)
    assert len(receivers[0].notified) == 1
    over.set()
    thread.join()
    harness.go(MINUTE + 15)
    assert harness.kept() == [("TableauAssetRefreshLate", "firing")]


def test_a_history_that_is_held_from_the_start(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """The alerts of the last agent are continued as soon as they can be read."""
    fire(harness, scripted)
    fired = harness.now
    harness.restart()
    with duckdb.connect(str(harness.path)):
        harness.go(MINUTE)
    harness.go(MINUTE + 15)
    assert {notified.starts_at for notified in receivers[0].notified} == {fired}


def test_a_rule_that_fails(harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]) -> None:
    """Firing alerts stay, and an alert of its own fires; when the rule works again, that ends."""
    fire(harness, scripted)
    scripted.fails = True
    harness.go(30 * MINUTE)
    open_now = {dict(labels)["alertname"]: dict(labels) for labels in receivers[0].open_at(harness.now)}
    assert open_now.keys() == {"TableauAssetRefreshLate", "TableauAlertNotEvaluated"}
    assert open_now["TableauAlertNotEvaluated"]["rule"] == scripted.rule.name
    scripted.fails = False
    harness.go(10 * MINUTE)
    assert {dict(labels)["alertname"] for labels in receivers[0].open_at(harness.now)} == {"TableauAssetRefreshLate"}


@pytest.mark.parametrize("runbook_url", [None, "https://wiki.example.com/runbooks"])
def test_a_page_leads_to_the_runbook_of_its_alert(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager], runbook_url: str | None
) -> None:
    """An alert on the pages has the runbook of its annotation, and none where the configuration names none."""
    harness.options = NotificationOptions(runbook_url)
    harness.reload()
    fire(harness, scripted)
    (published,) = harness.firing
    annotations = receivers[0].notified[0].annotations
    assert (published.name, published.severity) == ("TableauAssetRefreshLate", "warning")
    assert published.runbook_url == annotations.get("runbook_url", "")
    assert published.runbook_url == ("" if runbook_url is None else f"{runbook_url}/TableauAssetRefreshLate.md")


def test_what_is_counted_survives(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """Each accepted alert counts, and each that is not, by Alertmanager, also over a restart."""
    receivers[1].behave(ERRS)
    fire(harness, scripted)
    harness.go(10 * MINUTE)
    accepted = harness.value(SENT, alertmanager=receivers[0].url)
    assert accepted is not None
    assert accepted >= 9
    assert harness.value(SENT, alertmanager=receivers[1].url) == 0
    failed = harness.value(FAILED, alertmanager=receivers[1].url)
    assert failed is not None
    assert 10 <= failed <= 11
    harness.restart()
    harness.step()
    assert harness.value(SENT, alertmanager=receivers[0].url) == accepted
    assert harness.value(FAILED, alertmanager=receivers[1].url) == failed


def test_another_alertmanager_after_a_reload(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """A reload names others: those get the firing alerts, removed ones are forgotten."""
    harness.urls = harness.urls[:2]
    harness.reload()
    fire(harness, scripted)
    harness.urls = [receivers[2].url]
    harness.reload()
    harness.step()
    assert [len(receiver.notified) for receiver in receivers] == [1, 1, 1]
    end(harness, scripted)
    assert receivers[2].ends
    harness.go(15 * MINUTE)
    assert harness.kept() == []


def test_many_alerts_go_in_batches(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """A thousand assets are sent after one evaluation, each once."""
    scripted.firing_series = {(("asset_id", f"luid-{number}"), *BOOK[1:]): 1.0 for number in range(1000)}
    harness.go(5 * MINUTE + 15)
    for receiver in receivers:
        assert len(receiver.notified) == len({notified.labels for notified in receiver.notified}) == 1000


def test_a_description_that_fails(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """A failing lookup costs the description of that alert alone, and is logged once."""
    own = Rule("TableauArchivePurgeRisk", "critical", 0.0, lambda _view: RuleResult({(): 1.0}), "Soon.", "{span}")
    harness.rules = [scripted.saying("{span:d}"), own]
    harness.restart()
    with capture_logs() as logs:
        fire(harness, scripted)
        harness.go(5 * MINUTE)
    notified = {one.name: one.annotations for one in receivers[0].notified}
    assert notified["TableauAssetRefreshLate"] == {"summary": "Month End is late."}
    assert notified["TableauArchivePurgeRisk"] == {"summary": "Soon.", "description": "1.0 s"}
    (line,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert line["event"] == "alert sent without annotations: unexpected error (bug)"
    assert line["rule"] == scripted.rule.name


def test_a_look_that_fails(harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]) -> None:
    """Firing alerts keep firing, one alert reports the failed evaluation, the log has it once; then all goes on."""
    fire(harness, scripted)

    def broken(_now: float) -> list[Block]:
        raise ZeroDivisionError

    published, harness.blocks = harness.blocks, broken
    with capture_logs() as logs:
        harness.go(30 * MINUTE)
    open_now = {dict(labels)["alertname"]: dict(labels) for labels in receivers[0].open_at(harness.now)}
    assert open_now.keys() == {"TableauAssetRefreshLate", "TableauAlertNotEvaluated"}
    assert open_now["TableauAlertNotEvaluated"]["rule"] == "any alert"
    assert [entry["rule"] for entry in logs if entry["log_level"] == "error"] == ["any alert"]
    harness.blocks = published
    harness.go(10 * MINUTE)
    assert {dict(labels)["alertname"] for labels in receivers[0].open_at(harness.now)} == {"TableauAssetRefreshLate"}


def test_growth_that_cannot_be_remembered(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alerts whose rules need no increase are evaluated as before."""

    def broken(_past: SampleWindow, _view: MetricSnapshot) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(conditions, "record_samples", broken)
    fire(harness, scripted)
    harness.go(MINUTE)
    notified = {(one.name, dict(one.labels).get("rule")) for one in receivers[0].notified}
    assert notified == {
        ("TableauAssetRefreshLate", None),
        ("TableauAlertNotEvaluated", "what grew within an hour"),
    }


def test_a_write_that_fails_for_no_known_reason(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New alerts are sent nevertheless."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(alert_tables, "replace", broken)
    scripted.firing_series = {BOOK: 7200.0}
    for _ in range(21):
        harness.now += 15
        with contextlib.suppress(ZeroDivisionError):
            harness.rule_manager.step()
        harness.rule_manager.notifiers[0].deliver()
    assert len(receivers[0].notified) == 1


def test_tasks_that_are_no_numbers(harness: NotifierHarness, scripted: ScriptedRule) -> None:
    """A text in the place of a task's number stops no write."""
    row = dict.fromkeys(ARROW_SCHEMA.names) | {"site": "default", "asset_type": "workbook", "asset_id": "luid-1"}
    rows = pa.Table.from_pylist([row | {"task_ids": f"7,x,,²,{10**30}, 8"}], schema=ARROW_SCHEMA)
    harness.assets = lambda _now: rows
    fire(harness, scripted)
    assert harness.kept() == [("TableauAssetRefreshLate", "firing")]
    assert harness.rule_manager.known.owners.tasks(("default", "workbook", "luid-1")) == [7, 8]


@pytest.mark.parametrize("held", [False, True])
def test_no_error_is_told_after_a_reload_forbids_it(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager], *, held: bool
) -> None:
    """A description is never written in clear: Tableau's error texts may contain users' names."""
    fire(harness, scripted)
    harness.store.errors = {("default", "workbook", "luid-1"): "login failed for anna"}
    harness.go(MINUTE)
    assert receivers[0].notified[-1].annotations["error"] == "login failed for anna"
    before = len(receivers[0].notified)
    harness.options = NotificationOptions(include_errors=False)
    harness.reload()
    with duckdb.connect(str(harness.path)) if held else contextlib.nullcontext():
        harness.go(3 * MINUTE)
    notified = receivers[0].notified[before:]
    assert len(notified) >= 3
    assert not [one for one in notified if "error" in one.annotations]


def test_a_history_that_is_held_is_tried_once_a_minute(harness: NotifierHarness, scripted: ScriptedRule) -> None:
    """After a restart too a held file delays one evaluation in a minute."""
    fire(harness, scripted)
    harness.restart()
    tried = []
    writing = harness.history.transaction

    def counted(now: datetime, *, wait_seconds: float) -> AbstractContextManager[Transaction]:
        tried.append(now)
        return writing(now, wait_seconds=wait_seconds)

    harness.history.transaction = counted  # type: ignore[method-assign, assignment] # to count
    with duckdb.connect(str(harness.path)):
        harness.go(4 * MINUTE)
    assert len(tried) == 4


def test_what_is_not_written_is_shown(
    harness: NotifierHarness, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """While nothing can be written, counters go on to grow; they do not fall when it can, nor after a restart."""
    url = receivers[0].url
    receivers[0].behave(ERRS)
    fire(harness, scripted)
    published = []
    harness.file.limits = Limits(free_bytes=10**18)
    for _ in range(30):
        harness.go(MINUTE)
        published.append(harness.value(FAILED, alertmanager=url) or 0.0)
    assert 29 <= published[-1] <= 31
    harness.file.limits = harness.limits
    for _ in range(3):
        harness.go(MINUTE)
        published.append(harness.value(FAILED, alertmanager=url) or 0.0)
    harness.reload()
    harness.step()
    published.append(harness.value(FAILED, alertmanager=url) or 0.0)
    assert published == sorted(published)
    harness.go(MINUTE + 15)
    harness.restart()
    receivers[0].behave(WELL)
    harness.step()
    assert (harness.value(FAILED, alertmanager=url) or 0.0) >= published[-1]


def test_the_others_hear_of_one_that_takes_nothing(
    tmp_path: Path, scripted: ScriptedRule, receivers: list[FakeAlertmanager]
) -> None:
    """Who is not scraped learns by the second Alertmanager that the first is dead, and that it is back."""
    (failing,) = (rule for rule in RULES if rule.alert == "TableauNotificationsFailing")
    harness = NotifierHarness(
        tmp_path / "failing.duckdb", [receiver.url for receiver in receivers[:2]], [scripted.rule, failing]
    )
    harness.blocks = lambda _now: harness.published
    dead, alive = receivers[:2]
    dead.behave(ERRS)
    alive.clock = dead.clock = lambda: harness.now
    fire(harness, scripted)
    harness.go(15 * MINUTE)
    named = {dict(labels).get("alertmanager") for labels in alive.open_at(harness.now)}
    assert named == {None, dead.url}
    dead.behave(WELL)
    harness.go(30 * MINUTE)
    assert {dict(labels).get("alertmanager") for labels in alive.open_at(harness.now)} == {None}
