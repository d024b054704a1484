"""Batches of alerts; a refused batch is halved, down to the alerts that are refused.

An Alertmanager that refuses a batch may have accepted a part of it; an alert that is sent again is deduplicated. One
that refuses everything does not get each alert by itself: that is no refusal of alerts.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.alerting.notification import Notification

ALERTS = 256
BYTES = 1_000_000
# Where nothing of a batch was accepted by the fourth halving, some single alerts decide whether to go on.
FRUITLESS = 15
SAMPLES = 8
REFUSALS = 128
"""Bound of the refusals of one batch and its parts."""

Batch = Sequence[tuple[Notification, bytes]]
Post = Callable[[bytes], str | None]
"""Posts a body; returns why it is refused, None where everything was accepted."""


@dataclass
class Sent:
    """Result of sending: refused alerts have a reason. After a failure, alerts in no list were not sent."""

    accepted: list[Notification] = field(default_factory=list)
    refused: list[tuple[Notification, str]] = field(default_factory=list)
    doubtful: list[Notification] = field(default_factory=list)
    """Alerts that were refused together with others, and not alone."""
    refusals: int = 0
    """How many requests were refused."""
    fruitless: str | None = None
    """Why a batch was given up of which nothing was accepted, whole, in part or alone."""
    failure: str | None = None
    """Why no more could be sent, in one line."""


def batches(alerts: Sequence[Notification], labels: Mapping[str, str] | None = None) -> Iterator[Batch]:
    """Cut alerts into batches that are bounded by their number and their bytes; an alert is never cut.

    ``labels`` are put on each.
    """
    batch: list[tuple[Notification, bytes]] = []
    size = 0
    for alert in alerts:
        written = alert.to_json(labels or {})
        if batch and (len(batch) == ALERTS or size + len(written) > BYTES):
            yield batch
            batch, size = [], 0
        batch.append((alert, written))
        size += len(written) + 1
    if batch:
        yield batch


def deliver(batch: Batch, post: Post, sent: Sent) -> None:
    """Post a batch, and the halves of refused parts: the largest first, for most of them are accepted."""
    waiting, accepted, refusals = deque([batch]), False, 0
    while waiting:
        part = waiting.popleft()
        reason = post(b"[" + b",".join(written for _, written in part) + b"]")
        if reason is None:
            sent.accepted.extend(alert for alert, _ in part)
            accepted = True
            continue
        refusals += 1
        sent.refusals += 1
        if len(part) == 1:
            sent.refused.append((part[0][0], reason))
        else:
            middle = len(part) // 2
            waiting.extend((part[:middle], part[middle:]))
        if refusals == FRUITLESS and not accepted:
            waiting = deque(_sampled(list(waiting)))
        if waiting and (refusals == REFUSALS or (refusals == FRUITLESS + SAMPLES and not accepted)):
            sent.doubtful.extend(alert for left in waiting for alert, _ in left)
            sent.fruitless = None if accepted else reason
            return


def _sampled(parts: Sequence[Batch]) -> Iterator[Batch]:
    """Yield the same with one alert of each of some parts before all others."""
    some, others = parts[:SAMPLES], parts[SAMPLES:]
    # Not the first of each: refused alerts may be at regular positions.
    places = [number % len(part) for number, part in enumerate(some)]
    yield from (part[place : place + 1] for part, place in zip(some, places, strict=True))
    for part, place in zip(some, places, strict=True):
        yield from (each for each in (part[:place], part[place + 1 :]) if each)
    yield from others
