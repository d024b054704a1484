"""Requests as they come in, responses as they go out, and the kind of call of each path."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

XML = "application/xml;charset=utf-8"
JSON = "application/json;charset=utf-8"
HTML = "text/html;charset=utf-8"

SYSTEM_INFO = "/admin/systeminfo.xml"
VDS = re.compile(r"^/api/v1/vizql-data-service/(?P<name>[^/]+)$")
VDS_KINDS = {"query-datasource": "vds_query", "read-metadata": "vds_metadata"}
VERSIONED = re.compile(r"^/api/(?P<version>\d+\.\d+|exp)(?P<rest>/.*)$")
ROUTES = (
    ("GET", re.compile(r"^/serverinfo$", re.IGNORECASE), "serverinfo"),
    ("POST", re.compile(r"^/auth/signin$", re.IGNORECASE), "signin"),
    ("POST", re.compile(r"^/auth/signout$", re.IGNORECASE), "signout"),
    ("POST", re.compile(r"^/auth/switchsite$", re.IGNORECASE), "switchsite"),
    ("GET", re.compile(r"^/sites$"), "sites"),
    ("GET", re.compile(r"^/sites/(?P<id>[^/]+)$"), "site"),
    ("GET", re.compile(r"^/schedules$"), "schedules"),
    ("GET", re.compile(r"^/sites/(?P<site>[^/]+)/jobs/(?P<id>[^/]+)$"), "job"),
    ("GET", re.compile(r"^/sites/(?P<site>[^/]+)/flows/runs(/(?P<id>[^/]+))?$"), "flow_runs"),
    ("GET", re.compile(r"^/sites/(?P<site>[^/]+)/tasks/extractRefreshes(/(?P<id>[^/]+))?$"), "tasks"),
    ("GET", re.compile(r"^/sites/(?P<site>[^/]+)/tasks/runFlow(/(?P<id>[^/]+))?$"), "flow_tasks"),
    ("GET", re.compile(r"^/sites/(?P<site>[^/]+)/tasks/linked(/(?P<id>[^/]+))?$"), "linked_tasks"),
    ("POST", re.compile(r"^/sites/(?P<site>[^/]+)/fileUploads$"), "upload"),
    ("PUT", re.compile(r"^/sites/(?P<site>[^/]+)/fileUploads/(?P<id>[^/]+)$"), "append"),
    ("POST", re.compile(r"^/sites/(?P<site>[^/]+)/datasources$"), "publish"),
    ("GET", re.compile(r"^/sites/(?P<site>[^/]+)/virtualconnections$", re.IGNORECASE), "virtual_connections"),
    (
        "GET",
        re.compile(
            r"^/sites/(?P<site>[^/]+)/(?P<kind>workbooks|views|datasources|flows|projects|users|jobs|subscriptions)(/(?P<id>[^/]+))?$"
        ),
        "",
    ),
)


class Call(NamedTuple):
    """A request; ``kind`` is empty for an unknown path."""

    kind: str
    version: str
    site: str | None
    id: str | None
    query: Mapping[str, str]
    token: str | None
    body: bytes


class Answer(NamedTuple):
    """A response; ``headers`` beside those of its length and type."""

    status: int
    body: bytes
    type: str = XML
    headers: tuple[tuple[str, str], ...] = ()


def understood(method: str, target: str, token: str | None, body: bytes) -> Call:
    """Parse a request into its kind, site, key and parameters."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = parts.path.rstrip("/")
    if path == "/api/metadata/graphql" and method == "POST":
        return Call("metadata", "", None, None, query, token, body)
    if path == SYSTEM_INFO and method == "GET":
        return Call("systeminfo", "", None, None, query, token, body)
    if (found := VDS.match(path)) and method == "POST":
        return Call(VDS_KINDS.get(found["name"], "vds"), "", None, None, query, token, body)
    versioned = VERSIONED.match(path)
    for wanted, pattern, kind in ROUTES if versioned else ():
        found = pattern.match(versioned["rest"]) if versioned and wanted == method else None
        if found and versioned:
            named = found.groupdict()
            key = named.get("id")
            found_kind = named.get("kind") or kind
            return Call(
                found_kind, versioned["version"], named.get("site"), unquote(key) if key else None, query, token, body
            )
    return Call("", versioned["version"] if versioned else "", None, None, query, token, body)
