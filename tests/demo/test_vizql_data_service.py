"""The simulated VizQL Data Service: its answers held against the facts, its limits, and each of its switches.

The tables are ours; their facts come from the reference of VizQL Data Service (error codes, read-metadata), the client
of Tableau's MCP server (``sdks/tableau/apis/vizqlDataServiceApi.ts``) and Tableau's help on Admin Insights. Assumptions
are in docs/decisions/0023-simulated-activity-log.md.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import tableauserverclient as tsc

from exporter.demo.company import Company
from exporter.demo.tableau.activity_story import REQUESTS, ActivityStory
from exporter.demo.tableau.admin_insights import EVENTS, JOBS, PROJECT, RETENTION, TOKENS, USERS, AdminInsights
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Site
from exporter.demo.tableau.server import TableauServer
from exporter.demo.tableau.vizql_data_service import MESSAGES
from tests.demo.activity_log import Clock
from tests.demo.tableau import by_url, signed_in

URL = "marketing"
CAPTIONS = {
    EVENTS: {
        *("Site Luid", "Event Id", "Event Date", "Event Name", "Event Type", "Actor User Id", "Actor User Name"),
        *("Actor License Role", "Actor Site Role", "Item Type", "Item Id", "Item LUID", "Item Name"),
        *("Item Repository Url", "Item Owner Email", "Workbook Name", "Project Name", "Admin Insights Published At"),
    },
    JOBS: {
        *("Job LUID", "Job Type", "Job Result", "Final Job Result", "Item LUID", "Item Type", "Schedule Name"),
        *("Created At", "Queued At", "Started At", "Completed At", "Error Message", "Owner Email"),
    },
    USERS: {"User LUID", "User Email", "User Site Role", "User License Type", "Last Login Date"},
    TOKENS: {"PAT Name", "Expires At", "Last Used At", "Owner Email"},
}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def clock(now: datetime) -> Clock:
    """The clock of the sources; who moves it puts it back."""
    return Clock(now)


@pytest.fixture(scope="module")
def story(company: Company) -> ActivityStory:
    """A story with few requests."""
    return ActivityStory(company, requests_per_day=300)


@pytest.fixture(scope="module")
def running(company: Company, story: ActivityStory, clock: Clock) -> Iterator[TableauServer]:
    """A simulated Tableau Cloud with Admin Insights, whose sessions live as long as the tests."""
    insights = AdminInsights(company, story, clock)
    with TableauServer(Estate.of(company), cloud=True, insights=insights, clock=lambda: seconds(clock.at)) as server:
        yield server


def seconds(at: datetime) -> float:
    """Return an instant as the clock of the server has it."""
    return at.replace(tzinfo=UTC).timestamp()


@pytest.fixture
def tableau(running: TableauServer, clock: Clock, now: datetime) -> Iterator[TableauServer]:
    """The same with all its switches off, and no query yet."""
    assert running.rest.vds is not None
    running.rest.vds.queries.clear()
    yield running
    running.failure_modes.reset()
    clock.at = now


class Vds:
    """A client that is signed in to a site."""

    def __init__(self, tableau: TableauServer, token: str, site: Site) -> None:
        self.tableau = tableau
        self.token = token
        self.site = site

    def post(self, name: str, body: object) -> httpx.Response:
        """Call the service."""
        address = f"{self.tableau.url}/api/v1/vizql-data-service/{name}"
        return httpx.post(address, json=body, headers={"X-Tableau-Auth": self.token}, timeout=30)

    def luid(self, source: str) -> str:
        """Return the LUID of a source."""
        (found,) = [item.luid for item in by_url(self.tableau, self.site.url).datasources if is_source(item, source)]
        return found

    def metadata(self, source: str) -> httpx.Response:
        """Read the metadata of a source."""
        return self.post("read-metadata", {"datasource": {"datasourceLuid": self.luid(source)}})

    def query(
        self, source: str, *captions: str, filters: Rows | None = None, options: Mapping[str, object] | None = None
    ) -> httpx.Response:
        """Query fields of a source."""
        query: dict[str, object] = {"fields": [{"fieldCaption": caption} for caption in captions]}
        if filters is not None:
            query["filters"] = filters
        chosen = {"returnFormat": "OBJECTS", "disaggregate": False} if options is None else options
        source_luid = {"datasourceLuid": self.luid(source)}
        return self.post("query-datasource", {"datasource": source_luid, "query": query, "options": chosen})

    def rows(self, source: str, *captions: str, filters: Rows | None = None) -> Rows:
        """Return the rows of a query that is answered."""
        answer = self.query(source, *captions, filters=filters)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])


def is_source(item: Any, name: str) -> bool:  # noqa: ANN401 - content of a site
    """Return whether content is a source of Admin Insights."""
    return bool(item.project_name == PROJECT and item.name == name)


@pytest.fixture
def vds(tableau: TableauServer) -> Iterator[Vds]:
    """A client."""
    with signed_in(tableau, URL) as server:
        yield Vds(tableau, server.auth_token, by_url(tableau, URL))


def numbered(kind: str, **bounds: int) -> dict[str, Any]:
    """Return a filter of the ids of events."""
    shape = {"filterType": "QUANTITATIVE_NUMERICAL", "quantitativeFilterType": kind}
    return {"field": {"fieldCaption": "Event Id"}, **shape, **bounds}


def dated(kind: str, **bounds: str) -> dict[str, Any]:
    """Return a filter of the dates of events."""
    shape = {"filterType": "QUANTITATIVE_DATE", "quantitativeFilterType": kind}
    return {"field": {"fieldCaption": "Event Date"}, **shape, **bounds}


def error(answer: httpx.Response) -> str:
    """Return the code of an error, whose shape is the documented one."""
    body = answer.json()
    assert body.keys() == {"errorCode", "message", "datetime"}
    assert str(answer.status_code) == body["errorCode"][:3]
    return str(body["errorCode"])


@pytest.mark.parametrize("source", CAPTIONS)
def test_each_source_has_the_captions_of_the_help(vds: Vds, source: str) -> None:
    """The metadata names every caption of the table with its type, and a query of all of them has values."""
    fields = vds.metadata(source).json()["data"]
    captions = [field["fieldCaption"] for field in fields]
    assert set(captions) >= CAPTIONS[source]
    assert {name for field in fields for name in field} == {
        *("fieldName", "fieldCaption", "dataType", "defaultAggregation", "logicalTableId", "columnClass"),
    }
    assert {field["dataType"] for field in fields} <= {"INTEGER", "REAL", "STRING", "DATETIME"}
    day = [dated("MIN", minDate="2025-11-18")] if source == EVENTS else None
    rows = vds.rows(source, *captions, filters=day)
    assert rows
    assert all(list(row) == captions for row in rows)
    set_somewhere = {name for row in rows for name, value in row.items() if value is not None}
    assert set_somewhere >= CAPTIONS[source] - {"Schedule Name"}


def test_the_sources_are_found_by_their_project(tableau: TableauServer) -> None:
    """The list of data sources, filtered by the project, has the four of them."""
    with signed_in(tableau, URL) as server:
        options = tsc.RequestOptions()
        options.filter.add(tsc.Filter("projectName", tsc.RequestOptions.Operator.Equals, PROJECT))
        found, _ = server.datasources.get(options)
    assert {item.name for item in found} == {EVENTS, USERS, JOBS, TOKENS}


def test_events_tell_of_the_views_of_the_activity_log(vds: Vds, story: ActivityStory) -> None:
    """Who opened which view on a day is the same in both sources."""
    place = next(site for site in story.sites if site.url == URL)
    hours = (datetime(2025, 11, 18, hour) for hour in range(24))  # noqa: DTZ001 - naive UTC
    fields = [event.fields() for hour in hours for event in story.events(place, REQUESTS, hour)]
    expected = Counter(
        (row["actorUserId"], row["viewLuid"])
        for row in fields
        if row["endpointName"] == "bootstrapSession" and row["actorUserId"] and row["viewLuid"]
    )
    filters = [dated("RANGE", minDate="2025-11-18", maxDate="2025-11-18")]
    rows = vds.rows(EVENTS, "Event Id", "Event Name", "Actor User Id", "Item LUID", filters=filters)
    opened = Counter((row["Actor User Id"], row["Item LUID"]) for row in rows if row["Event Name"] == "Access View")
    assert opened == expected
    assert expected


def test_jobs_are_those_of_the_rest_api(vds: Vds) -> None:
    """Each job of the source is in the list of jobs of its site."""
    rows = vds.rows(JOBS, "Job LUID", "Job Result")
    listed = {job.luid: job.status for job in vds.site.jobs}
    assert rows
    assert all(listed[row["Job LUID"]] == row["Job Result"] for row in rows)


def test_sources_are_refreshed_once_a_day(vds: Vds, clock: Clock, now: datetime) -> None:
    """Nothing is newer than 05:00 of the day until that hour of the next one, and nothing older than 90 days."""
    rows = vds.rows(EVENTS, "Event Id", "Event Date", "Admin Insights Published At")
    assert {row["Admin Insights Published At"] for row in rows} == {"2025-11-19T05:00:00"}
    assert max(row["Event Date"] for row in rows) < "2025-11-19T05:00:00"
    assert min(row["Event Date"] for row in rows) >= (now - RETENTION - timedelta(days=1)).isoformat()
    newest = max(row["Event Id"] for row in rows)
    clock.at = (now + timedelta(days=1)).replace(hour=5)
    with signed_in(vds.tableau, URL) as server:
        again = Vds(vds.tableau, server.auth_token, vds.site)
        more = again.rows(EVENTS, "Event Id", "Event Date", filters=[numbered("MIN", min=newest)])
    assert more[0]["Event Id"] == newest
    assert more[1]["Event Date"] >= "2025-11-19T05:00:00"
    assert more[-1]["Event Date"] < "2025-11-20T05:00:00"


def test_ids_are_unique_and_grow_with_the_time(vds: Vds) -> None:
    """Sorted by their ids, events are in the order of their dates."""
    rows = vds.rows(EVENTS, "Event Id", "Event Date", filters=[dated("MIN", minDate="2025-11-10")])
    assert len({row["Event Id"] for row in rows}) == len(rows)
    assert [row["Event Date"] for row in rows] == sorted(row["Event Date"] for row in rows)


def test_filters_choose_rows(vds: Vds) -> None:
    """Ids and dates are filtered by bounds that are included, other fields by sets."""
    rows = vds.rows(EVENTS, "Event Id", "Event Date", filters=[dated("MIN", minDate="2025-11-17")])
    ids = [row["Event Id"] for row in rows]
    low, high = ids[3], ids[-3]
    assert [r["Event Id"] for r in vds.rows(EVENTS, "Event Id", filters=[numbered("RANGE", min=low, max=high)])] == (
        ids[3:-2]
    )
    one = {"field": {"fieldCaption": "Event Name"}, "filterType": "SET", "values": ["Login"], "exclude": False}
    names = vds.rows(EVENTS, "Event Id", "Event Name", filters=[one, dated("MIN", minDate="2025-11-17")])
    assert {row["Event Name"] for row in names} == {"Login"}
    assert vds.rows(EVENTS, "Event Id", filters=[numbered("MIN", min=10**15)]) == []


def test_rows_are_grouped_without_a_unique_field(vds: Vds) -> None:
    """A query without the id has each combination once; disaggregated it has all rows."""
    grouped = vds.rows(EVENTS, "Event Name")
    assert sorted(row["Event Name"] for row in grouped) == ["Access View", "Login"]
    whole = vds.query(EVENTS, "Event Name", options={"returnFormat": "ARRAYS", "disaggregate": True}).json()["data"]
    assert len(whole) == len(vds.rows(EVENTS, "Event Id"))


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ([numbered("MIN", min=1), numbered("MAX", max=2)], "400803"),
        ([dated("MIN", minDate="2025-11-01T10:00:00")], "400803"),
        ([numbered("MIN")], "400802"),
        ([{"field": {"fieldCaption": "No Such Field"}, "filterType": "SET", "values": []}], "404934"),
    ],
    ids=["two of a field", "a time", "no bound", "unknown"],
)
def test_a_filter_is_refused(vds: Vds, filters: Rows, code: str) -> None:
    """Two filters of a field, a date with a time, a bound that is missing and an unknown field are errors."""
    assert error(vds.query(EVENTS, "Event Id", filters=filters)) == code


def test_a_query_is_refused(vds: Vds) -> None:
    """An unknown field, a rowLimit before 2026.1, an unknown source, endpoint or session, and no JSON are errors."""
    assert error(vds.query(EVENTS, "Event Id", "No Such Field")) == "404934"
    assert error(vds.query(EVENTS, "Event Id", options={"rowLimit": 10})) == "400802"
    unknown = {"datasource": {"datasourceLuid": "x"}, "query": {"fields": []}}
    assert error(vds.post("query-datasource", unknown)) == "403800"
    assert error(vds.post("simple-request", {})) == "404950"
    assert error(Vds(vds.tableau, "made up", vds.site).metadata(EVENTS)) == "401002"
    assert error(vds.post("query-datasource", ["no object"])) == "400000"


def test_a_hundred_queries_an_hour(vds: Vds, clock: Clock) -> None:
    """The next one is refused, until an hour after the first."""
    vds.tableau.failure_modes.vds_queries_an_hour = 3
    assert [vds.metadata(TOKENS).status_code for _ in range(3)] == [200] * 3
    assert error(vds.metadata(TOKENS)) == "429000"
    clock.at += timedelta(minutes=59)
    assert error(vds.metadata(TOKENS)) == "429000"
    clock.at += timedelta(minutes=1)
    assert vds.metadata(TOKENS).status_code == 200
    assert type(vds.tableau.failure_modes)().vds_queries_an_hour == 100


def test_two_calls_at_once_are_refused(vds: Vds) -> None:
    """While one call is under way another one is answered 401, and the first one is well."""
    vds.tableau.failure_modes.vds_seconds = 30
    first: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: first.append(vds.metadata(TOKENS)))
    held = threading.Event()
    service = vds.tableau.rest.vds
    assert service is not None
    service.wait, wait = (lambda _: held.wait(30)), service.wait
    thread.start()
    while thread.is_alive() and not service.busy:
        thread.join(0.01)
    assert error(vds.metadata(TOKENS)) == "401002"
    held.set()
    thread.join()
    service.wait = wait
    assert first[0].status_code == 200


def test_an_answer_is_too_large(vds: Vds) -> None:
    """More rows than an answer may have are refused, and half of the range is not."""
    rows = vds.rows(EVENTS, "Event Id", filters=[dated("MIN", minDate="2025-11-17")])
    vds.tableau.failure_modes.vds_largest_answer = len(rows) - 1
    low, middle = rows[0]["Event Id"], rows[len(rows) // 2]["Event Id"]
    assert error(vds.query(EVENTS, "Event Id", filters=[numbered("MIN", min=low)])) == "400804"
    assert vds.rows(EVENTS, "Event Id", filters=[numbered("RANGE", min=low, max=middle)])


@pytest.mark.parametrize(("state", "code"), [("missing", "404950"), ("disabled", "403157"), ("no_access", "403800")])
def test_the_service_is_not_there(vds: Vds, state: str, code: str) -> None:
    """It is missing, switched off, or the user has no API Access."""
    vds.tableau.failure_modes.vds = state
    assert error(vds.metadata(EVENTS)) == code


@pytest.mark.parametrize("code", [code for code in MESSAGES if code[0] in "54" and code not in {"404950", "401002"}])
def test_every_error_can_be_had(vds: Vds, code: str) -> None:
    """A call is answered with an error of the list, once."""
    vds.tableau.failure_modes.vds_fail_next, vds.tableau.failure_modes.vds_fail_code = 1, code
    assert error(vds.metadata(EVENTS)) == code
    assert vds.metadata(EVENTS).status_code == 200


def test_captions_drift(vds: Vds) -> None:
    """A caption that was renamed, or removed, is so in the metadata, and the old one is unknown."""
    vds.tableau.failure_modes.vds_captions = {"Item Name": "Item name"}
    vds.tableau.failure_modes.vds_without = {"Project Name"}
    captions = {field["fieldCaption"] for field in vds.metadata(EVENTS).json()["data"]}
    assert captions >= {"Event Id", "Item name"}
    assert not captions & {"Item Name", "Project Name"}
    day = [dated("MIN", minDate="2025-11-18")]
    assert error(vds.query(EVENTS, "Event Id", "Item Name", filters=day)) == "404934"
    assert any(row["Item name"] for row in vds.rows(EVENTS, "Event Id", "Item name", filters=day))


def test_a_source_is_empty(vds: Vds) -> None:
    """A source that was never filled has a single row of nulls."""
    vds.tableau.failure_modes.vds_empty = {EVENTS}
    assert vds.rows(EVENTS, "Event Id", "Event Date") == [{"Event Id": None, "Event Date": None}]
    assert len(vds.rows(USERS, "User LUID")) > 1


def test_a_site_has_no_admin_insights(vds: Vds) -> None:
    """Before an administrator has opened it there is no source, and the one that was known is refused."""
    luid = vds.luid(EVENTS)
    vds.tableau.failure_modes.insights_absent = True
    assert not any(item.project_name == PROJECT for item in by_url(vds.tableau, URL).datasources)
    assert error(vds.post("read-metadata", {"datasource": {"datasourceLuid": luid}})) == "403800"


def test_sources_are_provisioned_anew(vds: Vds) -> None:
    """The same events are in a source with another LUID, and the old one is refused."""
    luid = vds.luid(EVENTS)
    day = [dated("MIN", minDate="2025-11-18")]
    rows = vds.rows(EVENTS, "Event Id", filters=day)
    vds.tableau.failure_modes.insights_generation = 1
    assert vds.luid(EVENTS) != luid
    assert vds.rows(EVENTS, "Event Id", filters=day) == rows
    assert error(vds.post("read-metadata", {"datasource": {"datasourceLuid": luid}})) == "403800"


def test_without_admin_insights_the_service_is_missing(cloud: TableauServer) -> None:
    """A server that was started without them has no such endpoint."""
    with signed_in(cloud, URL) as server:
        vds = Vds(cloud, server.auth_token, by_url(cloud, URL))
        assert error(vds.post("read-metadata", {})) == "404950"
