"""The events of the simulated Activity Log, and the fields of requests and logins.

Names and types are those of Tableau's event type reference and of its own loader; assumptions are in
docs/decisions/0023-simulated-activity-log.md.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from exporter.demo.company import Company
from exporter.demo.rows import Row
from exporter.demo.tableau.repository_facts import moment

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
# Requests that send something; all others get.
POSTED = frozenset({"bootstrapSession", "performPostLoadOperations", "sessions", "save_customized_view"})
Fields = Mapping[str, object]
# Text that is not ASCII comes escaped, or as it is.
ENCODERS = tuple(json.JSONEncoder(ensure_ascii=ascii_only, separators=(",", ":")) for ascii_only in (True, False))


class Event(NamedTuple):
    """One event; ``key`` identifies it within its type, also where the record has no field that does.

    ``fields`` are made when they are written: who only counts events needs none.
    """

    at: datetime
    type: str
    key: str
    fields: Callable[[], Fields]

    def line(self, available_at: datetime) -> str:
        """Return the record as it is written into a file that becomes available at an instant."""
        record = {"eventTime": instant(self.at)}
        if available_at >= PROCESSED_SINCE:
            record["eventProcessedTime"] = instant(available_at)
        number = zlib.crc32(self.key.encode())
        fields = {**record, "eventType": self.type, **self.fields()}
        if number % 11 == 0:
            fields = {name: value for name, value in fields.items() if value is not None}
        if number % 17 == 0:
            fields["embeddingContext"] = {"host": "portal.example.com", "user": f"{CANARY_UNKNOWN}@example.com"}
        return ENCODERS[number % 2].encode(fields)


def instant(at: datetime) -> str:
    """Write an instant as the records have it."""
    return f"{at.isoformat(timespec='milliseconds')}Z"


class RequestRecords:
    """Resolve the ids that rows of requests refer to."""

    def __init__(self, company: Company) -> None:
        tables = company.tables
        self._workbooks = {row["id"]: row for row in tables["workbooks"]}
        self._accounts = {row["id"]: row for row in tables["system_users"]}
        self._sites = {row["id"]: row for row in tables["sites"]}
        roles = {row["id"]: str(row["name"]) for row in tables["site_roles"]}
        self._actors = {row["id"]: self._actor(row, roles) for row in tables["users"]}
        self._views = {(row["site_id"], _sheet(str(row["repository_url"]))): self._view(row) for row in tables["views"]}

    def request(self, row: Row) -> Fields:
        """Return the fields of a vizql_http_request; ``duration`` is in milliseconds."""
        site = self._sites[row["site_id"]]
        began_at, completed_at = moment(row["created_at"]), moment(row["completed_at"])
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

    def actor(self, user_id: object) -> Fields:
        """Return the fields of the acting user, all null without one."""
        return self._actors.get(user_id, NO_ACTOR)

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
        workbook = self._workbooks[row["workbook_id"]]
        return {
            "viewLuid": row["luid"],
            "viewName": row["name"],
            "viewRepoUrl": row["repository_url"],
            "workbookLuid": workbook["luid"],
            "workbookName": workbook["name"],
            "workbookRevision": int(float(str(workbook["revision"]))),
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


def _sheet(repository_url: str) -> str:
    return repository_url.replace("/sheets/", "/")
