"""Elements of the REST API's responses: sites, content, users, tasks and jobs as XML."""

from dataclasses import dataclass
from datetime import datetime

from exporter.demo.tableau.facts import (
    Content,
    FlowRun,
    Job,
    LinkedTask,
    Person,
    Project,
    Schedule,
    Site,
    Subscription,
    Task,
    View,
    VirtualConnection,
)
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.xml_writer import element, text

# The attributes of a user in a list, and those of a single one; further ones of a list must be requested.
PERSON = frozenset({"id", "name", "siteRole", "lastLogin", "externalAuthUserId"})
ALONE = PERSON | {"fullName", "authSetting", "domain"}
EVERYTHING = ALONE | {"email", "locale", "language"}
JOB_TYPES = {"refresh_extracts": "RefreshExtract", "increment_extracts": "RefreshExtract", "run_flow": "RunFlow"}
ODD = Oddities()
NO_SUCH_DAY = "2016-06-31T20:34:04Z"
# Jobs that end in one of these have no title where some have none.
UNTITLED = frozenset("05a")
SITE = {
    "adminMode": "ContentOnly",
    "disableSubscriptions": "false",
    "state": "Active",
    "revisionHistoryEnabled": "true",
    "revisionLimit": 25,
    "subscribeOthersEnabled": "true",
    "allowSubscriptionAttachments": "true",
    "guestAccessEnabled": "false",
    "cacheWarmupEnabled": "true",
    "commentingEnabled": "true",
    "editingFlowsEnabled": "true",
    "schedulingFlowsEnabled": "true",
    "extractEncryptionMode": "enabled",
    "catalogingEnabled": "true",
    "derivedPermissionsEnabled": "false",
    "requestAccessEnabled": "true",
    "runNowEnabled": "true",
    "isDataAlertsEnabled": "true",
    "askDataMode": "DisabledByDefault",
    "useDefaultTimeZone": "true",
    "timeZone": "",
}


@dataclass(frozen=True)
class Style:
    """Options of all elements: see the failure modes of the same names; ``fresh`` replaces every updatedAt.

    ``person_fields`` are attributes and the element domain.
    """

    cloud: bool = False
    fractional: bool = False
    fresh: datetime | None = None
    oddities: Oddities = ODD
    person_fields: frozenset[str] = ALONE
    usage: bool = False

    def at(self, instant: datetime) -> str:
        """Write an instant as Tableau does."""
        return instant.isoformat(timespec="milliseconds" if self.fractional else "seconds") + "Z"

    def maybe(self, instant: datetime | None) -> str | None:
        """Write an instant that may not be."""
        return self.at(instant) if instant else None

    def content(self, item: Content) -> str:
        """Write a workbook, a data source or a flow."""
        made_at = NO_SUCH_DAY if item.created_at is None else self.at(item.created_at)
        tags = "".join([f'<tag label="{text(tag)}"/>' for tag in item.tags])
        tags = f"<tags>{tags}</tags>" if tags else "<tags/>"
        if item.kind == "flow" and not item.tags and self.oddities.untagged_flows:
            tags = ""
        owner = f'<owner id="{item.owner}"/>' if item.owner else ""
        return (
            f'<{item.kind} id="{item.luid}" name="{text(item.name)}"{EXTRA[item.kind](item)}'
            f' createdAt="{made_at}" updatedAt="{self.at(self.fresh or item.updated_at)}">'
            f"{_place(item)}{owner}{tags}</{item.kind}>"
        )

    def view(self, item: View) -> str:
        """Write a view: its usage is sent only if it is requested."""
        attributes = {
            "id": item.luid,
            "name": item.name,
            "contentUrl": item.url,
            "createdAt": self.at(item.created_at),
            "updatedAt": self.at(self.fresh or item.created_at),
        }
        usage = [element("usage", {"totalViewCount": item.total})] if self.usage else []
        return element("view", attributes, element("workbook", {"id": item.workbook}), "<tags/>", *usage)

    def subscription(self, item: Subscription) -> str:
        """Write a subscription: only one that is suspended has that attribute."""
        attributes = {"id": item.luid, "subject": item.subject, "suspended": "true" if item.suspended else None}
        content = element("content", {"id": item.content, "type": item.content_type})
        schedule = element("schedule", {"frequency": "Daily"})
        return element("subscription", attributes, content, schedule, element("user", {"id": item.user}))

    def project(self, item: Project) -> str:
        """Write a project: the creation time is sent only if that field is requested."""
        attributes = {
            "id": item.luid,
            "name": item.name,
            "description": item.description,
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
            "authSetting": "ServerDefault",
            "lastLogin": self.maybe(item.login_at),
            "externalAuthUserId": "",
            "locale": "",
            "language": "en",
        }
        sent = {name: value for name, value in attributes.items() if name in self.person_fields}
        inside = [element("domain", {"name": item.domain})] if "domain" in self.person_fields else []
        return element("user", sent, *inside)

    def site(self, item: Site) -> str:
        """Write a site."""
        return element("site", {"id": item.luid, "name": item.name, "contentUrl": item.url, **SITE})

    def schedule(self, item: Schedule, kind: str = "Extract") -> str:
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
                "type": kind,
                **attributes,
            }
            return element("schedule", attributes)
        return element("schedule", attributes, _details(item))

    def task(self, item: Task) -> str:
        """Write a task; Cloud calls a run of a flow the same as Server does."""
        if item.kind == "flow":
            return element("task", {}, self._flow_task(item))
        attributes = {
            "id": item.luid,
            "priority": None if item.ran_at else item.priority,
            "consecutiveFailedCount": item.failures,
            "type": item.type,
        }
        inside = (
            [self.schedule(item.schedule, "DataAcceleration" if item.ran_at else "Extract")] if item.schedule else []
        )
        if item.kind is not None:
            inside.append(element(item.kind, {"id": item.asset}))
        if item.ran_at:
            inside.append(element("lastRunAt", {}, self.at(item.ran_at)))
        name = "dataAcceleration" if item.ran_at else "extractRefresh"
        return element("task", {}, element(name, attributes, *inside))

    def _flow_task(self, item: Task) -> str:
        attributes = {
            "id": item.luid,
            "priority": item.priority,
            "consecutiveFailedCount": item.failures,
            "type": "RunFlowTask",
        }
        steps = element("flowOutputSteps", {}) + element("flowParameterSpecs", {})
        inside = (
            self.schedule(item.schedule, "Flow") if item.schedule else "",
            element("flow", {"id": item.asset, "name": item.asset_name}),
            element("flowRunSpec", {"flowId": item.asset}, steps),
        )
        return element("flowRun", attributes, *inside)

    def linked_task(self, item: LinkedTask) -> str:
        """Write a linked task: its entries are called as the list is, and so are its steps."""
        flow = element("flow", {"id": item.flow, "name": item.flow_name})
        run = {"id": item.run, "priority": 1, "consecutiveFailedCount": 0, "type": "runFlow"}
        step = {"id": item.step, "stepNumber": 1, "stopDownstreamTasksOnFailure": "true"}
        steps = element("linkedTaskSteps", step, element("task", {}, element("flowRun", run, flow)))
        inside = self.schedule(item.schedule, "Flow"), element("linkedTaskSteps", {}, steps)
        return element("linkedTasks", {"id": item.luid, "numSteps": 1}, *inside)

    def virtual_connection(self, item: VirtualConnection) -> str:
        """Write a virtual connection."""
        attributes = {
            "createdAt": self.at(item.created_at),
            "hasExtracts": _truth(any(refreshed_at for _, refreshed_at in item.tables)),
            "id": item.luid,
            "isCertified": "false",
            "name": item.name,
            "updatedAt": self.at(item.updated_at),
            "webpageUrl": _address("virtualconnections", _unlike(item.luid)),
        }
        return element("virtualConnection", attributes)

    def job(self, item: Job) -> str:
        """Write a job as the list has it: without the content it works on."""
        titled = not self.oddities.untitled_jobs or item.luid[-1] not in UNTITLED
        attributes = {
            "id": item.luid,
            "status": item.status,
            "createdAt": self.at(item.created_at),
            "startedAt": self.maybe(item.started_at),
            "endedAt": self.maybe(item.ended_at),
            "priority": item.priority,
            "jobType": item.type,
            "title": item.title if titled else None,
            "subtitle": item.subtitle if titled else None,
        }
        return element("backgroundJob", attributes)

    def single_job(self, item: Job) -> str:
        """Write a job for a request by its id: with the content it works on."""
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
        named = element(str(item.kind), {"id": item.asset, "name": item.title}) if item.asset else ""
        notes = element("notes", {}, text(item.notes)) if item.notes else ""
        if item.kind == "flow":
            return element("job", attributes, element("runFlowJobType", {"flowRunId": item.run}, named, notes))
        if item.type in JOB_TYPES:
            return element("job", attributes, element("extractRefreshJob", {}, named, notes))
        return element("job", attributes)

    def single_flow_run(self, item: FlowRun) -> str:
        """Write the run of a flow for a request by its id."""
        return self.flow_run(item, "flowRun")

    def flow_run(self, item: FlowRun, name: str = "flowRuns") -> str:
        """Write the run of a flow: in a list it is called as the list is."""
        attributes = {
            "id": item.luid,
            "flowId": item.flow,
            "status": item.status,
            "startedAt": self.maybe(item.started_at),
            "completedAt": self.maybe(item.completed_at) or ("" if self.oddities.empty_completed_at else None),
            "progress": item.progress,
            "backgroundJobId": item.job,
        }
        return element(name, attributes)


FINISHED = {"Success": 0, "Failed": 1, "Cancelled": 2}

EXTRA = {
    "workbook": lambda item: (
        f' description="" contentUrl="{text(item.url)}" webpageUrl="{_page(item)}" showTabs="true"'
        f' size="{item.size}" hasExtracts="{_truth(item.has_extracts)}" encryptExtracts="false"'
    ),
    "datasource": lambda item: (
        f' description="" size="{item.size}" contentUrl="{text(item.url)}" type="{text(item.type)}" isCertified="false"'
        f' encryptExtracts="false" hasExtracts="{_truth(item.has_extracts)}" useRemoteQueryAgent="false"'
        f' webpageUrl="{_page(item)}"'
    ),
    "flow": lambda item: f' description="" webpageUrl="{_page(item)}" fileType="{text(item.type)}"',
}


def _truth(value: bool) -> str:  # noqa: FBT001 - the value
    return "true" if value else "false"


def _page(item: Content) -> str:
    return _address(f"{item.kind}s", _unlike(item.luid) if item.url_id is None else item.url_id)


def _address(kind: str, number: int) -> str:
    return f"https://tableau.example.com/#/{kind}/{number}"


def _unlike(luid: str) -> int:
    """Return a number for a page that no other API reports."""
    return int(luid[-6:], 16)


def _place(item: Content) -> str:
    """Write where content is: workbooks have a location beside their project; a Personal Space is no project."""
    if item.personal:
        return f'<location id="{item.owner}" type="PersonalSpace" name="Personal Space"/>'
    if item.project is None:
        return ""
    named = f'id="{item.project}" name="{text(item.project_name)}"'
    location = f'<location id="{item.project}" type="Project" name="{text(item.project_name)}"/>'
    return f"<project {named}/>{location if item.kind == 'workbook' else ''}"


def _details(item: Schedule) -> str:
    pieces: list[str] = []
    if item.frequency == "Hourly":
        minutes = item.every_minutes or 60
        length = {"minutes": minutes} if minutes < 60 else {"hours": minutes // 60}
        pieces.append(element("interval", {**length}))
    if item.frequency == "Daily":
        pieces.append(element("interval", {"hours": 24}))
    else:
        pieces += [element("interval", {"weekDay": day}) for day in item.weekdays]
    end = "23:59:00" if item.frequency == "Hourly" else item.start
    return element("frequencyDetails", {"start": item.start, "end": end}, element("intervals", {}, *pieces))
