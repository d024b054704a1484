"""The data sources of the project Admin Insights: the story of the Activity Log once more, refreshed once a day.

Captions are those of Tableau's help; assumptions are in docs/decisions/0023-simulated-activity-log.md.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from exporter.demo.company import Company
from exporter.demo.rows import Row
from exporter.demo.tableau.activity_jobs import JOB_TYPES
from exporter.demo.tableau.activity_story import LOGINS, REQUESTS, ActivityStory, Place
from exporter.demo.tableau.facts import Content, Facts, Job, Person, Project, Site, Source
from exporter.demo.tableau.failure_modes import FailureModes
from exporter.demo.traffic import HOUR

PROJECT = "Admin Insights"
EVENTS, USERS, JOBS, TOKENS = "TS Events", "TS Users", "Job Performance", "Tokens"
# The captions of each source with the type of their values; the first one is unique.
CAPTIONS: dict[str, dict[str, str]] = {
    EVENTS: {
        "Event Id": "INTEGER",
        "Site Luid": "STRING",
        "Event Date": "DATETIME",
        "Event Name": "STRING",
        "Event Type": "STRING",
        "Actor User Id": "INTEGER",
        "Actor User Name": "STRING",
        "Actor License Role": "STRING",
        "Actor Site Role": "STRING",
        "Item Type": "STRING",
        "Item Id": "INTEGER",
        "Item LUID": "STRING",
        "Item Name": "STRING",
        "Item Repository Url": "STRING",
        "Item Owner Email": "STRING",
        "Workbook Name": "STRING",
        "Project Name": "STRING",
        "Admin Insights Published At": "DATETIME",
    },
    USERS: {
        "User LUID": "STRING",
        "User Email": "STRING",
        "User Site Role": "STRING",
        "User License Type": "STRING",
        "Last Login Date": "DATETIME",
        "Total Allowed Licenses": "INTEGER",
        "Total Occupied Licenses": "INTEGER",
        "Admin Insights Published At": "DATETIME",
    },
    JOBS: {
        "Job LUID": "STRING",
        "Job Type": "STRING",
        "Job Result": "STRING",
        "Final Job Result": "STRING",
        "Item LUID": "STRING",
        "Item Type": "STRING",
        "Schedule Name": "STRING",
        "Created At": "DATETIME",
        "Queued At": "DATETIME",
        "Started At": "DATETIME",
        "Completed At": "DATETIME",
        "Job Queued Duration": "REAL",
        "Job Execution Duration": "REAL",
        "Error Message": "STRING",
        "Owner Email": "STRING",
        "Admin Insights Published At": "DATETIME",
    },
    TOKENS: {
        "PAT Name": "STRING",
        "Expires At": "DATETIME",
        "Last Used At": "DATETIME",
        "Owner Email": "STRING",
        "Admin Insights Published At": "DATETIME",
    },
}
# The unique caption of each source.
UNIQUE = {source: next(iter(captions)) for source, captions in CAPTIONS.items()}
DAY = timedelta(days=1)
# When Admin Insights is refreshed, and how far back it goes.
REFRESHED = timedelta(hours=5)
RETENTION = 90 * DAY
# The ids of events grow from day to day, and within one.
EPOCH = datetime(2020, 1, 1)  # noqa: DTZ001 - naive UTC, as all of these
IDS_OF_A_DAY = 1_000_000
LICENCES = {"Creator": "Creator", "Explorer": "Explorer", "Viewer": "Viewer"}
ALLOWED_LICENCES = 500
TOKEN_DAYS = (-3, 5, 25, 90, 200)
NAMESPACE = uuid.UUID("6d1f3a52-40ce-4c53-9d5e-8d1b3c0a7e11")


class AdminInsights:
    """The rows of each site's sources as of their last refresh; ``clock`` returns naive UTC.

    ``kept`` is how far back events go, by default RETENTION.
    """

    def __init__(
        self, company: Company, story: ActivityStory, clock: Callable[[], datetime], kept: timedelta | None = None
    ) -> None:
        self._story = story
        self._kept = kept
        self._clock = clock
        self._places = {place.luid: place for place in story.sites}
        self._views = {row["luid"]: row["id"] for row in company.tables["views"]}
        self._added: tuple[Facts, object, Facts] | None = None

    @property
    def refreshed_at(self) -> datetime:
        """When the sources were refreshed last."""
        return (self._clock() - REFRESHED).replace(hour=0, minute=0, second=0, microsecond=0) + REFRESHED

    def add_to(self, facts: Facts, failure_modes: FailureModes) -> Facts:
        """Return the facts with the project and its sources; the same object while nothing changed."""
        state = failure_modes.insights_absent, failure_modes.insights_generation
        if self._added is None or self._added[0] is not facts or self._added[1] != state:
            added = (
                facts
                if failure_modes.insights_absent
                else tuple(self._with_sources(site, failure_modes) for site in facts)
            )
            self._added = facts, state, added
        return self._added[2]

    def source_of(self, site: Site, datasource: str, failure_modes: FailureModes) -> str | None:
        """Return the name of the source that has a LUID."""
        return next((name for name in CAPTIONS if source_luid(site, name, failure_modes) == datasource), None)

    def rows(self, site: Site, source: str, first_day: datetime, last_day: datetime) -> Iterator[Row]:
        """Yield the rows of a source; of events those of the days in between, in the order of their ids."""
        published = {"Admin Insights Published At": _written(self.refreshed_at)}
        make = {USERS: self._users, JOBS: self._jobs, TOKENS: self._tokens}.get(source)
        for row in make(site) if make else self._events(site, first_day, last_day):
            yield {**row, **published}

    def _events(self, site: Site, first_day: datetime, last_day: datetime) -> Iterator[Row]:
        place = self._places.get(site.luid)
        if place is None:
            return
        people = {user.luid: user for user in site.users}
        content = {item.luid: item for item in site.workbooks}
        day = max(first_day, (self.refreshed_at - (self._kept or RETENTION)).replace(hour=0))
        while day <= min(last_day, self.refreshed_at):
            number = (day - EPOCH).days * IDS_OF_A_DAY
            for hour in range(24):
                for row in self._of_hour(place, day + hour * HOUR, people, content):
                    number += 1
                    yield {"Event Id": number, "Site Luid": site.luid, **row}
            day += DAY

    def _of_hour(
        self, place: Place, hour: datetime, people: dict[str, Person], content: dict[str, Content]
    ) -> list[Row]:
        """Return the accesses to views and the logins of an hour, as far as the last refresh knows them."""
        if hour >= self.refreshed_at:
            return []
        found = []
        for event in sorted(
            (*self._story.events(place, REQUESTS, hour), *self._story.events(place, LOGINS, hour)),
            key=lambda event: (event.at, event.type),
        ):
            fields = event.fields()
            person = people.get(str(fields["actorUserLuid"]))
            access = fields.get("endpointName") == "bootstrapSession" and fields.get("viewLuid")
            if person is None or not (access or (event.type == LOGINS and not fields["isError"])):
                continue
            row: Row = {
                "Event Date": _written(event.at),
                "Event Name": "Access View" if access else "Login",
                "Event Type": "Access",
                "Actor User Id": fields["actorUserId"],
                "Actor User Name": person.email,
                "Actor License Role": fields["licensingRoleName"],
                "Actor Site Role": person.role,
            }
            if access:
                row |= self._view(fields["viewLuid"], fields["viewName"], fields["viewRepoUrl"])
                row |= _workbook(content.get(str(fields["workbookLuid"])), people, fields["workbookName"])
            found.append(row)
        return found

    def _view(self, luid: object, name: object, url: object) -> Row:
        item = {"Item Type": "View", "Item Id": self._views.get(luid), "Item LUID": luid}
        return {**item, "Item Name": name, "Item Repository Url": url}

    def _users(self, site: Site) -> Iterator[Row]:
        occupied = {licence: sum(_licence(user) == licence for user in site.users) for licence in LICENCES}
        for user in site.users:
            licence = _licence(user)
            yield {
                "User LUID": user.luid,
                "User Email": user.email,
                "User Site Role": user.role,
                "User License Type": licence,
                "Last Login Date": _written(user.login_at) if user.login_at else None,
                "Total Allowed Licenses": ALLOWED_LICENCES if licence in LICENCES else None,
                "Total Occupied Licenses": occupied.get(licence),
            }

    def _jobs(self, site: Site) -> Iterator[Row]:
        owners = {item.luid: item.owner for item in (*site.workbooks, *site.datasources, *site.flows)}
        people = {user.luid: user.email for user in site.users}
        for job in site.jobs:
            if job.ended_at is not None and job.started_at is not None and job.ended_at < self.refreshed_at:
                yield {**_job(job), "Owner Email": people.get(owners.get(job.asset or "") or "")}

    def _tokens(self, site: Site) -> Iterator[Row]:
        owners = [user for user in site.users if "Administrator" in user.role] or site.users
        for number, days in enumerate(TOKEN_DAYS):
            owner = owners[number % len(owners)]
            yield {
                "PAT Name": f"token-{number}",
                "Expires At": _written(self.refreshed_at + days * DAY),
                "Last Used At": _written(self.refreshed_at - DAY) if number else None,
                "Owner Email": owner.email,
            }

    def _with_sources(self, site: Site, failure_modes: FailureModes) -> Site:
        made_at, owner = EPOCH, site.users[0].luid
        project = Project(source_luid(site, PROJECT, failure_modes), PROJECT, "", None, owner, made_at, made_at)
        sources = [self._source(site, name, project, failure_modes) for name in CAPTIONS]
        return site._replace(projects=[*site.projects, project], datasources=[*site.datasources, *sources])

    def _source(self, site: Site, name: str, project: Project, failure_modes: FailureModes) -> Content:
        source = Source(has_extracts=True, refreshed_at=self.refreshed_at, made_at=EPOCH, name=name)
        return Content(
            kind="datasource",
            luid=source_luid(site, name, failure_modes),
            name=name,
            url=name.replace(" ", ""),
            project=project.luid,
            project_name=project.name,
            owner=project.owner,
            tags=(),
            created_at=EPOCH,
            updated_at=self.refreshed_at,
            published_at=self.refreshed_at,
            has_extracts=True,
            size=1,
            sources=(source,),
        )


def source_luid(site: Site, name: str, failure_modes: FailureModes) -> str:
    """Return the LUID of a source; the sources that are provisioned anew have others."""
    return str(uuid.uuid5(NAMESPACE, f"{site.luid} {name} {failure_modes.insights_generation}"))


def _workbook(item: Content | None, people: dict[str, Person], name: object) -> Row:
    owner = people.get(item.owner or "") if item else None
    return {
        "Item Owner Email": owner.email if owner else None,
        "Workbook Name": name,
        "Project Name": item.project_name if item else None,
    }


def _job(job: Job) -> Row:
    assert job.started_at is not None  # noqa: S101 - only jobs that ended are written
    assert job.ended_at is not None  # noqa: S101 - see above
    result = "Success" if job.status == "Success" else job.status
    return {
        "Job LUID": job.luid,
        "Job Type": JOB_TYPES.get(job.type, job.type),
        "Job Result": result,
        "Final Job Result": result,
        "Item LUID": job.asset,
        "Item Type": job.kind.capitalize() if job.kind else None,
        "Schedule Name": None,
        "Created At": _written(job.created_at),
        "Queued At": _written(job.created_at),
        "Started At": _written(job.started_at),
        "Completed At": _written(job.ended_at),
        "Job Queued Duration": (job.started_at - job.created_at).total_seconds(),
        "Job Execution Duration": (job.ended_at - job.started_at).total_seconds(),
        "Error Message": job.notes,
    }


def _licence(user: Person) -> str:
    return next((licence for licence in LICENCES if licence in user.role), "Unlicensed")


def _written(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
