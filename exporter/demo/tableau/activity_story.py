"""What happens on the sites of the simulated Tableau Cloud, hour by hour.

The requests are those visits that the demo's repository logs, the jobs those that the REST API lists. Everything of
an hour follows from the hour, so that a year needs no memory.
"""

import bisect
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from random import Random
from typing import NamedTuple

from exporter.demo.company import Company
from exporter.demo.live_traffic import VISITS_PER_SECOND
from exporter.demo.rows import Row
from exporter.demo.tableau.activity_fields import Event, Fields, RequestRecords
from exporter.demo.tableau.activity_jobs import JobRecords
from exporter.demo.traffic import HOUR, REQUESTS_PER_DAY, REQUESTS_PER_VISIT, busyness
from exporter.demo.users import SITES
from exporter.demo.visits import Visits

REQUESTS, JOBS, BRIDGE, LOGINS = "vizql_http_request", "background_job", "bridge_job", "login_authentication"
OWNERS, GROUPS, UNKNOWN = "content_owner_change", "add_delete_user_to_group", "agent_conversation"
# The last is one that no reference lists: Tableau adds types without notice.
TYPES = (REQUESTS, JOBS, BRIDGE, LOGINS, OWNERS, GROUPS, UNKNOWN)
SIGNS_IN, FAILS = 0.35, 0.08
# How many changes of each kind a busy hour has.
CHANGES = 2.0
REMEMBERED_HOURS = 64


class Place(NamedTuple):
    """A site; ``position`` is its place among the company's sites."""

    id: object
    luid: str
    url: str
    name: str
    position: int


class ActivityStory:
    """The events of a company's first ``sites`` sites.

    From ``live_since`` (an hour) on there are as many visits as the demo's live traffic has; ``new_jobs`` returns the
    jobs that the company had not when it was built.
    """

    def __init__(
        self,
        company: Company,
        *,
        seed: int = 1,
        sites: int = len(SITES),
        requests_per_day: float = REQUESTS_PER_DAY,
        live_since: datetime | None = None,
        new_jobs: Callable[[], Sequence[Row]] | None = None,
    ) -> None:
        rows = list(enumerate(company.tables["sites"]))[:sites]
        self.sites = tuple(
            Place(row["id"], str(row["luid"]), str(row["url_namespace"] or ""), str(row["name"]), position)
            for position, row in rows
        )
        self._own = {
            table: {
                place.id: [row for row in company.tables[table] if row["site_id"] == place.id] for place in self.sites
            }
            for table in ("users", "groups", "workbooks")
        }
        self._seed = seed
        self._requests_per_day = requests_per_day
        self._live_since = live_since
        self._new_jobs = new_jobs
        self._records = RequestRecords(company)
        self._job_records = JobRecords(company, self._records)
        self._random = Random(seed)
        self._visits = Visits(company, self._random)
        self._jobs = _by_hour(company.tables["background_jobs"])
        # Visits are drawn from one source of randomness, which is set anew for each hour.
        self._lock = threading.Lock()
        self._visits_of = lru_cache(REMEMBERED_HOURS)(self._draw)
        self._requests_of = lru_cache(REMEMBERED_HOURS)(self._requests)

    def events(self, site: Place, kind: str, hour: datetime) -> Sequence[Event]:
        """Return the events of a type within the hour, in the order of their times."""
        if kind == REQUESTS:
            return self._requests_of(site, hour)
        if kind == LOGINS:
            return self._logins(site, hour)
        if kind in {JOBS, BRIDGE}:
            return self._jobs_of(site, kind, hour)
        return self._changes(site, kind, hour)

    def may_have(self, site: Place, kind: str, hour: datetime) -> bool:
        """Whether the hour may have events of a type, at little cost."""
        if kind == REQUESTS:
            return self._expected(site, hour) > 0 or self._expected(site, hour - HOUR) > 0
        if kind == LOGINS:
            return self._expected(site, hour) > 0
        return bool(self.events(site, kind, hour))

    def _expected(self, site: Place, hour: datetime) -> int:
        """Return how many visits begin within the hour."""
        if self._live_since is not None and hour >= self._live_since:
            expected = VISITS_PER_SECOND * HOUR.total_seconds() * SITES[site.position].share / 100
        else:
            expected = self._requests_per_day / REQUESTS_PER_VISIT * busyness(hour, site.position)
        return int(expected + self._chance(site, "visits", hour).random())

    def _draw(self, site: Place, hour: datetime) -> list[list[Row]]:
        """Draw the visits that begin within the hour; the first row of some comes with a sign-in."""
        with self._lock:
            self._random.seed(self._key(site, "requests", hour))
            visits = []
            for _ in range(self._expected(site, hour)):
                visit = self._visits.visit(site.id, hour + self._random.random() * HOUR)
                for row in visit:
                    row["request_id"] = f"{self._random.getrandbits(96):024x}"
                visit[0]["signs_in"] = self._random.random() < SIGNS_IN
                visit[0]["fails"] = self._random.random() < FAILS
                visits.append(visit)
            return visits

    def _requests(self, site: Place, hour: datetime) -> list[Event]:
        rows = (row for begin in (hour - HOUR, hour) for visit in self._visits_of(site, begin) for row in visit)
        chosen = [row for row in rows if row["controller"] == "vizql" and hour <= _at(row) < hour + HOUR]
        chosen.sort(key=_at)
        make = self._records.request
        return [Event(_at(row), REQUESTS, str(row["request_id"]), partial(make, row)) for row in chosen]

    def _logins(self, site: Place, hour: datetime) -> list[Event]:
        first = sorted((visit[0] for visit in self._visits_of(site, hour)), key=_at)
        rows = [row for row in first if row["signs_in"] and row["user_id"] is not None and row["site_id"] is not None]
        return [
            Event(
                _at(row), LOGINS, str(row["request_id"]), partial(self._records.login, row, failed=bool(row["fails"]))
            )
            for row in rows
        ]

    def _jobs_of(self, site: Place, kind: str, hour: datetime) -> list[Event]:
        rows = list(self._jobs.get((site.id, hour), ()))
        if self._new_jobs is not None:
            rows += _by_hour(self._new_jobs()).get((site.id, hour), ())
        events = [event for row in rows for event in self._job_records.events(row) if event.type == kind]
        return list(within(sorted(events, key=_when), hour, hour + HOUR))

    def _changes(self, site: Place, kind: str, hour: datetime) -> list[Event]:
        random = self._chance(site, kind, hour)
        expected = CHANGES * busyness(hour, site.position) * 10
        instants = sorted(hour + random.random() * HOUR for _ in range(int(expected + random.random())))
        keys = [f"{random.getrandbits(64):016x}" for _ in instants]
        changes = zip(instants, keys, strict=True)
        return [Event(at, kind, key, partial(self._change, site, kind, key)) for at, key in changes]

    def _change(self, site: Place, kind: str, key: str) -> Fields:
        random = Random(key)
        actor, other = random.choice(self._own["users"][site.id]), random.choice(self._own["users"][site.id])
        fields: dict[str, object] = {**self._records.actor(actor["id"]), "siteLuid": site.luid}
        fields |= {"eventOutcome": "success", "eventOutcomeReason": None}
        if kind == GROUPS:
            group = random.choice(self._own["groups"][site.id])
            return fields | {
                "groupId": group["id"],
                "groupLuid": group["luid"],
                "groupOperation": random.choice(("add", "delete")),
                "isError": False,
                "userId": other["id"],
                "userLuid": other["luid"],
            }
        if kind == OWNERS:
            content = random.choice(self._own["workbooks"][site.id])
            return fields | {
                "contentId": content["id"],
                "contentLuid": content["luid"],
                "contentName": content["name"],
                "contentType": "workbook",
                "isError": False,
                "newOwnerId": other["id"],
                "newOwnerLuid": other["luid"],
            }
        return fields | {"turns": random.randrange(1, 9), "participants": [actor["id"], str(other["id"])]}

    def _chance(self, site: Place, what: str, hour: datetime) -> Random:
        return Random(self._key(site, what, hour))

    def _key(self, site: Place, what: str, hour: datetime) -> str:
        return f"{self._seed}/{site.luid}/{what}/{hour:%Y-%m-%dT%H}"


def within(events: Sequence[Event], begin: datetime, end: datetime) -> Sequence[Event]:
    """Return the events from ``begin`` until before ``end``, of those that are in the order of their times."""
    first = bisect.bisect_left(events, begin, key=_when)
    return events[first : bisect.bisect_left(events, end, key=_when)]


def whole_hour(at: datetime) -> datetime:
    """Return the beginning of an instant's hour."""
    return at.replace(minute=0, second=0, microsecond=0)


def _by_hour(jobs: Iterable[Row]) -> dict[tuple[object, datetime], list[Row]]:
    """Sort jobs by their site and each hour in which something happened to them."""
    found: dict[tuple[object, datetime], list[Row]] = defaultdict(list)
    for row in jobs:
        instants = (row[name] for name in ("created_at", "started_at", "completed_at"))
        for hour in {whole_hour(at) for at in instants if isinstance(at, datetime)}:
            found[row["site_id"], hour].append(row)
    return dict(found)


def _at(row: Row) -> datetime:
    at = row["created_at"]
    assert isinstance(at, datetime)  # noqa: S101 - visits date every request
    return at


def _when(event: Event) -> datetime:
    return event.at
