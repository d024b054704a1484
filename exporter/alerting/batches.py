"""Alerts as batches, and a refused batch as halves: down to the alerts that cannot be taken.

An Alertmanager that refuses a batch may have taken a part of it; what is sent again is the same alert, not another.
Whoever refuses everything is not asked about each alert: that is no refusal of alerts.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.alerting.notification import Notification

ALERTS = 256
BYTES = 1_000_000
# Where nothing of a batch was taken by the fourth halving, some single alerts decide whether it is worth while.
FRUITLESS = 15
SAMPLES = 8
REFUSALS = 128
"""How many refusals of one batch and its parts are heard."""

Batch = Sequence[tuple[Notification, bytes]]
Post = Callable[[bytes], str | None]
"""Posts a body; returns why it is refused, None where everything was taken."""


@dataclass
class Sent:
    """What became of alerts: a refused one with the reason. After a failure those that are in none were not told."""

    accepted: list[Notification] = field(default_factory=list)
    refused: list[tuple[Notification, str]] = field(default_factory=list)
    doubtful: list[Notification] = field(default_factory=list)
    """What was refused together with others, and not alone."""
    refusals: int = 0
    """How many requests were refused."""
    fruitless: str | None = None
    """Why a batch was given up of which nothing was taken, whole, in part or alone."""
    failure: str | None = None
    """Why no more could be told, in one line."""


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
    """Post a batch, and the halves of what is refused of it: the largest first, for most of them are taken."""
    waiting, taken, refusals = deque([batch]), False, 0
    while waiting:
        part = waiting.popleft()
        reason = post(b"[" + b",".join(written for _, written in part) + b"]")
        if reason is None:
            sent.accepted.extend(alert for alert, _ in part)
            taken = True
            continue
        refusals += 1
        sent.refusals += 1
        if len(part) == 1:
            sent.refused.append((part[0][0], reason))
        else:
            middle = len(part) // 2
            waiting.extend((part[:middle], part[middle:]))
        if refusals == FRUITLESS and not taken:
            waiting = deque(_drawn(list(waiting)))
        if waiting and (refusals == REFUSALS or (refusals == FRUITLESS + SAMPLES and not taken)):
            sent.doubtful.extend(alert for left in waiting for alert, _ in left)
            sent.fruitless = None if taken else reason
            return


def _drawn(parts: Sequence[Batch]) -> Iterator[Batch]:
    """Yield the same with one alert of each of some parts before all others."""
    some, others = parts[:SAMPLES], parts[SAMPLES:]
    # Not the first of each: those who are refused may stand at regular places.
    places = [number % len(part) for number, part in enumerate(some)]
    yield from (part[place : place + 1] for part, place in zip(some, places, strict=True))
    for part, place in zip(some, places, strict=True):
        yield from (each for each in (part[:place], part[place + 1 :]) if each)
    yield from others
