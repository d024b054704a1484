"""The events of background jobs in the Activity Log: background_job, and bridge_job where Tableau Bridge does the work.

Names and types are those of Tableau's own loader; assumptions are in
docs/decisions/0023-simulated-activity-log.md.
"""

import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial

from exporter.demo.company import Company
from exporter.demo.jobs import CANCELLED, FAILURE, SUCCESS, content_of
from exporter.demo.rows import Row
from exporter.demo.tableau.activity_fields import Event, Fields, RequestRecords, instant
from exporter.demo.tableau.repository_facts import moment
from exporter.demo.tableau.tasks_jobs import job_luid

JOB_TYPES = {
    "refresh_extracts": "RefreshExtracts",
    "increment_extracts": "IncrementExtracts",
    "run_flow": "RunFlow",
    "single_subscription_notify": "SendSingleSubscription",
}
JOB_ENDS = {SUCCESS: "JobSuccess", FAILURE: "JobFailed", CANCELLED: "JobCancelled"}
BRIDGE_ENDS = {SUCCESS: "JobSuccess", FAILURE: "Failed", CANCELLED: "JobCancelled"}
BRIDGED = frozenset({"refresh_extracts", "increment_extracts"})
# Tableau Bridge refreshes the extracts of one data source in so many.
BRIDGED_SHARE = 2
KINDS = {"workbooks": "Workbook", "datasources": "Datasource", "flows": "Flow"}
# Computers with Tableau Bridge and the pools that they are in.
BRIDGE_CLIENTS = (("BRIDGE-01", "Warehouse"), ("BRIDGE-02", "Warehouse"), ("bridge-fra.corp.example.com", "Frankfurt"))


class JobRecords:
    """Resolve the ids that rows of jobs refer to."""

    def __init__(self, company: Company, requests: RequestRecords) -> None:
        tables = company.tables
        self._requests = requests
        self._tables = {table: {row["id"]: row for row in tables[table]} for table in (*KINDS, "users", "projects")}
        self._accounts = {row["id"]: row for row in tables["system_users"]}
        self._sites = {row["id"]: row for row in tables["sites"]}
        self._tasks = {row["id"]: row for row in tables["tasks"]}
        self._schedules = {row["id"]: row for row in tables["schedules"]}
        self._content = content_of(tables["tasks"], tables["flow_run_specs"])
        self._titles = {
            (kind, row["site_id"], row["name"]): (table, row["id"])
            for table, kind in KINDS.items()
            for row in tables[table]
        }

    def events(self, row: Row) -> Iterator[Event]:
        """Yield the events of a job so far: background_job, and bridge_job where Tableau Bridge does the work."""
        if row["site_id"] is None:
            return
        luid = job_luid(row)
        content = self._worked_on(row)
        for at, state in _states(row, zlib.crc32(luid.encode()), JOB_ENDS):
            fields = partial(self._background_job, row, content, state)
            yield Event(at, "background_job", f"{luid} {state}", fields)
        if content is not None and _is_bridged(row, content):
            for at, state in _states(row, 1, BRIDGE_ENDS):
                yield Event(at, "bridge_job", f"{luid} {state}", partial(self._bridge_job, row, content, state))

    def _worked_on(self, row: Row) -> Row | None:
        """Find the content of a job: by its task, or, where it was started by hand, by its title."""
        found = self._content.get(row["task_id"]) or self._titles.get((row["subtitle"], row["site_id"], row["title"]))  # type: ignore[arg-type] # columns of a row
        if found is None:
            return None
        table, key = found
        content = self._tables[table].get(key)
        return {**content, "kind": KINDS[table]} if content else None

    def _background_job(self, row: Row, content: Row | None, state: str) -> Fields:
        return {
            **self._job(row, content, state),
            "jobId": row["id"],
            "siteId": row["site_id"],
            "eventInitiatedTime": instant(moment(row["created_at"])),
            "args": f"[{content['kind']}, {content['id']}, {content['name']}, null]" if content else None,
            "isRunNow": bool(row["run_now"]),
            "podName": "10az",
            "timeZone": None,
            **self._place(content),
            **self._schedule(self._tasks.get(row["task_id"])),
        }

    def _job(self, row: Row, content: Row | None, state: str) -> Fields:
        """Return what background_job and bridge_job share."""
        site = self._sites[row["site_id"]]
        job_type = JOB_TYPES.get(str(row["job_type"]), str(row["job_type"]))
        bridged = content is not None and _is_bridged(row, content)
        thing = content or {}
        return {
            "eventOutcome": None,
            "eventOutcomeReason": None,
            **self._requests.actor(thing.get("owner_id")),
            "siteLuid": site["luid"],
            "siteName": site["name"],
            "eventState": state,
            "jobLuid": job_luid(row),
            "jobType": f"{job_type}ViaBridge" if bridged else job_type,
            "duration": _duration(row, state),
            "notes": row["notes"],
            "objLuid": thing.get("luid"),
            "objName": thing.get("name"),
            "objType": thing.get("kind"),
            "objRepositoryUrl": thing.get("repository_url"),
            "objRevision": thing.get("revision"),
        }

    def _place(self, content: Row | None) -> Fields:
        """Return whose the content of a job is and in which project it stands."""
        if content is None:
            return NO_PLACE
        project = self._tables["projects"].get(content["project_id"])
        project_owner = self._owner(project) if project else {}
        return {
            "objSize": content.get("size"),
            "objOwnerLuid": self._owner(content)["luid"],
            "objOwnerName": self._owner(content)["friendly_name"],
            "projectLuid": project["luid"] if project else None,
            "projectName": project["name"] if project else None,
            "projectOwnerLuid": project_owner.get("luid"),
            "projectOwnerEmail": project_owner.get("email"),
        }

    def _owner(self, row: Row) -> Row:
        user = self._tables["users"][row["owner_id"]]
        return {**self._accounts[user["system_user_id"]], "luid": user["luid"]}

    def _schedule(self, task: Row | None) -> Fields:
        schedule = self._schedules[task["schedule_id"]] if task else None
        return {
            "scheduleLuid": schedule["luid"] if schedule else None,
            "scheduleName": schedule["name"] if schedule else None,
            "taskId": task["id"] if task else None,
            "taskLuid": task["luid"] if task else None,
        }

    def _bridge_job(self, row: Row, content: Row, state: str) -> Fields:
        """Return the fields of a bridge_job; its ids are text."""
        number = number_of(content) // BRIDGED_SHARE % len(BRIDGE_CLIENTS)
        computer, pool = BRIDGE_CLIENTS[number]
        return {
            **self._job(row, content, state),
            "jobId": str(row["id"]),
            "siteId": str(row["site_id"]),
            "bridgeClientComputerName": computer,
            "bridgeClientDeviceLuid": f"00000000-0000-4000-8000-{number:012d}",
            "bridgeClientOwnerLuid": self._owner(content)["luid"],
            "bridgeClientOwnerName": self._owner(content)["friendly_name"],
            "bridgeClientVersion": "2026.1.0",
            "poolId": str(sorted({name for _, name in BRIDGE_CLIENTS}).index(pool) + 1),
            "poolName": pool,
        }


NO_PLACE: Fields = dict.fromkeys(
    (
        *("objSize", "objOwnerLuid", "objOwnerName"),
        *("projectLuid", "projectName", "projectOwnerLuid", "projectOwnerEmail"),
    )
)


def _is_bridged(row: Row, content: Row) -> bool:
    """Whether Tableau Bridge does the work of a job: always for the same data sources."""
    chosen = content["kind"] == "Datasource" and number_of(content) % BRIDGED_SHARE == 0
    return chosen and row["job_type"] in BRIDGED


def number_of(content: Row) -> int:
    """Return a number that stays the same for a piece of content."""
    return zlib.crc32(str(content["luid"]).encode())


def _states(row: Row, number: int, ends: Mapping[int, str]) -> Iterator[tuple[datetime, str]]:
    """Yield the states of a job that it has had, with their instants; a few jobs have more of them than the rest."""
    created_at, started_at, completed_at = (row[name] for name in ("created_at", "started_at", "completed_at"))
    yield moment(created_at), "JobQueued"
    if isinstance(started_at, datetime):
        if number % 29 == 0:
            yield moment(created_at), "JobOverflowQueued"
            yield started_at, "JobOverflowPromoted"
        yield started_at, "JobStarted"
        if number % 97 == 0:
            yield started_at, "JobDeadJobRetried"
    if isinstance(completed_at, datetime):
        yield completed_at, ends[int(str(row["finish_code"]))]


def _duration(row: Row, state: str) -> int | None:
    if state in {"JobQueued", "JobStarted"} or not isinstance(row["completed_at"], datetime):
        return None
    return (row["completed_at"] - moment(row["started_at"])) // timedelta(milliseconds=1)
