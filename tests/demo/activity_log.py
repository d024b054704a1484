"""A client of the simulated Tableau Cloud Manager, as plain as the answers allow."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import Place
from exporter.demo.tableau.cloud_manager import TOKEN, CloudManager

WEEK = timedelta(hours=168)
Record = dict[str, Any]


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: datetime

    def __call__(self) -> datetime:
        """Return the time."""
        return self.at


class Client:
    """One session; answers are returned as they come."""

    def __init__(self, manager: CloudManager, *, token: str = TOKEN) -> None:
        self.manager = manager
        self.signed_in = httpx.post(f"{manager.url}/api/v1/pat/login", json={"token": token}, timeout=30)
        granted = self.signed_in.json() if self.signed_in.is_success else {}
        self.headers = {"x-tableau-session-token": granted.get("sessionToken", "")}
        self.tenant = f"{manager.url}/api/v1/tenants/{granted.get('tenantId')}"

    def get(self, path: str, **query: str) -> httpx.Response:
        """Get an answer of the tenant."""
        return httpx.get(f"{self.tenant}{path}", params=query, headers=self.headers, timeout=30)

    def files(self, site: Place, begin: datetime, end: datetime, **query: str) -> httpx.Response:
        """List the files of a site in a window."""
        times = {"startTime": written(begin), "endTime": written(end)}
        return self.get(f"/sites/{site.luid}/activitylog", **times, **query)

    def sign(self, site: Place, paths: Iterable[str]) -> httpx.Response:
        """Request presigned addresses."""
        address = f"{self.tenant}/sites/{site.luid}/activitylog"
        return httpx.post(address, json={"files": [*paths]}, headers=self.headers, timeout=30)

    def paths(self, site: Place, begin: datetime, end: datetime, **query: str) -> list[str]:
        """List all files of a site in a span of any length, as often as they are listed."""
        found: list[str] = []
        while begin < end:
            answer = self.files(site, begin, min(begin + WEEK, end), **query).json()
            found += [file["path"] for file in answer["files"]]
            while token := answer.get("pageToken"):
                answer = self.files(site, begin, min(begin + WEEK, end), pageToken=token, **query).json()
                found += [file["path"] for file in answer["files"]]
            begin += WEEK
        return found

    def download(self, site: Place, path: str) -> httpx.Response:
        """Download a file, at an address of its own."""
        (file,) = self.sign(site, [path]).json()["files"]
        return httpx.get(file["url"], timeout=30)

    def bodies(self, site: Place, paths: Iterable[str]) -> dict[str, bytes]:
        """Download files by their paths."""
        chosen = [*dict.fromkeys(paths)]
        found = {}
        with httpx.Client(timeout=30) as store:
            for first in range(0, len(chosen), 100):
                for file in self.sign(site, chosen[first : first + 100]).json()["files"]:
                    found[file["path"]] = store.get(file["url"]).raise_for_status().content
        return found


def records(body: bytes) -> list[Record]:
    """Parse the lines of a file."""
    return [json.loads(line) for line in body.splitlines()]


def everything(manager: CloudManager) -> dict[str, list[Record]]:
    """Read all files that are listed now, by their paths."""
    client, files = Client(manager), manager.files
    end = files.clock() + timedelta(hours=1)
    bodies: dict[str, bytes] = {}
    for site in files.sites:
        bodies |= client.bodies(site, client.paths(site, files.since, end))
    return {path: records(body) for path, body in bodies.items()}


def written(at: datetime) -> str:
    """Write an instant as the API wants it."""
    return f"{at.isoformat(timespec='milliseconds')}Z"


def key(record: Mapping[str, Any]) -> str | None:
    """Return what identifies a record within its type, where it has something that does."""
    if "jobLuid" in record:
        return f"{record['jobLuid']} {record['eventState']}"
    return record.get("requestId")


def any_file(files: ActivityFiles, kind: str) -> tuple[Place, str]:
    """Return a site and the path of a file that has events of a type."""
    for file in files.all_listed():
        if file.type == kind and len(files.events(file)) > 1:
            return file.site, file.path
    raise AssertionError(f"no file of {kind}")
