"""The simulated Activity Log: its answers and its records held against the facts, and what is odd about its files.

The tables are ours; their facts come from Tableau's own loader (github.com/tableau/tabcloud_platform_data_loader:
``extractor/retriever``, ``mappings/transformer``) and its event type reference (help.tableau.com, activity_log_schema).
Assumptions are in docs/decisions/0023-simulated-activity-log.md.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import httpx
import pytest

from exporter.demo.company import Company
from exporter.demo.live_traffic import SECONDS_PER_REFRESH
from exporter.demo.tableau.activity_fields import PROCESSED_SINCE
from exporter.demo.tableau.activity_files import PAST_BY, ActivityFiles, File
from exporter.demo.tableau.activity_story import BRIDGE, JOBS, LOGINS, REQUESTS, TYPES, ActivityStory
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.demo.tableau.memory_estate import LiveCompany
from exporter.demo.tableau.server_process import serving_cloud
from tests.demo.activity_log import Client, Clock, Record, any_file, everything, key, written

SITES, DAYS, REQUESTS_PER_DAY = 2, 4, 700
TEXT, NUMBER, FLAG, INSTANT = str, int, bool, "instant"
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
# mappings/transformer: the common attributes of all site events, and their types.
COMMON = {
    **dict.fromkeys(("eventTime", "eventProcessedTime"), INSTANT),
    **dict.fromkeys(("eventType", "eventOutcome", "eventOutcomeReason", "licensingRoleName", "siteLuid"), TEXT),
    **dict.fromkeys(("actorUserLuid", "initiatingUserLuid"), TEXT),
    **dict.fromkeys(("actorUserId", "initiatingUserId", "siteRoleId", "systemAdminLevel"), NUMBER),
}
SHARED_BY_JOBS = {
    **dict.fromkeys(("eventState", "jobLuid", "jobType", "notes", "siteName"), TEXT),
    **dict.fromkeys(("objLuid", "objName", "objRepositoryUrl", "objRevision", "objType"), TEXT),
    "duration": NUMBER,
}
RECORDS: dict[str, dict[str, object]] = {
    # mappings/transformer/vizql_http_request.yaml
    REQUESTS: {
        **COMMON,
        **dict.fromkeys(("endpointName", "ipAddress", "method", "referrer", "requestId", "requestUri"), TEXT),
        **dict.fromkeys(("sessionId", "siteName", "siteUri", "userAgent", "viewLuid", "viewName", "viewRepoUrl"), TEXT),
        **dict.fromkeys(("vizqlSessionId", "workbookLuid", "workbookName"), TEXT),
        **dict.fromkeys(("duration", "workbookRevision"), NUMBER),
    },
    # mappings/transformer/background_jobs.yaml: "siteId is integer in background_job but string in bridge_job"
    JOBS: {
        **COMMON,
        **SHARED_BY_JOBS,
        **dict.fromkeys(("args", "objOwnerLuid", "objOwnerName", "podName", "scheduleLuid", "scheduleName"), TEXT),
        **dict.fromkeys(("projectLuid", "projectName", "projectOwnerEmail", "projectOwnerLuid", "taskLuid"), TEXT),
        **dict.fromkeys(("jobId", "siteId", "objSize", "taskId", "timeZone"), NUMBER),
        "eventInitiatedTime": INSTANT,
        "isRunNow": FLAG,
    },
    BRIDGE: {
        **COMMON,
        **SHARED_BY_JOBS,
        **dict.fromkeys(("bridgeClientComputerName", "bridgeClientDeviceLuid", "bridgeClientOwnerLuid"), TEXT),
        **dict.fromkeys(
            ("bridgeClientOwnerName", "bridgeClientVersion", "poolId", "poolName", "siteId", "jobId"), TEXT
        ),
    },
}
# What some records have that no reference lists.
NEW = {"embeddingContext"}
# mappings/loader/background_jobs.tds
STATES = {
    *("JobQueued", "JobStarted", "JobSuccess", "JobFailed", "Failed"),
    *("JobOverflowQueued", "JobOverflowPromoted", "JobDeadJobRetried"),
}
NEVER_SET = {"eventOutcomeReason", "timeZone", "eventOutcome", "notes"}


@pytest.fixture(scope="module")
def clock(now: datetime) -> Clock:
    """The clock of the manager; who moves it puts it back."""
    return Clock(now)


@pytest.fixture(scope="module")
def manager(company: Company, clock: Clock, now: datetime) -> Iterator[CloudManager]:
    """A manager with the log of two sites of a small company."""
    story = ActivityStory(company, sites=SITES, requests_per_day=REQUESTS_PER_DAY)
    begin = now.replace(minute=0) - timedelta(days=DAYS)
    with CloudManager(ActivityFiles(story, begin, clock)) as started:
        yield started


@pytest.fixture(scope="module")
def read(manager: CloudManager) -> dict[str, list[Record]]:
    """Every file of it, by its path."""
    return everything(manager)


def of_type(read: dict[str, list[Record]], kind: str) -> list[Record]:
    """Return the records of a type."""
    return [record for file in read.values() for record in file if record["eventType"] == kind]


def is_a(value: object, kind: object) -> bool:
    """Return whether a value is of a type of the table, or null."""
    if value is None:
        return True
    if kind == INSTANT:
        return isinstance(value, str) and bool(ISO.match(value))
    return type(value) is kind


@pytest.mark.parametrize("kind", RECORDS)
def test_each_record_has_the_fields_of_its_type(read: dict[str, list[Record]], kind: str) -> None:
    """Every field of the table is sent, with its type or null, and no other one but those that are new."""
    fields, rows = RECORDS[kind], of_type(read, kind)
    assert rows
    for row in rows:
        assert row.keys() <= fields.keys() | NEW
        assert [name for name, value in row.items() if name not in NEW and not is_a(value, fields[name])] == []
    assert {name for row in rows for name in row} >= fields.keys() - {"eventProcessedTime"}
    set_somewhere = {name for row in rows for name, value in row.items() if value is not None}
    assert fields.keys() - set_somewhere - {"eventProcessedTime"} <= NEVER_SET


def test_ids_are_numbers_in_one_type_and_text_in_another(read: dict[str, list[Record]]) -> None:
    """The same job has its siteId and jobId as integers in background_job and as text in bridge_job."""
    jobs = {row["jobLuid"]: row for row in of_type(read, JOBS)}
    for row in of_type(read, BRIDGE):
        same = jobs[row["jobLuid"]]
        assert (row["siteId"], row["jobId"]) == (str(same["siteId"]), str(same["jobId"]))


def test_fields_are_null_or_absent(read: dict[str, list[Record]]) -> None:
    """A field without a value is null in one record and absent from another; some records have a new field."""
    rows = of_type(read, REQUESTS)
    assert any("viewLuid" in row and row["viewLuid"] is None for row in rows)
    assert any("viewLuid" not in row for row in rows)
    assert any(row["actorUserId"] is None for row in rows if "actorUserId" in row)
    assert any("embeddingContext" in row for row in rows)


def test_a_type_that_no_reference_lists_comes_too(read: dict[str, list[Record]]) -> None:
    """Every type of the story has records, the unknown one too."""
    assert {record["eventType"] for file in read.values() for record in file} == set(TYPES)


def test_jobs_have_a_record_for_each_state(read: dict[str, list[Record]]) -> None:
    """A job is queued, started and ended, each once; the ends are those of the jobs of the REST API."""
    rows = of_type(read, JOBS)
    assert {row["eventState"] for row in rows} <= STATES | {"JobCancelled"}
    states = Counter((row["jobLuid"], row["eventState"]) for row in rows)
    assert set(states.values()) == {1}
    ended = {luid for luid, state in states if state in {"JobSuccess", "JobFailed", "JobCancelled"}}
    queued = {luid for luid, state in states if state == "JobQueued"}
    assert len(ended & queued) > len(ended) * 0.9


def test_the_log_tells_of_the_jobs_that_the_rest_api_lists(read: dict[str, list[Record]], company: Company) -> None:
    """A job that ended in the log did so at the instant and with the outcome that the repository has of it."""
    rows = {row["luid"]: row for row in company.tables["background_jobs"]}
    names = {"JobSuccess": 0, "JobFailed": 1, "JobCancelled": 2}
    ends = [row for row in of_type(read, JOBS) if row["eventState"] in names]
    assert ends
    for row in ends:
        job = rows[row["jobLuid"]]
        assert job["finish_code"] == names[row["eventState"]]
        assert row["eventTime"] == written(job["completed_at"])  # type: ignore[arg-type]


def test_who_requests_is_a_user_of_the_site(read: dict[str, list[Record]], company: Company) -> None:
    """The actors of requests and logins are users of the site in whose file they are, by number and by LUID."""
    luids = {row["id"]: str(row["luid"]) for row in company.tables["sites"]}
    users = {row["luid"]: (row["id"], luids[row["site_id"]]) for row in company.tables["users"]}
    actors = [row for row in (*of_type(read, REQUESTS), *of_type(read, LOGINS)) if row.get("actorUserLuid")]
    assert len({row["actorUserLuid"] for row in actors}) > 10
    assert all(users[row["actorUserLuid"]] == (row["actorUserId"], row["siteLuid"]) for row in actors)


def test_records_are_where_their_path_says(read: dict[str, list[Record]]) -> None:
    """A record has the type and the site of its path, and happened before the hour of the path ended."""
    for path, file in read.items():
        site, hour, kind = parts(path)
        for row in file:
            assert (row["eventType"], row["siteLuid"]) == (kind, site)
            assert row["eventTime"] < written(hour + timedelta(hours=1))


def parts(path: str) -> tuple[str, datetime, str]:
    """Return the site, the hour and the type of a path."""
    found = re.fullmatch(
        r"pod=10az/siteLuid=([^/]+)/y=(\d{4})/m=(\d\d)/d=(\d\d)/h=(\d\d)/eventType=(\w+)/part-\d{4}\.json", path
    )
    assert found, path
    return found[1], datetime(*map(int, found.group(2, 3, 4, 5))), found[6]  # type: ignore[arg-type]  # noqa: DTZ001


def test_what_is_read_is_the_truth(manager: CloudManager, read: dict[str, list[Record]]) -> None:
    """The records of all files are counted by site, type and hour as the truth has them, each once."""
    found: Counter[tuple[str, str, datetime]] = Counter()
    for file in read.values():
        for row in file:
            found[row["siteLuid"], row["eventType"], datetime.fromisoformat(row["eventTime"][:13])] += 1
    assert found == manager.files.truth()
    keys = Counter((row["eventType"], key(row)) for file in read.values() for row in file if key(row))
    assert set(keys.values()) == {1}


def test_a_file_is_the_same_at_every_download(manager: CloudManager, company: Company, clock: Clock) -> None:
    """The content of a path does not change, not even on another server with requests in another order."""
    other = ActivityFiles(
        ActivityStory(company, sites=SITES, requests_per_day=REQUESTS_PER_DAY), manager.files.since, clock
    )
    listed = [*manager.files.all_listed()]
    chosen = [file for kind in TYPES for file in [found for found in listed if found.type == kind][::-9]]
    contents = [other.content(file) for file in chosen]
    assert contents == [manager.files.content(file) for file in reversed(chosen)][::-1]
    assert {file.type for file, content in zip(chosen, contents, strict=True) if content} == {*TYPES}


def test_some_records_are_late(read: dict[str, list[Record]]) -> None:
    """Some files have records of the day before, beside those of their hour."""
    late = {
        path: [row for row in file if row["eventTime"] < written(parts(path)[1] - timedelta(hours=24))]
        for path, file in read.items()
    }
    assert any(late.values())
    assert any(0 < len(rows) < len(read[path]) for path, rows in late.items())


def test_a_file_appears_in_a_past_hour(manager: CloudManager, clock: Clock, now: datetime) -> None:
    """Some time later the list of a window that has passed gets files that it had not."""
    site = manager.files.sites[1]
    window = (manager.files.since, now - timedelta(hours=2))
    client = Client(manager)
    before = client.paths(site, *window)
    clock.at = now + PAST_BY
    try:
        after = Client(manager).paths(site, *window)
    finally:
        clock.at = now
    assert set(before) < set(after)
    assert all(path.endswith("part-0002.json") for path in set(after) - set(before))


def test_paths_are_listed_again(manager: CloudManager) -> None:
    """A page begins with the last path of the page before it."""
    client, site = Client(manager), manager.files.sites[0]
    begin, end = manager.files.since, manager.files.clock()
    first = client.files(site, begin, end, pageSize="10").json()
    second = client.files(site, begin, end, pageSize="10", pageToken=first["pageToken"]).json()
    assert len(first["files"]) == 10
    assert second["files"][0] == first["files"][-1]
    assert second["files"][1]["path"] not in {file["path"] for file in first["files"]}


def test_some_files_are_empty(read: dict[str, list[Record]]) -> None:
    """There are files without a record."""
    assert [] in read.values()


def test_records_say_since_2026_when_they_were_processed(company: Company) -> None:
    """An eventProcessedTime comes with what became available after the migration, and not before."""
    story = ActivityStory(company, sites=SITES, requests_per_day=REQUESTS_PER_DAY)
    begin = PROCESSED_SINCE - timedelta(hours=12)
    files = ActivityFiles(story, begin, lambda: PROCESSED_SINCE + timedelta(hours=12))
    found = {b"eventProcessedTime" in files.content(file) for file in before(files)}
    assert found == {False}
    rows = [files.content(file) for file in files.all_listed() if file.available_at >= PROCESSED_SINCE]
    assert all(b"eventProcessedTime" in body for body in rows if body)


def before(files: ActivityFiles) -> list[File]:
    """Return the files that were available before the migration."""
    return [file for file in files.all_listed() if file.available_at < PROCESSED_SINCE]


def test_live_events_come_within_minutes(company: Company, now: datetime) -> None:
    """From the hour of the start on a file has the events of a minute, and requests of it are read soon after."""
    hour = now.replace(minute=0)
    clock = Clock(now + timedelta(minutes=10))
    life = LiveCompany(company, Random(3), clock)
    story = ActivityStory(company, sites=1, live_since=hour, new_jobs=life.new_jobs)
    files = ActivityFiles(story, hour, clock, live_since=hour, delay=timedelta(seconds=20))
    with CloudManager(files) as manager:
        read = everything(manager)
    newest = max(row["eventTime"] for row in of_type(read, REQUESTS))
    assert written(clock.at - timedelta(minutes=2)) < newest < written(clock.at)


def test_jobs_of_a_live_company_are_in_its_log(company: Company, now: datetime) -> None:
    """A refresh that the company begins while it lives is in the log and in the list of jobs, by the same LUID."""
    clock = Clock(now)
    life = LiveCompany(company, Random(3), clock)
    hour = now.replace(minute=0)
    story = ActivityStory(company, sites=1, live_since=hour, new_jobs=life.new_jobs)
    files = ActivityFiles(story, hour, clock, live_since=hour, delay=timedelta(seconds=20))
    for _ in range(40):
        clock.at += timedelta(seconds=SECONDS_PER_REFRESH)
        life.new_jobs()
    facts = life.facts()
    new = {job.luid for job in facts[0].jobs if job.created_at > now}
    clock.at += timedelta(minutes=2)
    with CloudManager(files) as manager:
        logged = {row["jobLuid"] for row in of_type(everything(manager), JOBS) if row["eventTime"] > written(now)}
    assert new
    assert new <= logged


ANSWERS = {
    "login": ({"sessionToken", "tenantId"}, "retriever._login"),
    "sites": ({"siteUUID", "contentUrl", "status", "suspendedDateTime"}, "retriever._list_tenant_sites"),
    "list": ({"path"}, "retriever._list_files"),
    "sign": ({"path", "url"}, "retriever._get_presigned_urls"),
}


def test_answers_have_the_keys_that_tableau_s_loader_reads(manager: CloudManager) -> None:
    """The answers of the four calls have these keys and no others."""
    client, site = Client(manager), manager.files.sites[0]
    listed = client.files(site, manager.files.since, manager.files.since + timedelta(days=1)).json()
    signed = client.sign(site, [file["path"] for file in listed["files"]]).json()
    sites = client.get("/sites").json()
    assert client.signed_in.json().keys() == ANSWERS["login"][0]
    assert {name for entry in sites["sites"] for name in entry} == ANSWERS["sites"][0]
    assert {name for entry in listed["files"] for name in entry} == ANSWERS["list"][0]
    assert {name for entry in signed["files"] for name in entry} == ANSWERS["sign"][0]
    assert listed.keys() <= {"files", "pageToken"}
    assert sites.keys() <= {"sites", "pageToken"}


def test_a_suspended_site_is_listed_as_such(manager: CloudManager) -> None:
    """Sites come in pages; one of them is suspended, with its instant."""
    client = Client(manager)
    entries, token = [], ""
    while True:
        answer = client.get("/sites", maxResults="2", **({"pageToken": token} if token else {})).json()
        entries += answer["sites"]
        token = answer.get("pageToken", "")
        if not token:
            break
    assert [entry["contentUrl"] for entry in entries] == [*(site.url for site in manager.files.sites), "retired"]
    assert [entry["status"] for entry in entries] == ["Active"] * len(manager.files.sites) + ["Suspended"]
    assert [entry["suspendedDateTime"] is None for entry in entries] == [True] * len(manager.files.sites) + [False]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"startTime": "2025-11-01T00:00:00.000Z", "endTime": "2025-11-08T00:00:01.000Z"}, "168 hours"),
        ({"startTime": "2025-11-02T00:00:00.000Z", "endTime": "2025-11-01T00:00:00.000Z"}, "after"),
        ({"startTime": "yesterday"}, "ISO 8601"),
        ({"pageToken": "made up"}, "pageToken"),
    ],
    ids=["too long", "reversed", "no instant", "no page"],
)
def test_a_list_is_refused_beyond_its_limits(manager: CloudManager, query: dict[str, str], says: str) -> None:
    """A window of more than 168 hours, a reversed one, an invalid instant and an invalid page are answered 400."""
    answer = Client(manager).get(f"/sites/{manager.files.sites[0].luid}/activitylog", **query)
    assert (answer.status_code, answer.json().keys()) == (400, {"message", "errorCode"})
    assert says in answer.json()["message"]


def test_a_list_without_times_is_of_the_last_day(manager: CloudManager, now: datetime) -> None:
    """Without times the files of the last 24 hours are listed."""
    client, site = Client(manager), manager.files.sites[0]
    found = [file["path"] for file in client.get(f"/sites/{site.luid}/activitylog", pageSize="1000").json()["files"]]
    assert found
    assert all(now - timedelta(hours=24) <= parts(path)[1] <= now for path in found)


def test_a_list_may_name_one_type(manager: CloudManager) -> None:
    """The eventType chooses the files; two of them are refused."""
    client, site = Client(manager), manager.files.sites[0]
    paths = client.paths(site, manager.files.since, manager.files.clock(), eventType=JOBS)
    assert {parts(path)[2] for path in paths} == {JOBS}
    address = f"{client.tenant}/sites/{site.luid}/activitylog"
    twice = httpx.get(address, params={"eventType": [JOBS, BRIDGE]}, headers=client.headers)
    assert twice.status_code == 400


def test_what_is_past_retention_is_gone(company: Company, clock: Clock, now: datetime) -> None:
    """Files from before the retention are neither listed nor signed."""
    files = ActivityFiles(
        ActivityStory(company), now.replace(minute=0) - timedelta(days=4), clock, retention=timedelta(days=2)
    )
    assert min(file.hour for file in files.all_listed()) >= now - timedelta(days=2)


def test_at_most_a_hundred_files_are_signed_at_once(manager: CloudManager) -> None:
    """A request for 101 presigned addresses is refused; an unknown path is left out of the answer."""
    client, (site, path) = Client(manager), any_file(manager.files, REQUESTS)
    assert client.sign(site, [path] * 101).status_code == 400
    assert [file["path"] for file in client.sign(site, [path, "../secret"]).json()["files"]] == [path]


def test_a_presigned_address_is_on_another_host(manager: CloudManager) -> None:
    """It is signed in its query, refuses another signature, and notes headers that belong to the manager."""
    client, (site, path) = Client(manager), any_file(manager.files, REQUESTS)
    url = client.sign(site, [path]).json()["files"][0]["url"]
    assert url.startswith(manager.store.url)
    assert httpx.URL(url).port != httpx.URL(manager.url).port
    assert httpx.get(url).status_code == 200
    assert httpx.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    manager.store.leaks.clear()
    httpx.get(url, headers=client.headers)
    assert manager.store.leaks == ["x-tableau-session-token"]
    manager.store.leaks.clear()


def test_a_process_of_its_own_keeps_its_files(tmp_path: Path) -> None:
    """A benchmark starts Tableau Cloud and its manager in another process, whose files stand in a folder once made."""
    with serving_cloud(activity_log_days=1, sites=1, requests_per_day=100, folder=str(tmp_path)) as (url, manager):
        assert httpx.get(f"{url}/api/3.26/serverinfo").status_code == 200
        answer = httpx.post(f"{manager}/api/v1/pat/login", json={"token": "wrong"})
    assert answer.status_code == 401
