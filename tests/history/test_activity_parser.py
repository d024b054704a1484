"""Lines of the Activity Log as rows: typed, redacted, under the privacy options."""

import json
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from exporter.collectors import discover
from exporter.history.activity import ParsedLines
from exporter.history.activity_parser import FILES, LONGEST_LINE, MOST_FIELDS, ActivityParser
from exporter.history.redaction import Privacy

HOUR = datetime(2026, 1, 31, 1)  # noqa: DTZ001 - naive, as in the history
AT = "2026-01-31T00:59:59.123Z"
TABLES = [events for collector in discover().values() for events in collector.activity]
REQUEST = {
    "eventTime": AT,
    "eventType": "vizql_http_request",
    "actorUserId": 12,
    "actorUserLuid": "luid-of-jane",
    "requestId": "r1",
    "requestUri": "/trusted/TICKET/views/Sales/Overview/jane@example.com/mine?:embed=y&token=TOKEN",
    "referrer": "https://jane:pw@portal.example.com/x?jwt=JWT#secret",
    "ipAddress": "10.1.2.3",
    "viewRepoUrl": "Sales/sheets/Overview/jane@example.com/mine",
    "endpointName": "bootstrapSession",
    "duration": "815",
    "objOwnerName": "Jane Doe",
    "portalUrl": "https://portal.example.com/?session=SESSION",
    "accessToken": "ACCESS",
    "clientIp": "10.9.9.9",
}


def parse(*events: object, privacy: Privacy | None = None, parser: ActivityParser | None = None) -> ParsedLines:
    """Parse lines of one file; values other than text are written as JSON."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    lines = pa.table({"file": [3] * len(texts), "number": range(1, len(texts) + 1), "text": texts})
    files = pa.table([pa.array([3]), pa.array([HOUR], pa.timestamp("us")), pa.array(["of_the_path"])], schema=FILES)
    return (parser or ActivityParser(privacy or Privacy())).parse(lines, files, 55, "luid-of-site", TABLES)


def rows(parsed: ParsedLines, table: str = "activity_events") -> list[dict[str, Any]]:
    """Return the rows of a table."""
    found: list[dict[str, Any]] = parsed.tables[table].to_pylist()
    return found


def details(event: object, privacy: Privacy | None = None) -> dict[str, Any]:
    """Return the stored fields of an event beside the common ones."""
    ((row),) = rows(parse(event, privacy=privacy))
    found: dict[str, Any] = json.loads(row["details"])
    return found


def test_a_request_is_typed_and_redacted() -> None:
    """Common fields have columns, the rest is JSON, and neither has a secret; the request has a row of its own."""
    parsed = parse(REQUEST)
    (event,) = rows(parsed)
    assert (event["event_time"], event["actor_user_id"]) == (datetime(2026, 1, 31, 0, 59, 59, 123_000), 12)  # noqa: DTZ001
    assert (event["event_type"], event["site_luid"], event["site_id"]) == ("vizql_http_request", "luid-of-site", 55)
    (request,) = rows(parsed, "cloud_requests")
    assert request["http_request_uri"] == "/trusted/-/views/Sales/Overview/jane@example.com/mine?:embed=y"
    assert request["http_referer"] == "https://portal.example.com/x"
    assert (request["workbook"], request["view"], request["asset_type"]) == ("Sales", "Overview", "view")
    assert (request["user_id"], request["duration"], request["action"]) == (12, 815, "bootstrapSession")
    assert (request["id"], request["created_at"]) == (event["id"], event["event_time"])
    stored = json.loads(event["details"])
    assert stored["objOwnerName"] == "Jane Doe"
    assert stored["portalUrl"] == "https://portal.example.com/"
    assert "eventTime" not in stored
    for secret in ("TICKET", "TOKEN", "JWT", "pw", "SESSION", "ACCESS"):
        assert secret not in str(parsed.tables)


def test_people_under_pseudonyms() -> None:
    """Names, unknown fields and custom views are not stored, and addresses are cut; numbers of users stay."""
    stored = details(REQUEST, Privacy("pseudonym", "truncated"))
    assert stored == {
        "requestId": "r1",
        "requestUri": "/trusted/-/views/Sales/Overview",
        "referrer": "https://portal.example.com/x",
        "ipAddress": "10.1.2.0",
        "viewRepoUrl": "Sales/sheets/Overview",
        "endpointName": "bootstrapSession",
        "duration": "815",
    }
    (event,) = rows(parse(REQUEST, privacy=Privacy("pseudonym")))
    assert event["actor_user_luid"] == "luid-of-jane"


def test_nobody_at_all() -> None:
    """Without users and addresses nothing of a person is stored; the number is there to be counted alone."""
    parsed = parse(
        REQUEST,
        {"eventType": "login_authentication", "eventOutcome": "success", "actorUserId": 12},
        privacy=Privacy("none", "none"),
    )
    assert all(row["actor_user_id"] is row["actor_user_luid"] is None for row in rows(parsed))
    assert rows(parsed, "cloud_requests")[0]["user_ip"] is None
    (login,) = rows(parsed, "logins")
    assert login["user_id"] < 0
    assert "luid-of-jane" not in str(parsed.tables)


@pytest.mark.parametrize("column", ["id", "event_time", "event_type", "site_id"])
def test_what_identifies_an_event(column: str) -> None:
    """A request that stands in two files is the same event, whatever else has changed."""
    first, again = (
        rows(parse({**REQUEST, "eventProcessedTime": f"2026-01-31T0{hour}:00:00Z", "newField": hour}))[0]
        for hour in (1, 9)
    )
    assert first[column] == again[column]


def test_events_without_a_key_of_their_own() -> None:
    """They are known by their whole content but for the time of processing; a request id means nothing there."""
    other = {"eventTime": AT, "eventType": "content_owner_change", "requestId": "r1", "contentId": 1}
    ids = [
        rows(parse(event))[0]["id"]
        for event in (other, {**other, "eventProcessedTime": AT}, {**other, "contentId": 2}, {**REQUEST})
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_each_state_of_a_job_is_an_event() -> None:
    """Jobs are known by LUID and state; their numbers come as numbers or as texts."""
    job = {"eventTime": AT, "eventType": "background_job", "jobLuid": "j", "eventState": "JobQueued", "taskId": 7}
    found = rows(
        parse(job, {**job, "eventState": "JobStarted", "taskId": "7"}, {**job, "notes": "again"}), "cloud_jobs"
    )
    assert len({row["id"] for row in found}) == 2
    assert {row["task_id"] for row in found} == {7}


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"eventOutcome": "success"}, True),
        ({"eventOutcome": "unauthorized", "isError": False}, False),
        ({"eventOutcome": None, "isError": False}, True),
        ({"isError": "true"}, False),
        ({"statusCode": 200}, True),
        ({"statusCode": 401}, False),
        ({}, False),
    ],
)
def test_only_logins_that_succeeded(fields: dict[str, object], counted: bool) -> None:
    """A login that failed, or of which nothing is known, is an event and no login."""
    parsed = parse({"eventTime": AT, "eventType": "login_authentication", "actorUserId": 3, **fields})
    assert len(rows(parsed)) == 1
    assert bool(rows(parsed, "logins")) is counted


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("2026-01-31T02:00:00+02:00", datetime(2026, 1, 31)),  # noqa: DTZ001
        ("infinity", HOUR),
        ("yesterday", HOUR),
        (None, HOUR),
        (1769817600, HOUR),
    ],
)
def test_times(time: object, at: datetime) -> None:
    """Times are UTC; one that is none leaves the hour of the file."""
    assert rows(parse({"eventTime": time, "eventType": "x"}))[0]["event_time"] == at


def test_a_type_that_is_missing() -> None:
    """The type is that of the path then."""
    assert rows(parse({"eventTime": AT}))[0]["event_type"] == "of_the_path"


def test_what_is_no_event() -> None:
    """It is counted and set aside with its reason, and costs no other line."""
    wide = {f"field{number}": number for number in range(MOST_FIELDS + 1)}
    bad = ['{"a":1', "[1]", "null", "\ufffd{}", wide, {"a": "x" * LONGEST_LINE}, '{"uri":"/a?ticket=T" "x']
    parsed = parse(REQUEST, *bad)
    assert parsed.files == {3: (1, len(bad))}
    assert [row["reason"] for row in parsed.rejects.to_pylist()] == [
        *("no JSON", "no JSON object", "no JSON object", "no JSON", "too many fields", "too long", "no JSON")
    ]
    assert parsed.rejects.column("text").to_pylist()[-1] == '{"uri":"/a" "x'
    hidden = parse(*bad, privacy=Privacy("pseudonym")).rejects
    assert hidden.column("text").null_count == len(bad)


@pytest.mark.parametrize(
    "event",
    [
        {**REQUEST, "a\"b'c": "x", "d'; DROP TABLE lines": 1, "": 2, "\\": 3, 'e"Url': "http://a/?b=c"},
        {"eventTime": {"a": 1}, "actorUserId": [1], "requestUri": {"ticket": "x?TOKEN"}, "eventType": ["y"]},
        {"eventTime": AT, "actorUserId": 2**70, "siteRoleId": 1.5, "eventType": "x" * 1000},
        '{"requestUri":"/a?TOKEN","requestUri":"/b?TOKEN","eventType":"vizql_http_request"}',
        {"eventTime": AT, "requestUri": "/a\u0000?TOKEN", "notes": "\u0000"},
    ],
    ids=["names", "nested", "numbers", "twice", "zeros"],
)
def test_hostile_lines(event: object) -> None:
    """Whatever stands in a line, it is one event, and its redacted fields have no query."""
    parsed = parse(event)
    assert len(rows(parsed)) == 1
    assert "TOKEN" not in str(parsed.tables)


def test_nested_deeply() -> None:
    """A line that is nested without measure ends nothing."""
    deep = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    parsed = parse(REQUEST, deep)
    assert parsed.files[3][0] + parsed.files[3][1] == 2
    assert len(rows(parsed)) >= 1


def test_a_field_with_a_uri_may_come_later() -> None:
    """A parser that has read events reads one with a URI in a field that is new; no other field is lost."""
    parser = ActivityParser(Privacy())
    found = [parse(event, parser=parser) for event in (REQUEST, REQUEST | {"newUrl": "https://h/a?token=TOKEN"})]
    (row,) = rows(found[1])
    assert json.loads(row["details"])["newUrl"] == "https://h/a"
    assert len(rows(found[0])) == 1
