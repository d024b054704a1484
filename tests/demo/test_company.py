"""The simulated company."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from exporter.demo.company import Company
from exporter.demo.content import KINDS
from exporter.demo.draft import SMALL
from exporter.demo.names import EVERYWHERE, ODD
from exporter.demo.simulation import Simulation
from exporter.demo.workgroup import VERSIONS, schema
from exporter.repository.connection import connect


def test_the_same_seed_gives_the_same_company(company: Company, now: datetime) -> None:
    """A company is a function of its seed and its instant."""
    assert Company.build(1, now, SMALL) == company
    assert Company.build(2, now, SMALL) != company


@pytest.mark.parametrize("seed", range(3))
def test_every_special_case_is_there(now: datetime, seed: int) -> None:
    """At the smallest scale and with any seed each kind of content exists at least once."""
    small = Company.build(seed, now, SMALL)
    for table, kinds in KINDS.items():
        assert {*kinds, "healthy"} <= {asset.kind for asset in small.assets if asset.table == table}
    assert set(ODD) <= {row["name"] for row in small.tables["workbooks"]}


def test_every_column_is_a_fact(company: Company) -> None:
    """The company's columns are those of the newest schema, and all rows of a table have the same."""
    for table, rows in company.tables.items():
        assert set(rows[0]) <= set(schema("2025.3")[table])
        assert {frozenset(row) for row in rows} == {frozenset(rows[0])}


def test_names_collide_across_sites_but_not_within(company: Company) -> None:
    """The same repository_url stands on every site, and only once on each."""
    urls = Counter((row["site_id"], row["repository_url"]) for row in company.tables["workbooks"])
    assert max(urls.values()) == 1
    for name in EVERYWHERE:
        assert sum(url == name.replace(" ", "") for _, url in urls) == len(company.tables["sites"])


def test_people_have_seats_on_several_sites(company: Company) -> None:
    """There are more seats than users, and one login name belongs to two of them."""
    assert len(company.tables["users"]) > len(company.tables["system_users"])
    names = Counter(row["name"] for row in company.tables["system_users"])
    assert [name for name, count in names.items() if count > 1] == ["jsmith"]


def stale(rows: list[dict[str, object]], column: str, now: datetime) -> list[timedelta]:
    """Return how long ago each of the rows was refreshed."""
    return [now - at for row in rows if isinstance(at := row[column], datetime)]


@pytest.mark.parametrize("table", ["workbooks", "datasources"])
def test_freshness_follows_from_the_story(company: Company, now: datetime, table: str) -> None:
    """Healthy content is as fresh as its schedule allows, failing and suspended content is days old."""
    healthy = company.of_kind(table, "healthy")
    assert len(stale(healthy, "extracts_refreshed_at", now)) == len(healthy)
    assert max(stale(healthy, "extracts_refreshed_at", now)) < timedelta(days=8)
    assert min(stale(company.of_kind(table, "failing"), "extracts_refreshed_at", now)) > timedelta(days=1)
    assert min(stale(company.of_kind(table, "suspended"), "extracts_refreshed_at", now)) > timedelta(days=5)
    for row in company.of_kind(table, "never"):
        assert row["data_engine_extracts"]
        assert row["extracts_refreshed_at"] is row["extracts_incremented_at"] is None
        assert row["last_published_at"]
    for row in company.of_kind(table, "incremental"):
        assert row["extracts_refreshed_at"] is None
        assert row["extracts_incremented_at"]
    assert not any(row["data_engine_extracts"] for row in company.of_kind(table, "live"))


def test_tasks_tell_the_same_as_their_jobs(company: Company) -> None:
    """The failures in a row and the last success of a task are those of its jobs."""
    jobs: dict[object, list[Mapping[str, object]]] = {}
    for job in company.tables["background_jobs"]:
        if job["completed_at"] is not None:
            jobs.setdefault(job["task_id"], []).append(job)
    for task in company.tables["tasks"]:
        if task["obj_type"] == "Subscription":
            continue
        done = jobs[task["id"]]
        successes = [number for number, job in enumerate(done) if job["finish_code"] == 0]
        assert task["last_success_completed_at"] == done[successes[-1]]["completed_at"]
        failures = [job for job in done[successes[-1] + 1 :] if job["finish_code"] == 1]
        assert task["consecutive_failure_count"] == len(failures)


def test_flows_are_run_by_specifications(company: Company) -> None:
    """A flow's task names one of several specifications, whose number is not the flow's; its runs are the flow's."""
    specs = {row["id"]: row for row in company.tables["flow_run_specs"]}
    tasks = [row for row in company.tables["tasks"] if row["obj_type"] == "FlowRunSpec"]
    flows = {row["id"]: specs[row["obj_id"]]["flow_id"] for row in tasks}
    assert not [row for row in company.tables["tasks"] if row["obj_type"] == "Flow"]
    assert set(flows.values()) >= {row["id"] for row in company.of_kind("flows", "healthy")}
    assert not [row for row in tasks if flows[row["id"]] == row["obj_id"]]
    assert max(Counter(row["flow_id"] for row in specs.values()).values()) > 1
    assert {(run["task_id"], run["flow_id"]) for run in company.tables["flow_runs"]} <= set(flows.items())
    assert {specs[run["flow_run_spec_id"]]["flow_id"] for run in company.tables["flow_runs"]} <= set(flows.values())


def test_only_refreshes_have_their_task_in_correlation_id(company: Company) -> None:
    """A subscription's job names the subscription there, whose number some refresh's task has too."""
    jobs = company.tables["background_jobs"]
    subscriptions = [row for row in jobs if row["job_name"] == "Subscription Notifications"]
    assert {row["correlation_id"] for row in subscriptions} <= {row["id"] for row in company.tables["subscriptions"]}
    refreshes = [row for row in jobs if row["task_id"] and row["job_name"] != "Subscription Notifications"]
    assert all(row["correlation_id"] == row["task_id"] for row in refreshes)
    assert {row["correlation_id"] for row in subscriptions} & {row["task_id"] for row in refreshes}


def test_published_sources_are_found_by_their_url(company: Company) -> None:
    """A workbook on a published source names its repository_url, and the source stands on the same site."""
    sources = {(row["site_id"], row["repository_url"]) for row in company.tables["datasources"] if row["connectable"]}
    links = [row for row in company.tables["data_connections"] if row["dbclass"] == "sqlproxy"]
    assert links
    assert all((row["site_id"], row["dbname"]) in sources for row in links)


def test_jobs_wait_and_run(company: Company) -> None:
    """Some jobs wait and some run; their finish_code means failure, as Tableau has it before the end."""
    unfinished = [row for row in company.tables["background_jobs"] if row["completed_at"] is None]
    assert {row["started_at"] is None for row in unfinished} == {True, False}
    assert {row["finish_code"] for row in unfinished} == {1}


@pytest.mark.parametrize("version", VERSIONS)
def test_it_fits_every_version(company: Company, database: dict[str, str | int], version: str, now: datetime) -> None:
    """Each version gets its own columns, and no content in a state that it lacks."""
    from exporter.demo import workgroup

    with connect(database) as connection:
        workgroup.create(connection, version, readonly_password="r", tableau_password="t")
        company.insert(connection, version)
        found = {row[0] for row in connection.execute("SELECT id FROM workbooks")}
        orphans = connection.execute("SELECT count(*) FROM views WHERE workbook_id NOT IN (SELECT id FROM workbooks)")
        assert orphans.fetchone() == (0,)
        (following,) = connection.execute("INSERT INTO background_jobs DEFAULT VALUES RETURNING id").fetchone() or (0,)
    hidden = {row["id"] for kind in ("deleted", "private") for row in company.of_kind("workbooks", kind)}
    everything = {row["id"] for row in company.tables["workbooks"]}
    assert found == (everything - hidden if version == "2019.3" else everything)
    assert following == len(company.tables["background_jobs"]) + 1


def test_secrets_are_canaries(simulation: Simulation) -> None:
    """Columns that must not be read hold a text to search for everywhere else."""
    with connect(simulation.parameters()) as connection:
        for column, table in (
            ("hashed_password", "system_users"),
            ("salt", "system_users"),
            ("keychain", "system_users"),
            ("keychain", "data_connections"),
            ("embedded", "workbooks"),
            ("hashed_secret", "sessions"),
        ):
            query = f"SELECT count(*), count(*) FILTER (WHERE {column} LIKE 'CANARY-%') FROM {table}"
            everything, canaries = connection.execute(query.encode()).fetchone() or (0, 0)
            assert everything == canaries > 0
