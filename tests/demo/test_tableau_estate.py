"""Where the simulated Tableau has its facts from."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest
import tableauserverclient as tsc

from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.simulation import Simulation
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Content, Facts
from exporter.demo.tableau.large import DATASOURCES, FLOWS, WORKBOOKS, luid, refreshed_at
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.demo.tableau.server_process import serving
from exporter.demo.workgroup import VERSIONS
from exporter.repository.connection import connect
from tests.demo.tableau import signed_in


def refreshes(facts: Facts) -> dict[str, object]:
    """Return the last refresh of everything that was refreshed."""
    items = (item for site in facts for item in (*site.workbooks, *site.datasources))
    return {item.luid: (source.refreshed_at, source.incremented_at) for item in items for source in item.sources}


def test_a_company_in_memory_lives(company: Company, now: datetime) -> None:
    """Jobs are queued, run and end; what succeeds is fresh from then on, and the company stays as it was built."""
    clock = [now]
    estate = Estate.living(company, Random(1), lambda: clock[0])
    before, jobs = refreshes(estate.facts()), sum(len(site.jobs) for site in estate.facts())
    assert estate.facts() is estate.facts()
    for _ in range(20):
        clock[0] += timedelta(seconds=30)
        estate.facts()
    facts = estate.facts()
    changed = {key: value for key, value in refreshes(facts).items() if value != before[key]}
    assert changed
    assert all(at is None or at <= clock[0] for pair in changed.values() for at in pair)  # type: ignore[attr-defined]
    later = [job for site in facts for job in site.jobs]
    assert len(later) > jobs
    assert {"Success"} < {job.status for job in later if job.created_at >= now}
    assert all(job.asset for job in later if job.created_at > now)
    assert Company.build(1, now, SMALL) == company


def test_a_suspended_computer_does_not_catch_up(company: Company, now: datetime) -> None:
    """After a pause of days at most half a minute is made up for."""
    clock = [now]
    estate = Estate.living(company, Random(1), lambda: clock[0])
    jobs = sum(len(site.jobs) for site in estate.facts())
    clock[0] += timedelta(days=3)
    assert sum(len(site.jobs) for site in estate.facts()) <= jobs + 30


@pytest.fixture
def reported(simulation: Simulation) -> Callable[[], Facts]:
    """The facts reported of the simulated repository."""
    return Estate.reading(simulation.parameters(), simulation.version).facts


def test_the_repository_tells_the_same_as_its_company(reported: Callable[[], Facts], simulation: Simulation) -> None:
    """Read back from PostgreSQL, everything is as it was built."""
    for read, built in zip(reported(), Estate.of(simulation.company).facts(), strict=True):
        for name, value in built._asdict().items():
            assert getattr(read, name) == value, name


def test_changes_of_the_repository_are_reported(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh that ends there is a job and a fresh extract here, and a renamed asset is renamed."""
    monkeypatch.setattr("exporter.demo.tableau.repository_reader.PAUSE_SECONDS", 0)
    estate = Estate.reading(simulation.parameters(), simulation.version)
    site = estate.facts()[0]
    item, jobs = site.datasources[0], len(site.jobs)
    at = simulation.now + timedelta(minutes=5)
    with connect({**simulation.admin()}) as connection:
        with connection.transaction(force_rollback=True):
            pass  # uncommitted rows are not reported
        connection.execute(
            "UPDATE datasources SET extracts_refreshed_at = %s, name = 'renamed' WHERE luid = %s", [at, item.luid]
        )
        connection.execute(
            """
            INSERT INTO background_jobs
                (job_type, created_at, started_at, completed_at, updated_at, finish_code, priority, progress, title,
                 subtitle, site_id)
            VALUES ('refresh_extracts', %(at)s, %(at)s, %(at)s, %(at)s, 0, 50, 100, 'renamed', 'Datasource', 1)
            """,
            {"at": at},
        )
    site = estate.facts()[0]
    changed = site.datasources[0]
    assert (changed.name, changed.sources[0].refreshed_at) == ("renamed", at)
    assert (len(site.jobs), site.jobs[0].asset, site.jobs[0].ended_at) == (jobs + 1, item.luid, at)
    with connect({**simulation.admin()}) as connection:
        connection.execute("DELETE FROM background_jobs WHERE title = 'renamed'")
        source = item.sources[0]
        connection.execute(
            "UPDATE datasources SET extracts_refreshed_at = %s, name = %s WHERE luid = %s",
            [source.refreshed_at, item.name, item.luid],
        )


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_older_repositories_can_be_told_too(simulation: Simulation, version: str, now: datetime) -> None:
    """Facts that an old version lacks are absent; the others are reported."""
    name = f"tableau_{version.replace('.', '_')}"
    with Simulation(
        version=version,
        scale=SMALL,
        days=0,
        now=now,
        postgres=simulation.postgres,
        database=name,
    ) as simulated:
        facts = Estate.reading(simulated.parameters(), version).facts()
    assert len(facts) == 4
    assert all(site.workbooks and site.datasources and site.users and site.projects and site.tasks for site in facts)


def test_a_repository_that_goes_away_is_told_as_it_was(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """While PostgreSQL is down the server goes on with its last facts."""
    monkeypatch.setattr("exporter.demo.tableau.repository_reader.PAUSE_SECONDS", 0)
    estate = Estate.reading(simulation.parameters(), simulation.version)
    facts = estate.facts()
    monkeypatch.setattr(
        "exporter.demo.tableau.repository_reader.connect", lambda _: connect({"host": "127.0.0.1", "port": 1})
    )
    assert estate.facts() is facts


def test_a_counted_estate_is_what_its_numbers_say(now: datetime) -> None:
    """Each asset exists once, on the site of its number, refreshed at the instant of its number."""
    facts = Estate.large(1_250, 400, flows=10, sites=3, now=now).plain().facts()
    items = {item.luid: item for site in facts for item in (*site.workbooks, *site.datasources, *site.flows)}
    assert len(items) == 1_660
    assert [len(site.workbooks) for site in facts] == [417, 417, 416]
    assert latest(items[luid(WORKBOOKS, 0)]) == refreshed_at(WORKBOOKS, 0, now)
    assert latest(items[luid(DATASOURCES, 7)]) == refreshed_at(DATASOURCES, 7, now)
    assert latest(items[luid(WORKBOOKS, 9)]) is None
    runs = [run for site in facts for run in site.flow_runs]
    assert sorted((run.flow, run.completed_at) for run in runs) == [
        (luid(FLOWS, number), refreshed_at(FLOWS, number, now)) for number in range(10)
    ]


def latest(item: Content) -> datetime | None:
    """Return the last refresh of an asset's own extract."""
    instants = [at for source in item.sources for at in (source.refreshed_at, source.incremented_at) if at]
    return max(instants, default=None)


def test_a_counted_estate_is_read_by_a_client(now: datetime) -> None:
    """A Pager returns as many items as the total."""
    with TableauServer(Estate.large(250, 40, sites=2, now=now)) as tableau, signed_in(tableau, "site1") as server:
        assert len(list(tsc.Pager(server.workbooks))) == 125
        assert len(list(tsc.Pager(server.datasources))) == 20


def test_the_server_runs_in_a_process_of_its_own() -> None:
    """A benchmark starts it elsewhere; it ends with its block."""
    with serving(workbooks=30, datasources=9, sites=1) as url:
        server = tsc.Server(url, use_server_version=True)
        ((name, value),) = TOKENS.items()
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(name, value, site_id=""))
        assert len(list(tsc.Pager(server.workbooks))) == 30
        server.close()
