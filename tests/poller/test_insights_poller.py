"""Admin Insights is archived once, day by day and within its limits, whatever becomes of the source."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.collectors import archived as every_table
from exporter.collectors import discover
from exporter.collectors.admin_insights import REFRESHED
from exporter.collectors.users import REST_ROLES
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.rows import Row
from exporter.demo.tableau import admin_insights
from exporter.demo.tableau.activity_story import ActivityStory
from exporter.demo.tableau.admin_insights import ALLOWED_LICENCES, EVENTS, AdminInsights
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Site
from exporter.demo.tableau.server import TableauServer
from exporter.history.redaction import Privacy
from exporter.history.verification import verify
from exporter.poller import insights_poller
from tests.support.rest_poller_harness import INTERVAL, RestPollerHarness, seconds

NOW = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the company's times have no zone
NAMES = ("assets", "admin_insights", "http_requests", "logins", "background_jobs", "active_users", "views", "content")
COLLECTORS = {name: discover()[name] for name in NAMES}
SITE, OTHER = "marketing", "emea"
DAY = timedelta(days=1)
DAY_SECONDS = 86_400.0
LAST = datetime.max  # noqa: DTZ901 - naive, as all of these
FIRST = datetime.min  # noqa: DTZ901 - see above


class Insights(AdminInsights):
    """Sources whose events may be numbered anew: ``shift`` is subtracted from each Event Id."""

    shift = 0

    def rows(self, site: Site, source: str, first_day: datetime, last_day: datetime) -> Iterator[Row]:
        """Yield the rows of a source."""
        for row in super().rows(site, source, first_day, last_day):
            renumbered = source == EVENTS and self.shift
            yield {**row, "Event Id": int(str(row["Event Id"])) - self.shift} if renumbered else row


class SimulatedCloud:
    """A Tableau Cloud, whose clock is the agent's."""

    def __init__(self, company: Company) -> None:
        self.harness: RestPollerHarness | None = None
        self.insights = Insights(company, ActivityStory(company, requests_per_day=90), self.now)
        self.server = TableauServer(
            Estate.of(company).plain(), cloud=True, insights=self.insights, clock=self.seconds, session_seconds=1e9
        )

    def seconds(self) -> float:
        """Return the time of Tableau and the agent."""
        return self.harness.now if self.harness else seconds(NOW)

    def now(self) -> datetime:
        """Return it as the facts have it."""
        return datetime.fromtimestamp(self.seconds(), UTC).replace(tzinfo=None)

    def truth(self, url: str = SITE) -> list[Row]:
        """Return every event of a site as of now."""
        site = next(site for site in self.server.facts() if site.url == url)
        return list(self.insights.rows(site, EVENTS, FIRST, LAST))

    def queries(self) -> list[str]:
        """Return the calls of VizQL Data Service."""
        return [seen.kind for seen in self.server.seen if seen.kind.startswith("vds")]


@pytest.fixture(scope="module")
def company() -> Company:
    """A small company."""
    return Company.build(1, NOW, SMALL)


@pytest.fixture
def few_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit Admin Insights to five days: tests of other things than its length need no more."""
    monkeypatch.setattr(admin_insights, "RETENTION", 5 * DAY)
    monkeypatch.setattr(insights_poller, "RETAINED", 5 * DAY)


@pytest.fixture
def simulated(company: Company) -> Iterator[SimulatedCloud]:
    """It on Tableau Cloud, with Admin Insights of ninety days."""
    made = SimulatedCloud(company)
    with made.server:
        yield made


def agent(
    simulated: SimulatedCloud,
    path: Path,
    *sources: str,
    privacy: Privacy | None = None,
    sites: tuple[str, ...] = (SITE,),
) -> RestPollerHarness:
    """Return an agent that reads some sites of it."""
    harness = RestPollerHarness(
        simulated.server,
        path / "history.duckdb",
        seconds(NOW),
        collectors=COLLECTORS,
        sources=("rest", "admin_insights", *sources),
    )
    harness.sites, simulated.harness = sites, harness
    if privacy:
        harness.privacy = privacy
    harness.restart()
    return harness


@pytest.fixture
def harness(simulated: SimulatedCloud, tmp_path: Path) -> Iterator[RestPollerHarness]:
    """An agent without a better source."""
    made = agent(simulated, tmp_path)
    yield made
    made.rest.close()


def archived(harness: RestPollerHarness) -> Counter[Any]:
    """Return the events in the history, each as often as it is stored."""
    return Counter(harness.query("SELECT event_date, event_name, actor_user_id, item_luid FROM insights_events"))


def reported(rows: list[Row]) -> Counter[Any]:
    """Return events in the same form."""
    names = ("Event Name", "Actor User Id", "Item LUID")
    return Counter((datetime.fromisoformat(str(row["Event Date"])), *(row.get(name) for name in names)) for row in rows)


def read_all(harness: RestPollerHarness, simulated: SimulatedCloud) -> int:
    """Poll until everything is read; return the number of polls."""
    for number in range(1, 60):
        before = len(simulated.queries())
        harness.poll()
        if len(simulated.queries()) == before:
            return number
    pytest.fail("it is never done")


def test_ninety_days_within_the_limit_of_an_hour(simulated: SimulatedCloud, tmp_path: Path) -> None:
    """The first read archives all events of ninety days of two sites, no query is refused, and no hour has over 100."""
    sites = (SITE, OTHER)
    harness = agent(simulated, tmp_path, sites=sites)
    begun, sent = harness.now, list[float]()
    while harness.now < begun + 3 * 3600.0:
        before = len(simulated.queries())
        harness.poll(after=1200.0)
        sent += [harness.now] * (len(simulated.queries()) - before)
    assert archived(harness) == reported([row for site in sites for row in simulated.truth(site)])
    days = {row["Event Date"][:10] for site in sites for row in simulated.truth(site)}  # type: ignore[index]
    assert len(days) > 60
    assert 180 < len(sent) < 220
    assert max(sum(at <= other < at + 3600.0 for other in sent) for at in sent) == 100
    refused = [seen for seen in simulated.server.seen if seen.kind.startswith("vds") and seen.status != 200]
    assert refused == []
    harness.rest.close()


@pytest.mark.usefixtures("few_days")
def test_days_that_follow_are_read_once(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """After each refresh the new days are read in a few queries; polls in between send none but one an hour."""
    read_all(harness, simulated)
    for _ in range(2):
        before = len(simulated.queries())
        for _ in range(6):
            harness.poll(after=4 * 3600.0)
        assert len(simulated.queries()) - before <= 16
        assert archived(harness) == reported(simulated.truth()) + gone(harness, simulated)
    assert [verdict.message for verdict in verify(harness.file, every_table(COLLECTORS)) if verdict.ok is False] == []


def gone(harness: RestPollerHarness, simulated: SimulatedCloud) -> Counter[Any]:
    """Return the archived events of days that the source has dropped since."""
    oldest = min(datetime.fromisoformat(str(row["Event Date"])) for row in simulated.truth())
    return Counter({row: count for row, count in archived(harness).items() if row[0] < oldest})


@pytest.mark.usefixtures("few_days")
@pytest.mark.parametrize("shift", [0, 600_000_000])
def test_a_source_that_is_provisioned_anew_doubles_nothing(
    harness: RestPollerHarness, simulated: SimulatedCloud, shift: int
) -> None:
    """New data sources, with the same numbers or with numbers that begin anew: every event stays archived once."""
    read_all(harness, simulated)
    counted = harness.values("tableau_events_total")
    simulated.server.failure_modes.insights_generation, simulated.insights.shift = 1, shift
    with capture_logs() as logs:
        harness.poll(after=DAY_SECONDS + 7200.0)
        read_all(harness, simulated)
    assert archived(harness) == reported(simulated.truth()) + gone(harness, simulated)
    assert sum(harness.values("tableau_events_total").values()) == archived(harness).total() > sum(counted.values())
    assert any("provisioned anew" in line["event"] for line in logs) == bool(shift)


@pytest.mark.usefixtures("few_days")
def test_a_restart_in_the_first_read_goes_on(
    harness: RestPollerHarness, simulated: SimulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days that were read are not read again, and the queries of the hour count on."""
    monkeypatch.setattr(insights_poller, "QUERIES_PER_HOUR", 12)
    for _ in range(2):
        harness.restart()
        harness.poll()
        assert len(simulated.queries()) == 12
    for hour in range(2, 5):
        harness.restart()
        harness.poll(after=3600.0)
        assert len(simulated.queries()) <= 12 * hour
    assert archived(harness) == reported(simulated.truth())


@pytest.mark.usefixtures("few_days")
def test_licences_and_tokens_come_before_the_events(
    simulated: SimulatedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of every site are read by the first poll, though the queries of the hour are too few for all events."""
    monkeypatch.setattr(insights_poller, "QUERIES_PER_HOUR", 20)
    harness = agent(simulated, tmp_path, sites=(SITE, OTHER))
    harness.poll()
    for family in ("tableau_licensed_seats", "tableau_token_expiry_timestamp_seconds"):
        assert {site for site, _ in harness.values(family)} == {SITE, OTHER}
    assert 0 < archived(harness).total() < len(simulated.truth(SITE)) + len(simulated.truth(OTHER))
    for _ in range(2):
        harness.poll(after=3600.0)
    assert archived(harness) == reported([row for site in (SITE, OTHER) for row in simulated.truth(site)])
    harness.rest.close()


@pytest.mark.usefixtures("few_days")
def test_it_is_archived_while_the_activity_log_writes(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """A batch of another poller, which reads the positions again only at its end, keeps none of it."""
    with harness.context.history.batch():
        harness.poll()
    assert status(harness).error is None
    assert archived(harness) == reported(simulated.truth())
    assert harness.values(REFRESHED.name) == {(SITE,): seconds(simulated.insights.refreshed_at)}


@pytest.mark.usefixtures("few_days")
def test_the_agent_ends_while_it_is_read(
    harness: RestPollerHarness, simulated: SimulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll ends without an error; what was read is archived, and the next start goes on after it."""
    rows = simulated.insights.rows

    def stopping(site: Site, source: str, first_day: datetime, last_day: datetime) -> Iterator[Row]:
        if source == EVENTS and first_day > NOW - 3 * DAY:
            harness.context.stopped.set()
        return rows(site, source, first_day, last_day)

    with monkeypatch.context() as patch:
        patch.setattr(simulated.insights, "rows", stopping)
        harness.poll()
    assert 0 < archived(harness).total() < len(simulated.truth())
    harness.restart()
    harness.poll()
    assert archived(harness) == reported(simulated.truth())


@pytest.mark.usefixtures("few_days")
def test_a_day_that_is_too_large_is_halved_by_its_ids(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """Where an answer would exceed its limit the day is read in parts, of which each is small enough."""
    simulated.server.failure_modes.vds_largest_answer = max(Counter(day for day, *_ in days(simulated)).values()) - 1
    for _ in range(4):
        harness.poll(after=3600.0)
    assert archived(harness) == reported(simulated.truth())


def days(simulated: SimulatedCloud) -> list[tuple[str, int]]:
    """Return the day and the number of each event."""
    return [(str(row["Event Date"])[:10], int(str(row["Event Id"]))) for row in simulated.truth()]


@pytest.mark.usefixtures("few_days")
def test_an_empty_source_is_no_event(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """A single row of nulls is empty; rows that fill the source later are read from its beginning."""
    simulated.server.failure_modes.vds_empty = {EVENTS}
    harness.poll()
    assert archived(harness) == Counter()
    assert harness.values("tableau_up")["admin_insights",] == 1
    assert "is empty" in str(status(harness).note)
    simulated.server.failure_modes.vds_empty = set()
    harness.poll(after=3600.0)
    read_all(harness, simulated)
    assert archived(harness) == reported(simulated.truth())


@pytest.mark.usefixtures("few_days")
def test_the_refresh_of_each_site_is_published(simulated: SimulatedCloud, tmp_path: Path) -> None:
    """It is the newest that is archived as a whole: that of a site which cannot be read stands, over a restart too."""
    harness = agent(simulated, tmp_path, sites=(SITE, OTHER))
    harness.poll()
    read_all(harness, simulated)
    first = seconds(simulated.insights.refreshed_at)
    assert harness.values(REFRESHED.name) == {(SITE,): first, (OTHER,): first}
    simulated.server.failure_modes.sites_failing = {OTHER}
    harness.poll(after=DAY_SECONDS)
    read_all(harness, simulated)
    second = first + DAY_SECONDS
    assert harness.values(REFRESHED.name) == {(SITE,): second, (OTHER,): first}
    simulated.server.failure_modes.reset()
    simulated.server.failure_modes.vds_empty = {EVENTS}
    harness.restart()
    harness.poll(after=3600.0)
    assert harness.values(REFRESHED.name) == {(SITE,): second, (OTHER,): first}
    harness.rest.close()


@pytest.mark.usefixtures("few_days")
def test_no_refresh_is_published_before_it_is_read(
    harness: RestPollerHarness, simulated: SimulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the first read goes on none is known."""
    monkeypatch.setattr(insights_poller, "QUERIES_PER_HOUR", 11)
    harness.restart()
    harness.poll()
    assert archived(harness).total() > 0
    assert harness.values(REFRESHED.name) == {}
    for _ in range(3):
        harness.poll(after=3600.0)
    assert harness.values(REFRESHED.name) == {(SITE,): seconds(simulated.insights.refreshed_at)}


def status(harness: RestPollerHarness) -> Any:  # noqa: ANN401 - of a collector
    """Return how the collector fares."""
    return next(one for one in harness.store.summary(harness.now, None).collectors if one.name == "admin_insights")


@pytest.mark.usefixtures("few_days")
@pytest.mark.parametrize(
    ("switch", "value", "logged"),
    [
        ("vds", "missing", "has no VizQL Data Service"),
        ("vds", "disabled", "is off"),
        ("vds", "no_access", "API Access"),
        ("vds_fail_code", "500810", "500810"),
        ("vds_fail_code", "503801", "503801"),
    ],
)
def test_a_fault_costs_admin_insights_alone(
    harness: RestPollerHarness, simulated: SimulatedCloud, switch: str, value: str, logged: str
) -> None:
    """The REST API stays up and its assets published; one line has the reason, and reads resume after the fault."""
    setattr(simulated.server.failure_modes, switch, value)
    simulated.server.failure_modes.vds_fail_next = 2 if switch == "vds_fail_code" else 0
    with capture_logs() as logs:
        for _ in range(2):
            harness.poll()
    assert harness.values("tableau_up") == {("rest",): 1, ("admin_insights",): 0}
    assert harness.assets()
    lines = [line for line in logs if line["event"] == "Admin Insights was not read"]
    assert [logged in line["error"] for line in lines] == [True]
    simulated.server.failure_modes.reset()
    harness.poll(after=7200.0)
    read_all(harness, simulated)
    assert archived(harness) == reported(simulated.truth())
    assert harness.values("tableau_up")["admin_insights",] == 1


@pytest.mark.usefixtures("few_days")
def test_captions_that_are_not_there_are_not_asked_for(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """A caption that has another name today leaves its column empty."""
    simulated.server.failure_modes.vds_captions = {"Item Name": "Item Title"}
    simulated.server.failure_modes.vds_without = {"Actor License Role", "Total Allowed Licenses"}
    harness.poll()
    harness.poll(after=3600.0)
    assert archived(harness) == reported(simulated.truth())
    assert harness.query(
        "SELECT count(item_name), count(actor_license_role), count(item_type) > 0 FROM insights_events"
    ) == [(0, 0, True)]


@pytest.mark.usefixtures("few_days")
def test_a_refresh_that_is_not_reported(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """Without the caption of the refresh every day has a read, and its rows are archived once."""
    simulated.server.failure_modes.vds_without = {"Admin Insights Published At"}
    harness.poll()
    harness.poll(after=DAY_SECONDS)
    assert archived(harness) == reported(simulated.truth()) + gone(harness, simulated)


def inactive_users(simulated: SimulatedCloud, now: datetime) -> dict[tuple[str, ...], int]:
    """Return the users with a licence who have signed in, by role and the days since."""
    (users,) = (site.users for site in simulated.server.facts() if site.url == SITE)
    counts: Counter[tuple[str, ...]] = Counter()
    known = [(user.role, user.login_at) for user in users if user.role not in {"Unlicensed", "Guest"} and user.login_at]
    for role, login_at in known:
        for days in (30, 90, 180):
            counts[SITE, REST_ROLES.get(role, role), str(days)] += login_at < now - timedelta(days=days)
    assert 0 < sum(counts.values()) < len(known)
    return dict(counts)


@pytest.mark.usefixtures("few_days")
def test_daily_truth(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """Active users have windows of a day and longer only, which end at the refresh; loads, logins, seats and tokens."""
    harness.poll()
    harness.poll(after=3600.0)
    events = [row for row in simulated.truth() if row["Actor User Id"]]
    refreshed = simulated.insights.refreshed_at
    for name, window in (("1d", DAY), ("7d", 7 * DAY), ("30d", 30 * DAY)):
        since = refreshed - window
        people = {row["Actor User Name"] for row in events if datetime.fromisoformat(str(row["Event Date"])) > since}
        assert harness.values("tableau_active_users")[SITE, name] == len(people)
    assert {window for _, window in harness.values("tableau_active_users")} == {"1d", "7d", "30d"}
    assert {window for (window,) in harness.values("tableau_server_active_users")} == {"1d", "7d", "30d"}
    views = [row for row in events if row["Event Name"] == "Access View"]
    assert harness.query("SELECT count(*), count(DISTINCT view_luid) FROM cloud_requests") == [
        (len(views), len({row["Item LUID"] for row in views}))
    ]
    assert harness.values("tableau_http_requests_total") == {(SITE, "vizql", "bootstrapSession", "unknown"): len(views)}
    assert sum(harness.values("tableau_view_requests_total").values()) == len(views)
    logins = sum(row["Event Name"] == "Login" for row in events)
    assert harness.values("tableau_logins_total") == {(SITE,): logins}
    seats = harness.values("tableau_licensed_seats")
    assert set(seats.values()) == {ALLOWED_LICENCES}
    assert {site for site, _ in seats} == {SITE}
    assert harness.values("tableau_inactive_users") == inactive_users(
        simulated, datetime.fromtimestamp(harness.now, UTC).replace(tzinfo=None)
    )
    expiry = harness.values("tableau_token_expiry_timestamp_seconds")
    assert expiry == {(SITE, "personal_access_token"): seconds(refreshed + 5 * DAY)}


@pytest.mark.usefixtures("few_days")
def test_the_pages_list_what_was_opened(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """Each workbook and view with its loads, under its present name; the hours end at the refresh."""
    harness.poll()
    harness.poll(after=3600.0)
    views = [row for row in simulated.truth() if row["Event Name"] == "Access View"]
    urls = Counter(str(row["Item Repository Url"]).partition("/sheets/")[::2] for row in views)
    answers = harness.context.answers
    found = answers.of("views")["rest"]
    names = {row["Item LUID"]: row["Item Name"] for row in views}
    rows = found.rows.to_pylist()
    assert [row["loads_30d"] for row in rows] == sorted(urls.values(), reverse=True)
    assert {row["asset_id"]: row["name"] for row in rows} == names
    assert {found.sites[row["site_id"]] for row in rows} == {SITE}
    books = answers.of("workbooks")["rest"].rows.to_pylist()
    loads = {row["workbook"]: row["loads_30d"] for row in books}
    assert loads == Counter(str(row["Item Repository Url"]).split("/")[0] for row in views)
    assets = {row["asset_id"]: row["asset_name"] for (kind, _), row in harness.assets().items() if kind == "workbook"}
    assert {row["asset_id"]: row["name"] for row in books}.items() <= assets.items()
    users: dict[str, set[object]] = {}
    for row in views:
        users.setdefault(str(row["Item Repository Url"]).split("/")[0], set()).add(row["Actor User Id"])
    assert {row["workbook"]: row["users_30d"] for row in books} == {name: len(ids) for name, ids in users.items()}
    usage = answers.usage()
    assert usage is not None
    assert usage.counted_at == seconds(simulated.insights.refreshed_at)
    assert int(usage.requests[SITE].sum()) == len(views)


@pytest.mark.usefixtures("few_days")
def test_jobs_of_both_lists_count_once(harness: RestPollerHarness, simulated: SimulatedCloud) -> None:
    """A job that the REST API lists and Job Performance too is one job."""
    harness.poll()
    harness.poll(after=3600.0)
    site = next(site for site in simulated.server.facts() if site.url == SITE)
    # The list goes back seven days from the first poll, Job Performance six.
    since = NOW + timedelta(seconds=INTERVAL) - 7 * DAY
    luids = {job.luid for job in site.jobs if job.ended_at and job.created_at > since}
    ((rows, different),) = harness.query("SELECT count(*), count(DISTINCT luid) FROM background_jobs")
    assert rows == different == len(luids)
    assert sum(harness.values("tableau_background_jobs_finished_total").values()) == rows
    types = {job_type for _, job_type, _ in harness.values("tableau_background_jobs_finished_total")}
    assert types <= {job.type for job in site.jobs}


@pytest.mark.usefixtures("few_days")
def test_beside_the_activity_log_nothing_is_counted_twice(simulated: SimulatedCloud, tmp_path: Path) -> None:
    """Where the Activity Log is configured Admin Insights counts no requests, logins, users or jobs."""
    harness = agent(simulated, tmp_path, "activity_log")
    harness.poll()
    harness.poll(after=3600.0)
    assert archived(harness) == reported(simulated.truth())
    assert [
        harness.query(f"SELECT count(*) FROM {table}") for table in ("cloud_requests", "logins", "background_jobs")
    ] == [[(0,)]] * 3
    assert harness.values("tableau_active_users") == {}
    assert harness.values("tableau_licensed_seats")
    harness.rest.close()


@pytest.mark.usefixtures("few_days")
@pytest.mark.parametrize("users", ["pseudonym", "none"])
def test_privacy(simulated: SimulatedCloud, tmp_path: Path, users: Any) -> None:  # noqa: ANN401 - the option
    """No name, address or number of a user that may not be stored is in the file; users are counted all the same."""
    harness = agent(simulated, tmp_path, privacy=Privacy(users=users))
    harness.poll()
    harness.poll(after=3600.0)
    names = {str(row["Actor User Name"]) for row in simulated.truth()}
    stored = {
        name for row in harness.query("SELECT actor_user_name, item_owner_email FROM insights_events") for name in row
    }
    assert names.isdisjoint(stored - {None})
    assert harness.values("tableau_active_users")[SITE, "30d"] > 0
    if users == "none":
        assert harness.query("SELECT count(actor_user_id) FROM insights_events") == [(0,)]
        assert harness.query("SELECT count(user_id) FROM cloud_requests") == [(0,)]
    harness.rest.close()


@pytest.mark.usefixtures("few_days")
def test_ordinary_polls_do_not_wait_for_it(harness: RestPollerHarness) -> None:
    """Until its hour has come a poll sends no query: the interval of the REST API is not the one of Admin Insights."""
    harness.poll()
    harness.poll(after=INTERVAL)
    assert harness.up()


@pytest.mark.usefixtures("few_days")
def test_an_outage_of_the_rest_api_is_none_of_admin_insights(
    harness: RestPollerHarness, simulated: SimulatedCloud
) -> None:
    """It is not down for the rest of the day because the REST API was, between two of its reads."""
    harness.poll()
    harness.poll(after=3600.0)
    simulated.server.failure_modes.tokens_expired = {"exporter"}
    simulated.server.collide()
    harness.poll()
    assert not harness.up()
    assert harness.values("tableau_up")["admin_insights",] == 1
