"""Workbooks that some users open at about the same time of each day, in the weeks before the demo begins.

One of them is stale, and is usually opened about an hour after the demo began, whenever that is.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from exporter.demo.company import Company
from exporter.demo.opening import unopened
from exporter.demo.rows import Row
from exporter.demo.users import SITES

EVERY_DAY, WORKDAYS = range(7), range(5)
SOON = timedelta(minutes=70)
USERS, FEW_USERS = 6, 3
HEALTHY, FIRST, APART = 5, timedelta(hours=7, minutes=10), timedelta(minutes=95)
"""How many healthy workbooks have a habit, the local time of the first, and the time between two."""
JITTER_MINUTES = 6
LATER_MINUTES = (5, 180)


class Habit(NamedTuple):
    """The opening of a view of a workbook, when in the local day (without summer time), and on which days."""

    workbook: object
    site: int
    view: str
    users: Sequence[object]
    at: timedelta
    weekdays: Collection[int]


class Opening(NamedTuple):
    """One user's visit to a view."""

    at: datetime
    site: int
    view: str
    user: object


def habits(company: Company) -> list[Habit]:
    """Return the habits of a company: of a stale workbook, and of some that are fresh."""
    gone = unopened(company.assets)
    fresh = [row for row in company.of_kind("workbooks", "healthy") if row["id"] not in gone][:HEALTHY]
    found = [_habit(company, row, FIRST + number * APART, FEW_USERS, WORKDAYS) for number, row in enumerate(fresh)]
    stale = company.of_kind("workbooks", "failing")[0]
    soon = company.now + SOON + _offset(stale)
    return [_habit(company, stale, soon - _midnight(soon), USERS, EVERY_DAY), *found]


def openings(company: Company, since: datetime, until: datetime, random: Random) -> list[Opening]:
    """Return what is opened by habit between two instants, in order."""
    found = [opening for habit in habits(company) for opening in _openings(habit, since, until, random)]
    return sorted(opening for opening in found if since <= opening.at < until)


def _openings(habit: Habit, since: datetime, until: datetime, random: Random) -> Iterator[Opening]:
    shift = timedelta(hours=SITES[habit.site - 1].offset)
    day = _midnight(since + shift)
    while day <= until + shift:
        first = day + habit.at - shift + timedelta(minutes=random.gauss(0, JITTER_MINUTES))
        if day.weekday() in habit.weekdays:
            for number, user in enumerate(habit.users):
                later = timedelta(minutes=random.uniform(*LATER_MINUTES) if number else 0)
                yield Opening(first + later, habit.site, habit.view, user)
        day += timedelta(days=1)


def _habit(company: Company, workbook: Row, at: timedelta, users: int, weekdays: Collection[int]) -> Habit:
    site = workbook["site_id"]
    view = next(row for row in company.tables["views"] if row["workbook_id"] == workbook["id"])
    # The first two seats of a site belong to the system and to the guest account.
    seats = [row["id"] for row in company.tables["users"] if row["site_id"] == site][2:]
    return Habit(workbook["id"], int(str(site)), str(view["repository_url"]), seats[:users], at, weekdays)


def _offset(row: Row) -> timedelta:
    return timedelta(hours=SITES[int(str(row["site_id"])) - 1].offset)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
