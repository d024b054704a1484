"""The Activity Log read by the agent and by the plainest loop, in one run: seconds, processor seconds, peak memory.

    python -m benchmarks.activity_log [--files 6000] [--events 84]

A server of its own process has the files of a site, 84 requests each; what it costs is in both ways' time. The loop
lists, asks for addresses, downloads and parses each line, and does nothing with them; the agent archives them.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from exporter.activity_log.client import ActivityLogClient, ActivityLogOptions
from exporter.collectors import discover
from exporter.exposition.state_store import StateStore
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.poller.activity_poller import SOURCE, ActivityPoller, ActivitySchedule
from exporter.poller.context import PollContext

NOW = datetime(2026, 3, 1)  # noqa: DTZ001 - naive UTC, as in paths
SITE = "aaaaaaaa-0000-4000-8000-000000000001"
PAGE = 1000
FIELDS = {
    "eventTime": "%TIME%",
    "eventProcessedTime": "%TIME%",
    "eventType": "vizql_http_request",
    "eventOutcome": None,
    "eventOutcomeReason": None,
    "actorUserLuid": "b0ad5d8e-1111-2222-3333-444444444444",
    "initiatingUserId": 1234,
    "initiatingUserLuid": "b0ad5d8e-1111-2222-3333-444444444444",
    "licensingRoleName": "Creator",
    "siteLuid": SITE,
    "siteRoleId": 11,
    "systemAdminLevel": 0,
    "method": "POST",
    "duration": 123,
    "ipAddress": "10.1.2.3",
    "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1",
    "referrer": "https://10az.online.tableau.com/t/mysite/views/Superstore/Overview?:embed=y",
    "sessionId": "EBFD534DDD2D817E61278106103A55AC",
    "siteName": "My Site",
    "siteUri": "mysite",
    "viewLuid": "bc2015f1-4c97-49c6-ac5c-be1cb33fe112",
    "viewName": "Overview",
    "viewRepoUrl": "Superstore/sheets/Overview",
    "workbookLuid": "e495855a-30c4-4639-bf71-1b72fa5061e1",
    "workbookName": "Superstore",
    "workbookRevision": "3",
}
ENDPOINTS = ("bootstrapSession", "performPostLoadOperations", "tabdoc/select", "sessions", "tabdoc/set-parameter-value")


def hour_of(number: int, files: int) -> datetime:
    """Return the hour of a file: four an hour, up to now."""
    return NOW - timedelta(hours=(files - number) // 4 + 1)


def path_of(number: int, files: int) -> str:
    """Return the path of a file."""
    hour = hour_of(number, files)
    day = f"pod=x/siteLuid={SITE}/y={hour:%Y}/m={hour:%m}/d={hour:%d}"
    return f"{day}/h={hour:%H}/eventType=vizql_http_request/part-{number:06}.json"


def template(events: int) -> bytes:
    """Return a file whose ids and times are to be filled in."""
    lines = []
    for number in range(events):
        session = f"{number:032X}-0:0"
        uri = f"/vizql/t/mysite/w/Superstore/v/Overview/bootstrapSession/sessions/{session}"
        event = {**FIELDS, "actorUserId": number * 7 % 300, "requestId": f"%FILE%-{number}", "requestUri": uri}
        event |= {"endpointName": ENDPOINTS[number % len(ENDPOINTS)], "vizqlSessionId": session}
        lines.append(json.dumps(event))
    return "\n".join(lines).encode() + b"\n"


def serve(pipe: Connection, files: int, events: int) -> None:
    """Serve Tableau Cloud Manager and its store until the process is ended."""
    whole = template(events)
    paths = [path_of(number, files) for number in range(files)]
    numbers = {path: number for number, path in enumerate(paths)}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/login"):
                self._send(json.dumps({"sessionToken": "s", "tenantId": "t"}).encode())
                return
            url = f"http://127.0.0.1:{self.server.server_port}/object/"  # type: ignore[attr-defined] # a TCP server
            self._send(json.dumps({"files": [{"path": path, "url": url + path} for path in body["files"]]}).encode())

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.startswith("/object/"):
                number = numbers[parts.path.removeprefix("/object/")]
                at = f"{hour_of(number, files):%Y-%m-%dT%H}:00:00.{number % 1000:03}Z".encode()
                self._send(whole.replace(b"%FILE%", str(number).encode()).replace(b"%TIME%", at))
                return
            if parts.path.endswith("/sites"):
                self._send(json.dumps({"sites": [{"siteUUID": SITE, "contentUrl": "mysite"}]}).encode())
                return
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            begin, end = (datetime.fromisoformat(query[name]).replace(tzinfo=None) for name in ("startTime", "endTime"))
            first = int(query.get("pageToken", 0))
            found = [path for number, path in enumerate(paths) if begin <= hour_of(number, files) < end]
            page: dict[str, object] = {"files": [{"path": path} for path in found[first : first + PAGE]]}
            if first + PAGE < len(found):
                page["pageToken"] = str(first + PAGE)
            self._send(json.dumps(page).encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def loop(url: str, folder: Path) -> int:
    """List, presign, download, json.loads; one after the other."""
    del folder
    found = 0
    with httpx.Client() as client:
        session = client.post(f"{url}/api/v1/pat/login", json={"token": "t"}).json()
        client.headers["x-tableau-session-token"] = session["sessionToken"]
        log = f"{url}/api/v1/tenants/{session['tenantId']}/sites/{SITE}/activitylog"
        begin = NOW - timedelta(days=365)
        while begin < NOW:
            end = min(begin + timedelta(hours=168), NOW)
            query = {"startTime": f"{begin.isoformat()}Z", "endTime": f"{end.isoformat()}Z", "pageSize": str(PAGE)}
            while True:
                page = client.get(log, params=query).json()
                paths = [file["path"] for file in page["files"]]
                for first in range(0, len(paths), 100):
                    for file in client.post(log, json={"files": paths[first : first + 100]}).json()["files"]:
                        found += sum(1 for line in client.get(file["url"]).text.splitlines() if json.loads(line))
                if "pageToken" not in page:
                    break
                query["pageToken"] = page["pageToken"]
            begin = end
    return found


def ours(url: str, folder: Path) -> int:
    """Archive everything, as the agent's first poll does."""
    collectors = {name: found for name, found in discover().items() if found.from_activity_log}
    history = History(HistoryFile(folder / "history.duckdb"), collectors, Privacy())
    history.lock()
    store = StateStore([SOURCE], version="0", library="0", started_at=0.0)
    context = PollContext(history, collectors, store, lambda: NOW.replace(tzinfo=UTC).timestamp())
    client = ActivityLogClient(ActivityLogOptions(url, lambda: "t", folder=folder))
    poller = ActivityPoller(client, context, ActivitySchedule(900.0, 172_800.0))
    if not poller.poll():
        raise SystemExit("the poll failed")
    client.close()
    return int(history.totals.counter("tableau_history_rows_total", "activity_events"))


def measured(pipe: Connection, way: Callable[[str, Path], int], url: str) -> None:
    """Run one way, and send what it found and cost."""
    with tempfile.TemporaryDirectory() as folder:
        begun, used = time.monotonic(), time.process_time()
        found = way(url, Path(folder))
        pipe.send((found, time.monotonic() - begun, time.process_time() - used))
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(files: int, events: int) -> None:
    """Run the loop, the agent, and the loop again; print what each costs, and the agent's as a ratio of the loop's."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there, files, events), daemon=True)
    server.start()
    url = here.recv()
    costs: dict[str, list[tuple[float, float]]] = {}
    for name, way in (("plain loop", loop), ("agent", ours), ("plain loop", loop)):
        process = context.Process(target=measured, args=(there, way, url))
        process.start()
        found, seconds, processor = here.recv()
        peak = here.recv()
        process.join()
        costs.setdefault(name, []).append((seconds, processor))
        print(f"{name:12} {found:>9,} events {seconds:7.1f} s {processor:7.1f} s of processor {peak:6.0f} MB at most")
    server.terminate()
    plain = [sum(column) / len(column) for column in zip(*costs["plain loop"], strict=True)]
    time_ratio, processor_ratio = (cost / of_loop for cost, of_loop in zip(costs["agent"][0], plain, strict=True))
    print(f"the agent takes {time_ratio:.2f} x the time of the loop, {processor_ratio:.1f} x its processor time")


def main() -> None:
    """Measure by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=6000)
    parser.add_argument("--events", type=int, default=84)
    options = parser.parse_args()
    measure(options.files, options.events)


if __name__ == "__main__":
    main()
