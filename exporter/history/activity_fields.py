"""Which fields of an event of the Activity Log are stored under the privacy options.

New fields come without notice: where people may not be named, a field that is not known to be harmless is not stored.
"""

import re
from collections.abc import Iterable

from exporter.history.redaction import Privacy
from exporter.texts import SECRET_WORDS

COMMON = {
    "eventTime": "VARCHAR",
    "eventProcessedTime": "VARCHAR",
    "eventType": "VARCHAR",
    "eventOutcome": "VARCHAR",
    "eventOutcomeReason": "VARCHAR",
    "actorUserId": "BIGINT",
    "actorUserLuid": "VARCHAR",
    "initiatingUserId": "BIGINT",
    "initiatingUserLuid": "VARCHAR",
    "licensingRoleName": "VARCHAR",
    "siteLuid": "VARCHAR",
    "siteRoleId": "BIGINT",
    "systemAdminLevel": "BIGINT",
}
"""The fields that have columns of their own, and the types of these."""

HARMLESS = frozenset(
    {
        *("requestId", "requestUri", "method", "endpointName", "duration", "ipAddress", "userAgent", "referrer"),
        *("sessionId", "vizqlSessionId", "siteId", "siteName", "siteUri", "viewLuid", "viewName", "viewRepoUrl"),
        *("workbookLuid", "workbookName", "workbookRevision"),
        *("jobId", "jobLuid", "jobType", "eventState", "eventInitiatedTime", "isRunNow", "timeZone", "podName"),
        *("objLuid", "objName", "objType", "objRepositoryUrl", "objRevision", "objSize", "projectLuid", "projectName"),
        *("scheduleLuid", "scheduleName", "taskId", "taskLuid", "poolId", "poolName"),
        *("bridgeClientDeviceLuid", "bridgeClientVersion"),
        *("contentId", "contentLuid", "contentName", "contentType", "groupId", "groupLuid", "groupOperation"),
        *("isError", "statusCode", "serviceName", "traceUuid"),
    }
)
PERSON_IDS = frozenset(
    {
        *("bridgeClientOwnerLuid", "objOwnerLuid", "projectOwnerLuid", "userId", "userLuid"),
        *("impersonatedUserId", "impersonatedUserLuid"),
    }
)
"""Numbers and LUIDs of people: they name nobody, and are not stored where people may not be distinguished either."""

_ADDRESS = re.compile(r"ip_?(address)?$", re.IGNORECASE)
_URI = re.compile(r"(uri|url|referr?er)$", re.IGNORECASE)


def is_kept(name: str, privacy: Privacy) -> bool:
    """Whether a field that is not common is stored."""
    if any(word in name.lower() for word in SECRET_WORDS):
        return False
    if name != "ipAddress" and privacy.addresses != "full" and _ADDRESS.search(name):
        return False
    if privacy.users == "name":
        return True
    return name in HARMLESS or (name in PERSON_IDS and privacy.users == "pseudonym")


def other_uris(names: Iterable[str]) -> list[str]:
    """Return the fields that may be URIs beside those which are known: they are redacted too."""
    return sorted(name for name in names if _URI.search(name) and name not in HARMLESS)
