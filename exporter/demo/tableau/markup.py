"""How things look in an answer of the REST API: attributes and elements, escaped, in Tableau's namespace."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from exporter.demo.tableau.facts import Content, FlowRun, Job, Person, Project, Schedule, Site, Task

NAMESPACE = "http://tableau.com/api"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<tsResponse xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    f' xsi:schemaLocation="{NAMESPACE} https://help.tableau.com/samples/en-us/rest_api/ts-api_3_26.xsd">'
)
TAIL = "</tsResponse>"

ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)
# What is told of a person in a list, and what of one who is asked for alone; the rest of a list must be asked for.
PERSON = frozenset({"id", "name", "siteRole", "lastLogin", "externalAuthUserId"})
ALONE = PERSON | {"fullName"}
JOB_TYPES = {"refresh_extracts": "RefreshExtract", "increment_extracts": "RefreshExtract", "run_flow": "RunFlow"}


def text(value: object) -> str:
    """Escape a value for an attribute or for the text of an element."""
    return str(value).translate(ESCAPES)


def document(*parts: str) -> bytes:
    """Wrap elements into an answer."""
    return "".join((HEAD, *parts, TAIL)).encode()


def element(name: str, attributes: Mapping[str, object], *inside: str) -> str:
    """Write one element; attributes that are None are left out."""
    told = "".join(f' {key}="{text(value)}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{told}>{''.join(inside)}</{name}>" if inside else f"<{name}{told}/>"


@dataclass(frozen=True)
class Style:
    """What changes the looks of everything: see the traps of the same names; ``fresh`` replaces every updatedAt.

    ``told_of_people`` are attributes.
    """

    cloud: bool = False
    fractional: bool = False
    fresh: datetime | None = None
    told_of_people: frozenset[str] = ALONE

    def at(self, instant: datetime) -> str:
        """Write an instant as Tableau does."""
        return instant.isoformat(timespec="milliseconds" if self.fractional else "seconds") + "Z"

    def maybe(self, instant: datetime | None) -> str | None:
        """Write an instant that may not be."""
        return self.at(instant) if instant else None

    def content(self, item: Content) -> str:
        """Write a workbook, a data source or a flow."""
        tags = "".join([f'<tag label="{text(tag)}"/>' for tag in item.tags])
        place = '<location type="PersonalSpace" name="Personal Space"/>'
        if item.project is not None:
            place = f'<project id="{item.project}" name="{text(item.project_name)}"/>'
        return (
            f'<{item.kind} id="{item.luid}" name="{text(item.name)}"{EXTRA[item.kind](item)}'
            f' createdAt="{self.at(item.created_at)}" updatedAt="{self.at(self.fresh or item.updated_at)}">'
            f'{place}<owner id="{item.owner}"/><tags>{tags}</tags></{item.kind}>'
        )

    def project(self, item: Project) -> str:
        """Write a project."""
        attributes = {
            "id": item.luid,
            "name": item.name,
            "description": item.description,
            "createdAt": self.at(item.created_at),
            "updatedAt": self.at(self.fresh or item.updated_at),
            "contentPermissions": "ManagedByOwner",
            "parentProjectId": item.parent,
        }
        return element("project", attributes, element("owner", {"id": item.owner}))

    def person(self, item: Person) -> str:
        """Write a user."""
        attributes = {
            "id": item.luid,
            "name": item.name,
            "fullName": item.full_name,
            "email": item.email or None,
            "siteRole": item.role,
            "lastLogin": self.maybe(item.login_at),
            "externalAuthUserId": "",
        }
        told = {name: value for name, value in attributes.items() if name in self.told_of_people}
        return element("user", told, element("domain", {"name": item.domain}))

    def site(self, item: Site) -> str:
        """Write a site."""
        return element("site", {"id": item.luid, "name": item.name, "contentUrl": item.url, "state": "Active"})

    def schedule(self, item: Schedule) -> str:
        """Write a schedule: on Server it has a name and a state, on Cloud it is part of its task."""
        attributes: dict[str, object] = {"frequency": item.frequency, "nextRunAt": self.maybe(item.next_run_at)}
        if not self.cloud:
            attributes = {
                "id": item.luid,
                "name": item.name,
                "state": item.state,
                "priority": 50,
                "createdAt": self.at(item.created_at),
                "updatedAt": self.at(item.updated_at),
                "type": "Extract",
                **attributes,
            }
            return element("schedule", attributes)
        return element("schedule", attributes, _details(item))

    def task(self, item: Task) -> str:
        """Write a task; Cloud calls a run of a flow the same as Server does."""
        attributes = {
            "id": item.luid,
            "priority": item.priority,
            "consecutiveFailedCount": item.failures,
            "type": "RunFlowTask" if item.kind == "flow" else item.type,
        }
        named = {"id": item.asset, "name": item.asset_name} if item.kind == "flow" else {"id": item.asset}
        inside = self.schedule(item.schedule) + element(item.kind, named)
        return element("task", {}, element("flowRun" if item.kind == "flow" else "extractRefresh", attributes, inside))

    def job(self, item: Job) -> str:
        """Write a job as the list has it: what it works on is not told."""
        attributes = {
            "id": item.luid,
            "status": item.status,
            "createdAt": self.at(item.created_at),
            "startedAt": self.maybe(item.started_at),
            "endedAt": self.maybe(item.ended_at),
            "priority": item.priority,
            "jobType": item.type,
            "title": item.title,
            "subtitle": item.subtitle,
        }
        return element("backgroundJob", attributes)

    def single_job(self, item: Job) -> str:
        """Write a job as those get it who ask for it by its id: with the content it works on."""
        attributes = {
            "id": item.luid,
            "mode": "Asynchronous",
            "type": JOB_TYPES.get(item.type, item.type),
            "progress": item.progress,
            "createdAt": self.at(item.created_at),
            "startedAt": self.maybe(item.started_at),
            "updatedAt": self.at(item.ended_at or item.started_at or item.created_at),
            "completedAt": self.maybe(item.ended_at),
            "finishCode": FINISHED[item.status] if item.ended_at else None,
        }
        notes = element("notes", {}, text(item.notes)) if item.notes else ""
        if item.asset is None:
            return element("job", attributes, notes)
        named = element(str(item.kind), {"id": item.asset, "name": item.title})
        if item.kind == "flow":
            return element("job", attributes, element("runFlowJobType", {"flowRunId": item.run}, notes, named))
        return element("job", attributes, element("extractRefreshJob", {}, notes, named))

    def flow_run(self, item: FlowRun) -> str:
        """Write the run of a flow."""
        attributes = {
            "id": item.luid,
            "flowId": item.flow,
            "status": item.status,
            "startedAt": self.maybe(item.started_at),
            "completedAt": self.maybe(item.completed_at),
            "progress": item.progress,
            "backgroundJobId": item.job,
        }
        return element("flowRuns", attributes)


FINISHED = {"Success": 0, "Failed": 1, "Cancelled": 2}

EXTRA = {
    "workbook": lambda item: (
        f' contentUrl="{text(item.url)}" showTabs="true" size="{item.size}"'
        f' hasExtracts="{"true" if item.has_extracts else "false"}"'
    ),
    "datasource": lambda item: (
        f' contentUrl="{text(item.url)}" type="{text(item.type)}" isCertified="false" encryptExtracts="false"'
        f' hasExtracts="{"true" if item.has_extracts else "false"}"'
    ),
    "flow": lambda item: f' fileType="{text(item.type)}"',
}


def _details(item: Schedule) -> str:
    pieces: list[str] = []
    if item.frequency == "Hourly":
        minutes = item.every_minutes or 60
        length = {"minutes": minutes} if minutes < 60 else {"hours": minutes // 60}
        pieces.append(element("interval", {**length}))
    if item.frequency != "Daily":
        pieces += [element("interval", {"weekDay": day}) for day in item.weekdays]
    end = "23:59:00" if item.frequency == "Hourly" else None
    return element("frequencyDetails", {"start": item.start, "end": end}, _intervals(pieces))


def _intervals(pieces: Iterable[str]) -> str:
    return element("intervals", {}, "".join(pieces)) if pieces else ""
