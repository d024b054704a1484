"""Requests to the simulated Tableau Cloud Manager: the call, and the window and page of a list."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

TENANT = "5a5a5a5a-0000-4000-8000-000000000001"
LONGEST_WINDOW = timedelta(hours=168)
DAY = timedelta(hours=24)
PAGE_SIZE, LARGEST_PAGE = 100, 1_000
INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
TENANT_PATH = rf"^/api/v1/tenants/{TENANT}"
ROUTES = (
    ("POST", re.compile(r"^/api/v1/pat/login$"), "login"),
    ("GET", re.compile(TENANT_PATH + r"/sites$"), "sites"),
    ("GET", re.compile(TENANT_PATH + r"(/sites/(?P<site>[^/]+))?/activitylog$"), "list"),
    ("POST", re.compile(TENANT_PATH + r"(/sites/(?P<site>[^/]+))?/activitylog$"), "sign"),
)


class Refusal(Exception):
    """An answer that is an error, as JSON with a message and a code."""

    def __init__(self, status: int, code: str | int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def kind_of(method: str, path: str) -> tuple[str, str | None]:
    """Return the kind of a call, empty for an unknown one, and the LUID of its site."""
    for wanted, pattern, kind in ROUTES:
        found = pattern.match(path)
        if found and wanted == method:
            return kind, found.groupdict().get("site")
    return "", None


def window_of(query: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    """Return the window of a list: without times the last 24 hours, and never more than 168 of them."""
    end = _instant(query["endTime"]) if query.get("endTime") else now
    begin = _instant(query["startTime"]) if query.get("startTime") else end - DAY
    if begin > end:
        raise Refusal(400, "400004", "startTime is after endTime.")
    if end - begin > LONGEST_WINDOW:
        raise Refusal(400, "400005", "The time range must not exceed 168 hours.")
    return begin, end


def _instant(text: str) -> datetime:
    if not INSTANT.match(text):
        raise Refusal(400, "400006", f"'{text}' is no date and time in ISO 8601.")
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def page_size(text: str | None) -> int:
    """Return how many entries a page may have."""
    wanted = int(text) if text and text.isdigit() else PAGE_SIZE
    return max(1, min(wanted, LARGEST_PAGE))


def page_token(first: int, at: datetime) -> str:
    """Write where a page begins, and when the first one was requested."""
    return base64.urlsafe_b64encode(json.dumps([first, at.isoformat()]).encode()).decode()


def page_begin(token: str | None, now: datetime) -> tuple[int, datetime]:
    """Return where a page begins and when the first one was requested: now, without a token."""
    if not token:
        return 0, now
    try:
        first, at = json.loads(base64.urlsafe_b64decode(token))
        return int(first), datetime.fromisoformat(at)
    except (binascii.Error, ValueError, TypeError):
        raise Refusal(400, "400007", "The pageToken is invalid.") from None


def parsed(body: bytes) -> Mapping[str, object]:
    """Return the JSON object of a request."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "400000", "The request is no JSON object.")
    return found
