"""The requests of the past: thirty days of them, with the rhythm of working days in the time zone of each site."""

import bisect
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from exporter.demo.company import Company
from exporter.demo.habits import habits, openings
from exporter.demo.rows import Row, copy
from exporter.demo.users import SITES
from exporter.demo.visits import Visits
from exporter.repository.connection import Connection

REQUESTS_PER_DAY = 7000
# Measured over the shapes and the chances in visits.py.
REQUESTS_PER_VISIT = 6.0
# How busy each hour of the local day is, and each day of the week from Monday on.
HOURS = (2, 1, 1, 1, 2, 5, 15, 40, 90, 100, 95, 90, 60, 80, 95, 90, 80, 55, 30, 18, 12, 8, 5, 3)
WEEKDAYS = (1.1, 1.05, 1.0, 1.0, 0.85, 0.12, 0.15)
HOUR = timedelta(hours=1)
# However quiet the hour is, there is some traffic when the demo begins.
LATELY = timedelta(minutes=4)
# What began so shortly before the demo is still under way.
UNDER_WAY = timedelta(seconds=10)


def past(
    company: Company, until: datetime, days: float = 30, requests_per_day: float = REQUESTS_PER_DAY, *, seed: int = 1
) -> Iterator[Row]:
    """Yield the requests of so many days in the order of their beginning, with ids from 1 up.

    The last of them are still under way at ``until``: they have no ``completed_at`` and no ``status``.
    """
    random = Random(seed)
    visits = Visits(company, random, {habit.workbook for habit in habits(company)})
    since = until - timedelta(days=days)
    by_habit = _by_habit(company, since, until, seed)
    waiting: list[Row] = []
    number = 0
    for begin, end in _hours(since, until):
        while by_habit and by_habit[-1][0] < end:
            waiting += by_habit.pop()[1]
        for position in range(len(SITES)):
            expected = requests_per_day / REQUESTS_PER_VISIT * busyness(begin, position) * ((end - begin) / HOUR)
            for _ in range(int(expected + random.random())):
                waiting += visits.visit(position + 1, begin + random.random() * (end - begin))
        if end == until:
            for position in range(len(SITES)):
                waiting += visits.visit(position + 1, until - random.random() * LATELY)
                waiting += visits.visit(position + 1, until - random.random() * UNDER_WAY)
        waiting.sort(key=_began)
        due = bisect.bisect_left(waiting, end, key=_began)
        for number, row in enumerate(waiting[:due], number + 1):  # noqa: B020 - counted on from hour to hour
            yield _as_of(until, {"id": number, **row})
        del waiting[:due]


def _by_habit(company: Company, since: datetime, until: datetime, seed: int) -> list[tuple[datetime, list[Row]]]:
    """Return the visits that are made by habit, the last first."""
    random = Random(seed + 1)
    visits = Visits(company, random)
    opened = openings(company, since, until, random)
    return [(at, visits.opening(site, at, view, user)) for at, site, view, user in reversed(opened)]


def busyness(at: datetime, position: int) -> float:
    """Return the share of a working day's visits that begin on one site within the hour after ``at``."""
    site = SITES[position]
    local = at + timedelta(hours=site.offset)
    return site.share / 100 * HOURS[local.hour] / sum(HOURS) * WEEKDAYS[local.weekday()]


def load(connection: Connection, version: str, rows: Iterator[Row]) -> int:
    """Load requests with COPY, and let the sequence go on after them; return how many."""
    count = copy(connection, version, "http_requests", rows)
    connection.execute("SELECT setval('http_requests_id_seq', greatest(max(id), 1)) FROM http_requests")
    return count


def _hours(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    begin = since
    while begin < until:
        end = min(begin.replace(minute=0, second=0, microsecond=0) + HOUR, until)
        yield begin, end
        begin = end


def _as_of(until: datetime, row: Row) -> Row:
    if _began(row) >= until - UNDER_WAY:
        row["completed_at"] = row["status"] = None
    return row


def _began(row: Row) -> datetime:
    at = row["created_at"]
    assert isinstance(at, datetime)  # noqa: S101 - visits date every request
    return at
