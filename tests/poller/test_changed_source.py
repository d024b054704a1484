"""A source of usage that replaces another one in the same history counts nothing that the other has counted."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from exporter.collectors import archived, discover
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau import admin_insights
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import ActivityStory
from exporter.demo.tableau.admin_insights import AdminInsights
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TableauServer
from exporter.history.verification import verify
from exporter.poller import insights_poller
from tests.activity_log.harness import ActivityHarness
from tests.support.rest_poller_harness import INTERVAL, RestPollerHarness, seconds

NOW = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the company's times have no zone
REFRESHED_AT = datetime(2025, 11, 19, 5)  # noqa: DTZ001 - see above
POLLED_AT = NOW + timedelta(seconds=INTERVAL)
DAYS = timedelta(days=2)
COLLECTORS = {name: found for name, found in discover().items() if name != "processes"}
REQUESTS = "SELECT count(*) FROM cloud_requests WHERE created_at <= TIMESTAMP '{}'"
LOGINS = "SELECT count(*) FROM logins WHERE login_at <= TIMESTAMP '{}'"
REQUESTS_OF_SITES = "SELECT site_id, count(*) FROM cloud_requests GROUP BY ALL"
ACCESSES = "SELECT site_id, count(*) FROM insights_events WHERE event_name = 'Access View' GROUP BY ALL"
# Of the requests of the log, those that Admin Insights does not cover, and those before it alone.
OUTSIDE = """
    WITH firsts AS (
        SELECT site_id, date_trunc('hour', min(event_date)) AS hour FROM insights_events GROUP BY site_id
    )
    SELECT site_id, count(*)
    FROM activity_events JOIN firsts USING (site_id)
    WHERE event_type = 'vizql_http_request' AND (event_time < hour OR event_time >= TIMESTAMP '{}')
    GROUP BY site_id
"""
EARLIER = OUTSIDE.format("2100-01-01")
JOBS = """
    SELECT count(*), count(DISTINCT luid)
    FROM (
        SELECT luid FROM background_jobs
        UNION ALL
        SELECT job_luid FROM cloud_jobs WHERE event_state IN ('JobSuccess', 'JobFailed', 'Failed')
            AND event_type = 'background_job'
    )
"""


class BothSources:
    """A Tableau Cloud with Admin Insights and the Activity Log, and a history that an agent keeps of it."""

    def __init__(self, path: Path, logged: timedelta = DAYS) -> None:
        company = Company.build(1, NOW, SMALL)
        story = self.story = ActivityStory(company, sites=2, requests_per_day=60)
        insights = AdminInsights(company, story, lambda: POLLED_AT)
        self.path = path
        self.server = TableauServer(
            Estate.of(company).plain(),
            cloud=True,
            insights=insights,
            clock=lambda: seconds(POLLED_AT),
            session_seconds=1e9,
        )
        files = ActivityFiles(story, POLLED_AT - logged, lambda: POLLED_AT, retention=timedelta(days=14))
        self.manager = CloudManager(files)

    def poll_rest(self, *sources: str) -> RestPollerHarness:
        """Poll the REST API, and Admin Insights if it is a source; release the history."""
        harness = RestPollerHarness(
            self.server, self.path, seconds(NOW), collectors=COLLECTORS, sources=("rest", *sources)
        )
        harness.sites = tuple(place.url or "default" for place in self.story.sites)
        harness.file.unlock()
        harness.restart()
        assert harness.poll()
        harness.rest.close()
        harness.file.unlock()
        return harness

    def poll_activity_log(self) -> ActivityHarness:
        """Poll the Activity Log; release the history."""
        harness = ActivityHarness(self.manager.url, self.path, POLLED_AT)
        assert harness.poll()
        harness.close()
        return harness


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BothSources]:
    """Two days of a small tenant."""
    monkeypatch.setattr(admin_insights, "RETENTION", DAYS)
    monkeypatch.setattr(insights_poller, "RETAINED", DAYS)
    made = BothSources(tmp_path / "history.duckdb")
    with made.server, made.manager:
        yield made


@pytest.fixture
def long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BothSources]:
    """Two days of Admin Insights, which was queried for more, and four days of the Activity Log."""
    monkeypatch.setattr(admin_insights, "RETENTION", DAYS)
    monkeypatch.setattr(insights_poller, "RETAINED", 2 * DAYS)
    made = BothSources(tmp_path / "history.duckdb", 2 * DAYS)
    with made.server, made.manager:
        yield made


def counted(harness: RestPollerHarness, family: str) -> int:
    """Return the total of a counter in the history, over all labels."""
    ((total,),) = harness.query(f"SELECT coalesce(sum(value), 0) FROM counters WHERE family = '{family}'")
    return int(float(str(total)))


def test_an_activity_log_after_admin_insights(both: BothSources) -> None:
    """Requests, logins and jobs that Admin Insights has counted are archived as events, and counted once."""
    harness = both.poll_rest("admin_insights")
    until = REFRESHED_AT - timedelta(microseconds=1)
    before = [harness.query(table.format(until)) for table in (REQUESTS, LOGINS)]
    assert all(rows > [(0,)] for rows in before)
    log = both.poll_activity_log()
    assert [log.query(table.format(until)) for table in (REQUESTS, LOGINS)] == before
    earlier = f"event_type = 'vizql_http_request' AND event_time <= TIMESTAMP '{until}'"
    assert log.query(f"SELECT count(*) FROM activity_events WHERE {earlier}") > [(0,)]
    assert log.query(f"SELECT count(*) FROM cloud_requests WHERE created_at > TIMESTAMP '{until}'") > [(0,)]
    for family, table in (("tableau_http_requests_total", "cloud_requests"), ("tableau_logins_total", "logins")):
        assert log.query(f"SELECT count(*) FROM {table}") == [(counted(harness, family),)]
    assert_jobs_once(harness)


def test_an_activity_log_that_is_longer_than_admin_insights(long_log: BothSources) -> None:
    """Hours before the first event of Admin Insights are counted from the log, those up to its refresh are not."""
    harness = long_log.poll_rest("admin_insights")
    log = long_log.poll_activity_log()
    accesses = dict(log.query(ACCESSES))
    found, outside = dict(log.query(REQUESTS_OF_SITES)), dict(log.query(OUTSIDE.format(REFRESHED_AT)))
    earlier = dict(log.query(EARLIER))
    assert len(found) == len(accesses) > 1
    assert sum(earlier.values()) > 0
    assert found == {site: accesses[site] + outside.get(site, 0) for site in found}
    for family, table in (("tableau_http_requests_total", "cloud_requests"), ("tableau_logins_total", "logins")):
        assert log.query(f"SELECT count(*) FROM {table}") == [(counted(harness, family),)]
    assert_jobs_once(harness)


def test_an_activity_log_after_the_jobs_of_the_rest_api(both: BothSources) -> None:
    """A job that the REST API has listed is not counted again; older ones are."""
    harness = both.poll_rest()
    ((listed,),) = harness.query("SELECT count(*) FROM background_jobs")
    both.poll_activity_log()
    assert int(str(listed)) > 0
    assert_jobs_once(harness)


def test_admin_insights_after_an_activity_log(both: BothSources) -> None:
    """Nothing that an Activity Log has counted before it was removed is counted again."""
    log = both.poll_activity_log()
    ((newest,),) = log.query("SELECT max(event_time) FROM activity_events")
    before = [log.query(table.format(newest)) for table in (REQUESTS, LOGINS)]
    harness = both.poll_rest("admin_insights")
    assert [harness.query(table.format(newest)) for table in (REQUESTS, LOGINS)] == before
    assert harness.query("SELECT count(*) > 0 FROM insights_events") == [(True,)]
    assert_jobs_once(harness)


def assert_jobs_once(harness: RestPollerHarness) -> None:
    """Compare the jobs of both tables with their counter, and verify the history."""
    ((jobs, different),) = harness.query(JOBS)
    assert jobs == different == counted(harness, "tableau_background_jobs_finished_total")
    assert [verdict.message for verdict in verify(harness.file, archived(COLLECTORS)) if verdict.ok is False] == []
