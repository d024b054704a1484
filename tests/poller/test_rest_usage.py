"""Users, content, jobs and views from the REST API, where no better source has them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest

from exporter.collector import Collector
from exporter.collectors import archived, discover
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Facts, Job, Subscription, View
from exporter.demo.tableau.server import TableauServer
from exporter.history.verification import verify
from tests.support.rest_poller_harness import INTERVAL, RestPollerHarness, seconds

NOW = datetime(2026, 7, 27, 10, tzinfo=UTC).replace(tzinfo=None)
NAMES = ("assets", "users", "content", "background_jobs", "subscriptions", "view_totals")
COLLECTORS: Mapping[str, Collector] = {name: discover()[name] for name in NAMES}
FINISHED, RUN = "tableau_background_jobs_finished_total", "tableau_background_job_run_seconds"
WAITING, RUNNING = "tableau_background_jobs_waiting", "tableau_background_jobs_running"
TOTALS = "tableau_view_lifetime_requests_total"
MINUTE = timedelta(minutes=1)


def job(luid: str, status: str, created: datetime, started: datetime | None, ended: datetime | None) -> Job:
    """Return a refresh."""
    return Job(
        luid=luid,
        type="refresh_extracts",
        status=status,
        created_at=created,
        started_at=started,
        ended_at=ended,
        priority=50,
        progress=0,
        title="Sales",
        subtitle="Workbook",
        notes=None,
        kind=None,
        asset=None,
    )


class SimulatedSite:
    """One site, whose jobs and views are those that a test sets."""

    def __init__(self) -> None:
        (site,) = Estate.large(3, 2, flows=1, sites=1, people=5, jobs=0, now=NOW).facts()
        self.facts: Facts = (site._replace(jobs=(), views=()),)

    def set_jobs(self, *jobs: Job) -> None:
        """Replace the list of jobs."""
        self.facts = (self.facts[0]._replace(jobs=jobs),)

    def set_views(self, *totals: tuple[str, int]) -> None:
        """Replace the views: of each its LUID and its total count; all have one name."""
        book = self.facts[0].workbooks[0].luid
        views = [View(luid, "Overview", "Sales/sheets/Overview", book, NOW, total) for luid, total in totals]
        self.facts = (self.facts[0]._replace(views=views),)


@pytest.fixture
def simulated() -> SimulatedSite:
    """A small site."""
    return SimulatedSite()


@pytest.fixture
def server(simulated: SimulatedSite) -> Iterator[TableauServer]:
    """It over HTTP."""
    with TableauServer(Estate(lambda: simulated.facts).plain()) as running:
        yield running


def agent(server: TableauServer, path: Path, *sources: str) -> RestPollerHarness:
    """Return an agent that polls it, with these sources configured beside the REST API."""
    harness = RestPollerHarness(
        server, path / "history.duckdb", seconds(NOW), collectors=COLLECTORS, sources=("rest", *sources)
    )
    for name in sources:
        harness.store.status.set_source(harness.store.status.source(name))
    return harness


@pytest.fixture
def harness(server: TableauServer, tmp_path: Path) -> Iterator[RestPollerHarness]:
    """An agent that has the REST API alone."""
    made = agent(server, tmp_path)
    yield made
    made.rest.close()


def test_users_by_site_role(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Each user of the list counts under the role as the repository displays it."""
    users = [user._replace(role=role) for user, role in zip(simulated.facts[0].users, ROLES, strict=False)]
    simulated.facts = (simulated.facts[0]._replace(users=users),)
    assert harness.poll()
    site = simulated.facts[0].url or "default"
    published = {"Creator": 2, "Explorer (can publish)": 1, "Site Administrator Creator": 1}
    assert harness.values("tableau_users") == {(site, role): count for role, count in published.items()}


ROLES = ("Creator", "Creator", "ExplorerCanPublish", "SiteAdministratorCreator")


def test_a_list_that_tableau_miscounts(
    harness: RestPollerHarness, server: TableauServer, simulated: SimulatedSite
) -> None:
    """Tableau may count a user that it never lists: those who came twice are counted, one that left is not."""
    server.estate.oddities = replace(server.estate.oddities, promised=frozenset({"users", "projects"}))
    harness.poll()
    assert harness.values("tableau_users") == {}
    harness.poll()
    assert sum(harness.values("tableau_users").values()) == len(simulated.facts[0].users)
    simulated.facts = (simulated.facts[0]._replace(users=simulated.facts[0].users[1:]),)
    harness.poll()
    harness.poll()
    assert sum(harness.values("tableau_users").values()) == len(simulated.facts[0].users)
    assert harness.values("tableau_content")[simulated.facts[0].url or "default", "project"] == len(
        simulated.facts[0].projects
    )


def test_content_of_the_site(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Every kind of content is counted, the views by the total of their list; sizes in megabytes are left out."""
    simulated.set_views(("v1", 3), ("v2", 4))
    assert harness.poll()
    site = simulated.facts[0]
    counts = {
        "workbook": len(site.workbooks),
        "datasource": len(site.datasources),
        "flow": len(site.flows),
        "project": len(site.projects),
        "view": 2,
    }
    name = site.url or "default"
    assert harness.values("tableau_content") == {(name, kind): count for kind, count in counts.items()}
    assert harness.values("tableau_content_bytes") == {}


def test_suspended_subscriptions(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Those that Tableau marks are counted, without a project; where it marks none their number is unknown."""
    site = simulated.facts[0]
    found = [
        Subscription(f"s{number}", "Weekly", "View", "v1", site.users[0].luid, suspended)
        for number, suspended in enumerate((False, True, True))
    ]
    simulated.facts = (site._replace(subscriptions=found[:1]),)
    assert harness.poll()
    assert harness.values("tableau_subscriptions") == {}
    simulated.facts = (site._replace(subscriptions=found),)
    assert harness.poll()
    assert harness.values("tableau_subscriptions") == {(site.url or "default", "", "suspended"): 2}


@pytest.mark.parametrize("kind", ["users", "projects", "views", "jobs", "subscriptions"])
def test_a_list_that_fails_costs_what_it_alone_says(
    harness: RestPollerHarness, server: TableauServer, kind: str
) -> None:
    """Its own numbers end when they are too old; assets, the other numbers and the poll's success stay."""
    own = {"users": "tableau_users", "jobs": WAITING, "subscriptions": "tableau_subscriptions"}.get(
        kind, "tableau_content"
    )
    assert harness.poll()
    before = {name: harness.values(name) for name in ("tableau_users", "tableau_content")}
    server.failure_modes.forbidden = {kind}
    for _ in range(5):
        assert harness.poll()
    status = {one.name: one for one in harness.store.summary(harness.now, None).collectors}
    assert all(one.success for one in status.values())
    assert kind in (status["assets"].note or "")
    assert harness.assets()
    for name, values in before.items():
        gone = {"users": set(values), "projects": {key for key in values if key[1] == "project"}}.get(kind, set())
        gone = {key for key in values if key[1] == "view"} if kind == "views" else gone
        kept = {key: value for key, value in values.items() if name != own or key not in gone}
        assert harness.values(name) == kept
    server.failure_modes.reset()


def test_a_job_is_counted_once_when_it_is_done(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """A job is seen waiting, running and done; repeated polls and restarts count it once, with its times."""
    simulated.set_jobs(job("j1", "Pending", NOW, None, None))
    harness.poll()
    site = simulated.facts[0].url or "default"
    assert (harness.values(WAITING), harness.values(RUNNING)) == ({(site, KIND): 1}, {(site, KIND): 0})
    simulated.set_jobs(job("j1", "InProgress", NOW, NOW + MINUTE, None))
    harness.poll()
    assert (harness.values(WAITING), harness.values(RUNNING)) == ({(site, KIND): 0}, {(site, KIND): 1})
    assert harness.values(FINISHED) == {}
    simulated.set_jobs(job("j1", "Success", NOW, NOW + MINUTE, NOW + 5 * MINUTE))
    for _ in range(3):
        harness.poll()
        harness.restart()
    harness.poll()
    assert harness.values(FINISHED) == {(site, KIND, "success"): 1}
    assert (harness.values(WAITING), harness.values(RUNNING)) == ({}, {})
    times = "epoch(completed_at - started_at), epoch(started_at - created_at)"
    assert harness.query(f"SELECT luid, {times} FROM background_jobs") == [("j1", 240.0, 60.0)]


KIND = "refresh_extracts"


def test_outcomes(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Each outcome has its name; a result that no source lists is archived and not counted."""
    results = ("Success", "Failed", "Cancelled", "Evaporated")
    simulated.set_jobs(*(job(f"j{result}", result, NOW, NOW, NOW + MINUTE) for result in results))
    harness.poll()
    site = simulated.facts[0].url or "default"
    outcomes = ("success", "failure", "cancelled")
    assert harness.values(FINISHED) == {(site, KIND, outcome): 1 for outcome in outcomes}
    assert harness.query("SELECT count(*) FROM background_jobs") == [(4,)]


def test_a_job_that_ends_after_days_is_not_missed(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Later polls list the jobs created since the oldest one that is not done, however many end meanwhile."""
    slow = job("slow", "InProgress", NOW, NOW, None)
    simulated.set_jobs(slow)
    harness.poll()
    for number in range(3):
        simulated.set_jobs(slow, job(f"j{number}", "Success", NOW + number * MINUTE, NOW, NOW + (number + 1) * MINUTE))
        harness.poll(after=86_400.0)
    simulated.set_jobs(slow._replace(status="Failed", ended_at=NOW + timedelta(days=3)))
    harness.poll(after=INTERVAL)
    site = simulated.facts[0].url or "default"
    assert harness.values(FINISHED) == {(site, KIND, "success"): 3, (site, KIND, "failure"): 1}


def test_the_retention(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Jobs that are older than it are deleted without another source, and not archived or counted again."""
    harness.retention = timedelta(days=2)
    harness.restart()
    days = [job(f"j{day}", "Success", at := NOW + timedelta(days=day), at, at + MINUTE) for day in range(6)]
    for number in range(1, len(days) + 1):
        simulated.set_jobs(*days[:number])
        harness.poll(after=86_400.0)
    harness.poll()
    assert harness.query("SELECT luid FROM background_jobs ORDER BY luid") == [("j4",), ("j5",)]
    assert sum(harness.values(FINISHED).values()) == len(days)
    assert [verdict.message for verdict in verify(harness.file, archived(COLLECTORS)) if verdict.ok is False] == []


def test_polls_do_not_list_all_jobs_again(
    harness: RestPollerHarness, server: TableauServer, simulated: SimulatedSite
) -> None:
    """Where nothing waits or runs a poll lists the jobs of the last hour alone."""
    simulated.set_jobs(job("j1", "Success", NOW - 5 * timedelta(days=1), NOW, NOW))
    harness.poll()
    harness.poll()
    listed = [query for kind, query in lists_of(server) if kind == "jobs"]
    assert [("2026-07-20" in query, "2026-07-27T09:05" in query) for query in listed] == [(True, False), (False, True)]


def lists_of(server: TableauServer) -> list[tuple[str, str]]:
    """Return the kind and the address of each list that was requested."""
    return [(call.kind, unquote(call.target)) for call in server.seen]


def test_rows_wait_for_a_history_that_is_held(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Jobs that could not be written are written by a later poll, though the list has forgotten them."""
    harness.poll()
    simulated.set_jobs(job("j1", "Success", NOW, NOW, NOW + MINUTE))
    with harness.held():
        harness.poll()
    simulated.set_jobs()
    harness.poll()
    assert harness.values(FINISHED) == {(simulated.facts[0].url or "default", KIND, "success"): 1}


@pytest.mark.parametrize("source", ["repository", "activity_log"])
def test_a_better_source_counts_jobs_alone(
    server: TableauServer, tmp_path: Path, simulated: SimulatedSite, source: str
) -> None:
    """Beside a repository or an Activity Log the list of jobs is not read."""
    simulated.set_jobs(job("j1", "Success", NOW, NOW, NOW + MINUTE))
    harness = agent(server, tmp_path, source)
    harness.poll()
    assert harness.values(FINISHED) == {}
    assert "jobs" not in {kind for kind, _ in lists_of(server)}
    assert bool(harness.values("tableau_users")) == (source != "repository")
    harness.rest.close()


def test_total_counts_of_views_never_fall(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """A view that is published anew counts on, one whose total falls does not count down, and restarts add nothing."""
    site = simulated.facts[0].url or "default"
    published = []
    for totals in ([("v1", 10)], [("v1", 15)], [("v1", 5)], [("v1", 8)], [("v2", 4)], [("v2", 4), ("v3", 1)]):
        simulated.set_views(*totals)
        harness.poll(after=3600.0)
        harness.restart()
        harness.poll(after=1.0)
        published.append(harness.values(TOTALS)[site, "Sales", "Overview"])
    assert published == [10, 15, 15, 18, 22, 23]


def test_total_counts_are_read_once_an_hour(
    harness: RestPollerHarness, server: TableauServer, simulated: SimulatedSite
) -> None:
    """A list of a thousand views a page is no business of each poll."""
    simulated.set_views(("v1", 10))
    for _ in range(13):
        harness.poll()
    assert sum("includeUsageStatistics" in address for _, address in lists_of(server)) == 2


def test_the_history_agrees_with_itself(harness: RestPollerHarness, simulated: SimulatedSite) -> None:
    """Rows of the REST API are in tables, ledgers and counters alike."""
    simulated.set_jobs(job("j1", "Success", NOW, NOW, NOW + MINUTE), job("j2", "Failed", NOW, NOW, NOW + MINUTE))
    simulated.set_views(("v1", 10))
    harness.poll()
    events = [events for collector in COLLECTORS.values() for events in collector.archived]
    assert all(verdict.ok for verdict in verify(harness.file, events))
