"""The fields of the Activity Log's events, from rows of the simulated company.

Names and types are those of Tableau's event type reference and of its own loader; what no source shows is in
docs/decisions/0022-assumptions-activity-log.md.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from exporter.demo.company import Company
from exporter.demo.jobs import CANCELLED, FAILURE, SUCCESS, content_of
from exporter.demo.rows import Row
from exporter.demo.tableau.tasks_jobs import job_luid

CANARY_UNKNOWN = "CANARYUNKNOWN"

# Events that become available from here on have an eventProcessedTime.
PROCESSED_SINCE = datetime(2026, 2, 1, tzinfo=UTC).replace(tzinfo=None)

# The ids of the site roles are the same on every site of Tableau Cloud; those of licences are names.
ROLES = {
    "SiteAdministratorExplorer": (0, "Explorer"),
    "ExplorerCanPublish": (2, "Explorer"),
    "Explorer": (3, "Explorer"),
    "Guest": (7, "Guest"),
    "Unlicensed": (8, "Unlicensed"),
    "Viewer": (9, "Viewer"),
    "Creator": (10, "Creator"),
    "SiteAdministratorCreator": (11, "Creator"),
    "ServerAdministrator": (11, "Creator"),
}
JOB_TYPES = {
    "refresh_extracts": "RefreshExtracts",
    "increment_extracts": "IncrementExtracts",
    "run_flow": "RunFlow",
    "single_subscription_notify": "SendSingleSubscription",
}
JOB_ENDS = {SUCCESS: "JobSuccess", FAILURE: "JobFailed", CANCELLED: "JobCancelled"}
BRIDGE_ENDS = {SUCCESS: "JobSuccess", FAILURE: "Failed", CANCELLED: "JobCancelled"}
BRIDGED = frozenset({"refresh_extracts", "increment_extracts"})
# Requests that send something; all others get.
POSTED = frozenset({"bootstrapSession", "performPostLoadOperations", "sessions", "save_customized_view"})
KINDS = {"workbooks": "Workbook", "datasources": "Datasource", "flows": "Flow"}
# Computers with Tableau Bridge and the pools that they are in.
BRIDGE_CLIENTS = (("BRIDGE-01", "Warehouse"), ("BRIDGE-02", "Warehouse"), ("bridge-fra.corp.example.com", "Frankfurt"))

Fields = Mapping[str, object]


class Event(NamedTuple):
    """One event; ``key`` identifies it within its type, also where the record has no field that does."""

    at: datetime
    type: str
    key: str
    fields: Fields

    def line(self, available_at: datetime) -> str:
        """Return the record as it is written into a file that becomes available at an instant."""
        record = {"eventTime": instant(self.at)}
        if available_at >= PROCESSED_SINCE:
            record["eventProcessedTime"] = instant(available_at)
        number = zlib.crc32(self.key.encode())
        fields = {**record, "eventType": self.type, **self.fields}
        if number % 11 == 0:
            fields = {name: value for name, value in fields.items() if value is not None}
        if number % 17 == 0:
            fields["embeddingContext"] = {"host": "portal.example.com", "user": f"{CANARY_UNKNOWN}@example.com"}
        return json.dumps(fields, ensure_ascii=number % 2 == 0, separators=(",", ":"))


def instant(at: datetime) -> str:
    """Write an instant as the records have it."""
    return f"{at.isoformat(timespec='milliseconds')}Z"


class Fielding:
    """Looks up what the rows of requests and jobs only refer to."""

    def __init__(self, company: Company) -> None:
        tables = company.tables
        self._tables = {table: {row["id"]: row for row in tables[table]} for table in (*KINDS, "users", "projects")}
        self._accounts = {row["id"]: row for row in tables["system_users"]}
        self._sites = {row["id"]: row for row in tables["sites"]}
        self._tasks = {row["id"]: row for row in tables["tasks"]}
        self._schedules = {row["id"]: row for row in tables["schedules"]}
        self._content = content_of(tables["tasks"], tables["flow_run_specs"])
        roles = {row["id"]: str(row["name"]) for row in tables["site_roles"]}
        self._actors = {row["id"]: self._actor(row, roles) for row in tables["users"]}
        self._views = {(row["site_id"], _sheet(str(row["repository_url"]))): self._view(row) for row in tables["views"]}
        self._titles = {
            (kind, row["site_id"], row["name"]): (table, row["id"])
            for table, kind in KINDS.items()
            for row in tables[table]
        }

    def request(self, row: Row) -> Fields:
        """Return the fields of a vizql_http_request; ``duration`` is in milliseconds."""
        site = self._sites[row["site_id"]]
        began_at, completed_at = _moment(row["created_at"]), _moment(row["completed_at"])
        sheet = "/".join(str(row["currentsheet"] or "").split("/")[:2])
        return {
            "eventOutcome": None,
            "eventOutcomeReason": None,
            **self.actor(row["user_id"]),
            "siteLuid": site["luid"],
            "requestId": row["request_id"],
            "requestUri": row["http_request_uri"],
            "method": "POST" if row["action"] in POSTED else "GET",
            "endpointName": row["action"],
            "duration": (completed_at - began_at) // timedelta(milliseconds=1),
            "ipAddress": row["user_ip"],
            "userAgent": row["http_user_agent"],
            "referrer": row["http_referer"],
            "sessionId": row["session_id"],
            "vizqlSessionId": row["vizql_session"],
            "siteName": site["name"],
            "siteUri": site["url_namespace"],
            **self._views.get((row["site_id"], sheet), NO_VIEW),
        }

    def login(self, row: Row, *, failed: bool) -> Fields:
        """Return the fields of a login_authentication, whose eventOutcome is null."""
        return {
            "eventOutcome": None,
            "eventOutcomeReason": None,
            **self.actor(row["user_id"]),
            "siteLuid": self._sites[row["site_id"]]["luid"],
            "isError": failed,
            "clientIp": row["user_ip"],
            "userAgent": row["http_user_agent"],
        }

    def jobs(self, row: Row) -> Iterator[Event]:
        """Yield the events of a job so far: background_job, and bridge_job where Tableau Bridge does the work."""
        if row["site_id"] is None:
            return
        luid = job_luid(row)
        number = zlib.crc32(luid.encode())
        content = self._worked_on(row)
        bridged = row["job_type"] in BRIDGED and content is not None and number_of(content) % 4 == 0
        common = self._job(row, luid, content, bridged=bridged)
        for at, state in _states(row, number, JOB_ENDS):
            duration = _duration(row, state)
            fields = {**common, "siteId": row["site_id"], "eventState": state, "duration": duration}
            yield Event(at, "background_job", f"{luid} {state}", fields)
        if bridged:
            bridge = self._bridge(row, content or {}, common)
            for at, state in _states(row, 1, BRIDGE_ENDS):
                fields = {
                    **bridge,
                    "siteId": str(row["site_id"]),
                    "eventState": state,
                    "duration": _duration(row, state),
                }
                yield Event(at, "bridge_job", f"{luid} {state}", fields)

    def actor(self, user_id: object) -> Fields:
        """Return who acts; nobody, all of them null."""
        return self._actors.get(user_id, NO_ACTOR)

    def site_luid(self, site_id: object) -> object:
        """Return the LUID of a site."""
        return self._sites[site_id]["luid"]

    def _actor(self, row: Row, roles: Mapping[object, str]) -> Fields:
        role, licence = ROLES[roles[row["site_role_id"]]]
        administrator = self._accounts[row["system_user_id"]]["admin_level"]
        return {
            "actorUserId": row["id"],
            "actorUserLuid": row["luid"],
            "initiatingUserId": row["id"],
            "initiatingUserLuid": row["luid"],
            "licensingRoleName": licence,
            "siteRoleId": role,
            "systemAdminLevel": administrator,
        }

    def _view(self, row: Row) -> Fields:
        workbook = self._tables["workbooks"][row["workbook_id"]]
        return {
            "viewLuid": row["luid"],
            "viewName": row["name"],
            "viewRepoUrl": row["repository_url"],
            "workbookLuid": workbook["luid"],
            "workbookName": workbook["name"],
            "workbookRevision": int(float(str(workbook["revision"]))),
        }

    def _worked_on(self, row: Row) -> Row | None:
        """Find the content of a job: by its task, or, where it was started by hand, by its title."""
        found = self._content.get(row["task_id"]) or self._titles.get((row["subtitle"], row["site_id"], row["title"]))  # type: ignore[arg-type]
        if found is None:
            return None
        table, key = found
        content = self._tables[table].get(key)
        return {**content, "kind": KINDS[table]} if content else None

    def _job(self, row: Row, luid: str, content: Row | None, *, bridged: bool) -> dict[str, object]:
        site = self._sites[row["site_id"]]
        job_type = JOB_TYPES.get(str(row["job_type"]), str(row["job_type"]))
        kind = content["kind"] if content else None
        return {
            "eventOutcome": None,
            "eventOutcomeReason": None,
            **self.actor(content["owner_id"] if content else None),
            "siteLuid": site["luid"],
            "siteName": site["name"],
            "jobId": row["id"],
            "jobLuid": luid,
            "jobType": f"{job_type}ViaBridge" if bridged else job_type,
            "eventInitiatedTime": instant(_moment(row["created_at"])),
            "notes": row["notes"],
            "args": f"[{kind}, {content['id']}, {content['name']}, null]" if content else None,
            "isRunNow": bool(row["run_now"]),
            "podName": "10az",
            "timeZone": None,
            **self._object(content),
            **self._schedule(self._tasks.get(row["task_id"])),
        }

    def _object(self, content: Row | None) -> Fields:
        if content is None:
            return NO_OBJECT
        owner = self._tables["users"][content["owner_id"]]
        project = self._tables["projects"].get(content["project_id"])
        project_owner = self._tables["users"][project["owner_id"]] if project else None
        return {
            "objLuid": content["luid"],
            "objName": content["name"],
            "objType": content["kind"],
            "objRepositoryUrl": content.get("repository_url"),
            "objRevision": content.get("revision"),
            "objSize": content.get("size"),
            "objOwnerLuid": owner["luid"],
            "objOwnerName": self._accounts[owner["system_user_id"]]["friendly_name"],
            "projectLuid": project["luid"] if project else None,
            "projectName": project["name"] if project else None,
            "projectOwnerLuid": project_owner["luid"] if project_owner else None,
            "projectOwnerEmail": self._accounts[project_owner["system_user_id"]]["email"] if project_owner else None,
        }

    def _schedule(self, task: Row | None) -> Fields:
        schedule = self._schedules[task["schedule_id"]] if task else None
        return {
            "scheduleLuid": schedule["luid"] if schedule else None,
            "scheduleName": schedule["name"] if schedule else None,
            "taskId": task["id"] if task else None,
            "taskLuid": task["luid"] if task else None,
        }

    def _bridge(self, row: Row, content: Row, common: Fields) -> Fields:
        """Return what a bridge_job has beside what it shares with the background_job; its ids are text."""
        shared = ("jobLuid", "jobType", "notes", "objLuid", "objName", "objRepositoryUrl", "objRevision", "objType")
        actors = ("eventOutcome", "eventOutcomeReason", *NO_ACTOR, "siteLuid", "siteName")
        number = number_of(content) // 4 % len(BRIDGE_CLIENTS)
        computer, pool = BRIDGE_CLIENTS[number]
        owner = self._tables["users"][content["owner_id"]]
        return {
            **{name: common[name] for name in (*actors, *shared)},
            "jobId": str(row["id"]),
            "bridgeClientComputerName": computer,
            "bridgeClientDeviceLuid": f"00000000-0000-4000-8000-{number:012d}",
            "bridgeClientOwnerLuid": owner["luid"],
            "bridgeClientOwnerName": self._accounts[owner["system_user_id"]]["friendly_name"],
            "bridgeClientVersion": "2026.1.0",
            "poolId": str(sorted({name for _, name in BRIDGE_CLIENTS}).index(pool) + 1),
            "poolName": pool,
        }


NO_ACTOR: Fields = dict.fromkeys(
    (
        *("actorUserId", "actorUserLuid", "initiatingUserId", "initiatingUserLuid"),
        *("licensingRoleName", "siteRoleId", "systemAdminLevel"),
    )
)
NO_VIEW: Fields = dict.fromkeys(
    ("viewLuid", "viewName", "viewRepoUrl", "workbookLuid", "workbookName", "workbookRevision")
)
NO_OBJECT: Fields = dict.fromkeys(
    (
        *("objLuid", "objName", "objType", "objRepositoryUrl", "objRevision", "objSize", "objOwnerLuid"),
        *("objOwnerName", "projectLuid", "projectName", "projectOwnerLuid", "projectOwnerEmail"),
    )
)


def number_of(content: Row) -> int:
    """Return a number that stays the same for a piece of content."""
    return zlib.crc32(str(content["luid"]).encode())


def _states(row: Row, number: int, ends: Mapping[int, str]) -> Iterator[tuple[datetime, str]]:
    """Yield the states of a job that it has had, with their instants; a few jobs have more of them than the rest."""
    created_at, started_at, completed_at = (row[name] for name in ("created_at", "started_at", "completed_at"))
    yield _moment(created_at), "JobQueued"
    if isinstance(started_at, datetime):
        if number % 29 == 0:
            yield _moment(created_at), "JobOverflowQueued"
            yield started_at, "JobOverflowPromoted"
        yield started_at, "JobStarted"
        if number % 97 == 0:
            yield started_at, "JobDeadJobRetried"
    if isinstance(completed_at, datetime):
        yield completed_at, ends[int(str(row["finish_code"]))]


def _duration(row: Row, state: str) -> int | None:
    if state in {"JobQueued", "JobStarted"} or not isinstance(row["completed_at"], datetime):
        return None
    return (row["completed_at"] - _moment(row["started_at"])) // timedelta(milliseconds=1)


def _sheet(repository_url: str) -> str:
    return repository_url.replace("/sheets/", "/")


def _moment(value: object) -> datetime:
    assert isinstance(value, datetime)  # noqa: S101 - the simulated company dates them all
    return value
