"""The notifier delivers all other alerts when Alertmanager refuses some or all, with few requests."""

import json
import queue
import socket
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions
from exporter.alerting.notification import Notification, Pairs
from exporter.alerting.notifier import MAX_LOG_LINES, REFUSALS, Delivery, Notifier, Outbox
from tests.support.raw_server import Answer, RawServer, ReceivedRequest, reply

NOW, LOOK, MINUTE = 1_700_000_000.0, 15.0, 60.0
Labels = dict[str, Any]


class Round:
    """A courier with a clock that a test moves."""

    def __init__(self, untrusted: RawServer, messages: list[Notification]) -> None:
        self.now = NOW
        self.untrusted = untrusted
        self.receipts: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self.notifier = Notifier(Alertmanager(AlertmanagerOptions(untrusted.url)), lambda: self.now, self.receipts)
        self.notifier.outbox = Outbox(messages)

    def go(self, seconds: float = LOOK) -> list[list[Labels]]:
        """Advance the clock and send once; return the labels of each batch that was posted."""
        self.now += seconds
        before = len(self.untrusted.received)
        self.notifier.deliver()
        return [[one["labels"] for one in json.loads(received.body)] for received in self.untrusted.received[before:]]

    def failed(self) -> int:
        """Return how many were counted as failed since the last time."""
        failed = 0
        while not self.receipts.empty():
            failed += self.receipts.get().failed
        return failed


def message(number: int, name: str = "fine", severity: str = "warning") -> Notification:
    """Return an alert about an asset."""
    labels = {"alertname": "TableauAssetStale", "asset_id": f"luid-{number}", "asset_name": name, "site": "default"}
    return Notification(pairs(labels, severity), {}, NOW, None, 1.0)


def pairs(labels: dict[str, str], severity: str) -> Pairs:
    """Return labels as an alert has them."""
    return tuple(sorted({**labels, "severity": severity}.items()))


def disliking(word: str, accepted: list[Labels], status: int = 403, output: str = "") -> Answer:
    """Refuse alerts that contain a word, and accept all others."""

    def answer(connection: socket.socket, received: ReceivedRequest) -> None:
        if word.encode() in received.body:
            reply(status, output)(connection, received)
        else:
            accepted.extend(one["labels"] for one in json.loads(received.body))
            reply()(connection, received)

    return answer


def of(logs: list[EventDict], event: str) -> list[EventDict]:
    """Return the lines of a kind."""
    return [entry for entry in logs if entry["event"] == event]


def test_the_weightiest_are_told_first_and_alone() -> None:
    """Alerts without names from Tableau come first, critical before others; they share no batch with assets."""
    own = [Notification(pairs({"alertname": name}, severity), {}, NOW, None, 1.0) for name, severity in OWN]
    messages = [message(0), message(1, severity="critical"), *own]
    with RawServer(reply()) as untrusted:
        notified = Round(untrusted, messages).go()
    assert [[one["severity"] for one in batch] for batch in notified] == [
        ["critical", "warning"],
        ["critical", "warning"],
    ]
    assert [one["alertname"] for one in notified[0]] == ["TableauArchivePurgeRisk", "TableauHistoryFileBusy"]


OWN = (("TableauHistoryFileBusy", "warning"), ("TableauArchivePurgeRisk", "critical"))


def test_what_was_refused_is_told_apart() -> None:
    """From the second minute on, one that is refused costs two requests: it is not among the others any more."""
    messages = [message(number, "<script>" if number == 7 else "fine") for number in range(600)]
    accepted: list[Labels] = []
    with RawServer(disliking("<script>", accepted)) as untrusted:
        course = Round(untrusted, messages)
        course.go()
        assert len(accepted) == 599
        for _ in range(3):
            assert course.go() == []
        notified = course.go()
        assert [len(batch) for batch in notified] == [256, 256, 87, 1, 0]
        # It is among the others again as soon as it is taken.
        untrusted.answer = reply()
        course.go(MINUTE)
        assert [len(batch) for batch in course.go(MINUTE)] == [256, 256, 88]


@pytest.mark.parametrize("every", [2, 10])
def test_many_are_disliked(every: int) -> None:
    """All other alerts are sent within some minutes and then each minute; each round is bounded."""
    messages = [message(number, "fine" if number % every else "<script>") for number in range(400)]
    good = {one.labels for one in messages if ("asset_name", "fine") in one.labels}
    accepted: list[Labels] = []
    with RawServer(disliking("<script>", accepted, 400, '"no"')) as untrusted:
        course = Round(untrusted, messages)
        for _ in range(8):
            # A round ends after the batch with which it has heard enough.
            assert len(course.go()) <= 2 * 2 * REFUSALS
        accepted.clear()
        for _ in range(4):
            course.go()
    assert {tuple(sorted(labels.items())) for labels in accepted} == good


def test_whoever_refuses_everything() -> None:
    """It is a failure of the whole, logged once, and costs few requests; after recovery all are sent soon."""
    accepted: list[Labels] = []
    with RawServer(reply(400, '"read only"')) as untrusted, capture_logs() as logs:
        course = Round(untrusted, [message(number) for number in range(2560)])
        assert all(len(course.go()) < 50 for _ in range(8))
        (failed,) = of(logs, "Alertmanager not notified; every alert is sent again")
        assert failed["error"].endswith("refuses every alert: read only: check its logs")
        assert not of(logs, "alert refused")
        untrusted.answer = disliking("<nothing>", accepted)
        for _ in range(5):
            course.go()
        assert len(of(logs, "Alertmanager notified again")) == 1
    assert len({labels["asset_id"] for labels in accepted}) == 2560


@pytest.mark.parametrize("status", [401, 403, 503])
def test_whoever_answers_nobody(status: int) -> None:
    """A wrong password is one line, and two requests a round, however many alerts there are."""
    with RawServer(reply(status)) as untrusted, capture_logs() as logs:
        course = Round(untrusted, [message(number) for number in range(1000)])
        assert [len(course.go()) for _ in range(4)] == [2, 2, 2, 2]
    assert [entry["event"] for entry in logs] == ["Alertmanager not notified; every alert is sent again"]


def test_lines_about_refusals() -> None:
    """Each names the asset, in one line; a few in a round, and how many more there are; none twice."""
    messages = [message(number, "bad\n") for number in range(10)]
    messages += [
        Notification((*message(99, "bad").labels[:1], ("asset_id", "a\nb"), ("site", "s\u202e")), {}, NOW, None, 1.0)
    ]
    messages += [message(number, "bad") for number in range(10, 16)]
    messages += [message(number) for number in range(100, 150)]
    with RawServer(by_alert(lambda one: one.get("asset_name") != "fine")) as untrusted, capture_logs() as logs:
        course = Round(untrusted, messages)
        course.go()
        course.go(MINUTE)
    lines = of(logs, "alert refused")
    assert len(lines) == MAX_LOG_LINES
    assert {line["site"] for line in lines} <= {"default", "s"}
    assert all(line["asset_id"].startswith(("luid-", "a b")) for line in lines)
    assert [line["alerts"] for line in of(logs, "more alerts refused")] == [17 - MAX_LOG_LINES]


def by_alert(disliked: Callable[[Labels], bool]) -> Answer:
    """Refuse a batch, in Alertmanager's way, where one of its alerts is disliked."""

    def answer(connection: socket.socket, received: ReceivedRequest) -> None:
        bad = any(disliked(one["labels"]) for one in json.loads(received.body))
        (reply(400, '"bad"') if bad else reply())(connection, received)

    return answer


def test_a_failure_counts_once_a_minute() -> None:
    """However often it is tried, an alert that cannot be sent counts once in each resend interval."""
    with RawServer(reply(503)) as untrusted:
        course = Round(untrusted, [message(number) for number in range(300)])
        for _ in range(5):
            for _ in range(4):
                course.go()
            assert course.failed() == 300
        untrusted.answer = reply()
        course.go()
        assert course.failed() == 0
        untrusted.answer = reply(503)
        course.go(MINUTE)
        assert course.failed() == 300
