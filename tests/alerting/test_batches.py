"""Alerts are cut into batches, and a refused batch into halves: each alert is accounted for once."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.alerting import batches as cutting
from exporter.alerting.batches import ALERTS, FRUITLESS, REFUSALS, SAMPLES, Sent, batches, deliver
from exporter.alerting.notification import Notification, bounded_labels
from exporter.errors import NotificationFailed


def alert(number: int, text: str = "x") -> Notification:
    """Return an alert that no other is."""
    return Notification(bounded_labels({"number": str(number)}), {"text": text}, 0, 1)


def number_of(alert: Notification) -> int:
    """Return the label that distinguishes an alert from the others."""
    return int(alert.labels[0][1])


class Picky:
    """A receiver that accepts the valid alerts of a batch and answers 400 if one is invalid, as the real one."""

    def __init__(self, bad: set[int], largest: int = 10**9, fails_at: int = 10**9) -> None:
        self.bad, self.largest, self.fails_at = bad, largest, fails_at
        self.delivered: list[int] = []
        self.posts = 0

    def __call__(self, body: bytes) -> str | None:
        """Receive a batch."""
        self.posts += 1
        if self.posts > self.fails_at:
            raise NotificationFailed("gone")
        numbers = [int(one["labels"]["number"]) for one in json.loads(body)]
        if len(body) > self.largest:
            return "too large"
        self.delivered += [number for number in numbers if number not in self.bad]
        bad = self.bad.intersection(numbers)
        return f"bad: {sorted(bad)}" if bad else None


@settings(deadline=None)
@given(st.integers(0, 700), st.sets(st.integers(0, 700), max_size=6), st.integers(1, 60))
def test_every_alert_is_accounted_for_once(count: int, bad: set[int], fails_at: int) -> None:
    """Each alert is accepted or refused, once; only invalid ones are refused; before a failure, too."""
    alerts = [alert(number) for number in range(count)]
    receiver, sent = Picky(bad), Sent()
    for batch in batches(alerts):
        deliver(batch, receiver, sent)
    refused = [number_of(one) for one, _ in sent.refused]
    assert sorted(refused) == sorted(bad & set(range(count)))
    assert [one for one in alerts if number_of(one) not in bad] == sorted(sent.accepted, key=number_of)
    assert sent.fruitless is None
    assert sent.doubtful == []
    assert set(receiver.delivered) == set(range(count)) - bad
    assert all(reason == f"bad: [{number}]" for number, (_, reason) in zip(refused, sent.refused, strict=True))

    receiver, sent = Picky(bad, fails_at=fails_at), Sent()
    try:
        for batch in batches(alerts):
            deliver(batch, receiver, sent)
    except NotificationFailed:
        assert receiver.posts == fails_at + 1
    notified = [one.labels for one in sent.accepted] + [one.labels for one, _ in sent.refused]
    assert len(notified) == len(set(notified))
    assert {int(one.labels[0][1]) for one in sent.accepted} <= set(receiver.delivered)


def test_one_bad_alert_costs_few_requests() -> None:
    """A refused batch is halved, not sent one by one."""
    receiver, sent = Picky({77}), Sent()
    (batch,) = batches([alert(number) for number in range(ALERTS)])
    deliver(batch, receiver, sent)
    assert receiver.posts == 17
    assert len(sent.accepted) == ALERTS - 1


def test_what_is_too_large_is_told_in_parts() -> None:
    """A server with a small limit receives small batches."""
    receiver, sent = Picky(set(), largest=1000), Sent()
    for batch in batches([alert(number, "x" * 300) for number in range(20)] + [alert(99, "x" * 3000)]):
        deliver(batch, receiver, sent)
    assert sorted(receiver.delivered) == list(range(20))
    assert [(one.labels[0][1], reason) for one, reason in sent.refused] == [("99", "too large")]


@pytest.mark.parametrize("count", [ALERTS, 9, 13, 17, 40])
def test_whoever_refuses_everything_is_not_asked_about_each(count: int) -> None:
    """A batch of which no alert is accepted is given up and reported; its alerts are in doubt, not refused."""
    receiver, sent = Picky(set(), largest=0), Sent()
    (batch,) = batches([alert(number) for number in range(count)])
    deliver(batch, receiver, sent)
    assert receiver.posts == sent.refusals <= FRUITLESS + SAMPLES
    assert not sent.accepted
    notified = [*sent.doubtful, *(one for one, _ in sent.refused)]
    assert sorted(map(number_of, notified)) == list(range(count))
    assert (sent.fruitless == "too large") == bool(sent.doubtful) == (count > 12)


@settings(deadline=None)
@given(st.sets(st.integers(0, ALERTS - 1)))
@example(set(range(ALERTS)))
@example(set(range(ALERTS)) - {200})
@example(set(range(0, ALERTS, 2)))
def test_every_good_one_is_told_in_the_end(bad: set[int]) -> None:
    """However many alerts are invalid, a retry without the known ones delivers all valid alerts."""
    left = [alert(number) for number in range(ALERTS)]
    receiver = Picky(bad)
    for _ in range(ALERTS):
        if not left:
            break
        before, sent = receiver.posts, Sent()
        deliver(next(batches(left)), receiver, sent)
        # With a refusal come at most as many that are taken: a half of each.
        assert receiver.posts - before <= 2 * REFUSALS + SAMPLES
        assert len(sent.doubtful) < len(left)
        left = sent.doubtful
    assert not left
    assert set(receiver.delivered) == set(range(ALERTS)) - bad


@settings(deadline=None)
@given(st.lists(st.integers(0, 900), max_size=40), st.integers(1, 8))
def test_batches_are_bounded(sizes: list[int], most: int) -> None:
    """A batch has at most so many alerts and bytes, unless one alert alone has more; none is cut, none is left out."""
    alerts = [alert(number, "x" * size) for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "ALERTS", most)
        patch.setattr(cutting, "BYTES", 2000)
        made = list(batches(alerts))
    assert [one for batch in made for one, _ in batch] == alerts
    for batch in made:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(len(written) + 1 for _, written in batch) <= 2001


def test_nothing_to_tell() -> None:
    """Without alerts there is no batch."""
    assert list(batches([])) == []
