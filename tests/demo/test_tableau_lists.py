"""The lists of the simulated REST API, read by tableauserverclient."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import tableauserverclient as tsc

from exporter.demo.company import Company
from exporter.demo.names import ODD
from exporter.demo.rows import Row
from exporter.demo.tableau.lists import LISTINGS
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.server import TableauServer
from tests.demo.tableau import by_url, client, signed_in

CONTENT = ("workbooks", "datasources", "flows")


def listed(company: Company, table: str, site: int) -> list[Row]:
    """Return the content of a site that a list must have."""
    rows = [row for row in company.tables[table] if row["site_id"] == site and row.get("connectable") is not False]
    gone = {"datasources": ("archived",), "flows": ("archived",)}.get(table, ())
    return [row for row in rows if not row.get("is_deleted") and row.get("state") not in gone]


def everything(endpoint: Any, size: int = 100) -> list[Any]:  # noqa: ANN401 - not typed where it comes from
    """Read a list to its end."""
    return list(tsc.Pager(endpoint, tsc.RequestOptions(pagesize=size)))


def test_the_server_says_its_versions(tableau: TableauServer) -> None:
    """Any client may request the versions, and uses the newest of the API."""
    server = client(tableau)
    info = server.server_info.get()
    assert (info.product_version, info.rest_api_version) == ("2025.3", "3.26")
    server.use_server_version()
    assert server.version == "3.26"
    server.close()


@pytest.mark.parametrize("table", CONTENT)
def test_content_is_what_the_repository_has(tableau: TableauServer, company: Company, table: str) -> None:
    """LUIDs, names (the worst of them too), projects, owners, tags and dates are those of the simulated repository."""
    tableau.estate.oddities = Oddities.none()
    projects = {row["id"]: row for row in company.tables["projects"]}
    places = {
        (row["content_type"], row["content_id"]): row["project_id"] for row in company.tables["projects_contents"]
    }
    owners = {row["id"]: row["luid"] for row in company.tables["users"]}
    found: dict[str, tuple[Any, Row]] = {}
    for number, site in enumerate(company.tables["sites"], 1):
        with signed_in(tableau, str(site["url_namespace"])) as server:
            items = list(tsc.Pager(getattr(server, table), tsc.RequestOptions(pagesize=7)))
        rows = listed(company, table, number)
        assert sorted(item.id for item in items) == sorted(str(row["luid"]) for row in rows)
        found |= {item.id: (item, row) for item in items for row in rows if row["luid"] == item.id}
    for item, row in found.values():
        place = None if row.get("is_private") else places.get((table[:-1], row["id"]), row["project_id"])
        assert (item.name, item.owner_id) == (row["name"], owners[row["owner_id"]])
        # Where there is no project, tableauserverclient invents an id for it.
        assert item.project_id == projects[place]["luid"] if place else item.project_name is None
        assert item.updated_at is not None
        assert item.updated_at.replace(tzinfo=None) == datetime.fromisoformat(str(row["updated_at"])).replace(
            microsecond=0
        )
    if table == "workbooks":
        assert len(set(ODD) - {item.name for item, _ in found.values()}) <= 1  # one is in the recycle bin
        assert {"no-sla", 'Q3 "final"'} <= {tag for item, _ in found.values() for tag in item.tags}
        (private,) = [item for item, row in found.values() if row["is_private"]]
        assert private.location is not None
        assert private.location.type == "PersonalSpace"


def test_projects_stand_in_projects_and_people_have_roles(tableau: TableauServer, company: Company) -> None:
    """The path of a project follows from its parents, the login name of an owner from the users."""
    with signed_in(tableau) as server:
        projects = {project.id: project for project in tsc.Pager(server.projects)}
        people = list(tsc.Pager(server.users))
    child = next(project for project in projects.values() if project.name == "Month End")
    middle = projects[child.parent_id]
    assert [middle.name, projects[middle.parent_id].name] == ["EMEA", "Finance"]
    assert len(people) == sum(row["site_id"] == 1 for row in company.tables["users"])
    assert {"jsmith"} < {person.name for person in people}
    assert {"SiteAdministratorExplorer", "Viewer"} < {person.site_role for person in people}


def test_names_and_addresses_are_told_to_those_who_ask(tableau: TableauServer, company: Company) -> None:
    """As the repository has them; without ``fields`` a list has login names alone, and an unknown field is refused."""
    accounts = {row["id"]: row for row in company.tables["system_users"]}
    expected = {
        row["luid"]: (accounts[row["system_user_id"]]["friendly_name"], accounts[row["system_user_id"]]["email"])
        for row in company.tables["users"]
        if row["site_id"] == 1
    }
    with signed_in(tableau) as server:
        headers, there = {"X-Tableau-Auth": server.auth_token}, f"{server.baseurl}/sites/{server.site_id}/users"
        assert {person.id: (person.fullname, person.email) for person in tsc.Pager(server.users)} == expected
        fetched = tsc.RequestOptions(pagesize=1000)
        fetched.fields |= {"id", "name", "fullName", "email"}
        raw = server.users.get_request(there, fetched).text
        assert {person.id: (person.fullname, person.email) for person in parsed(raw)} == expected
        plain = httpx.get(there, headers=headers).text
        refused = httpx.get(f"{there}?fields=id,shoeSize", headers=headers)
    assert all(str(address).endswith("@example.com") for _, address in expected.values())
    assert "siteRole" not in raw
    assert 'siteRole="' in plain
    assert "fullName" not in plain
    assert "@example.com" not in plain
    assert refused.status_code == 400


def parsed(text: str) -> list[Any]:
    """Read users as tableauserverclient does."""
    return list(tsc.UserItem.from_response(text.encode(), {"t": "http://tableau.com/api"}))


def test_sites_are_listed_and_found_by_their_url(tableau: TableauServer) -> None:
    """Every site is listed, the Default site by an empty content URL."""
    with signed_in(tableau) as server:
        sites = list(tsc.Pager(server.sites, tsc.RequestOptions(pagesize=3)))
        assert [site.content_url for site in sites] == ["", "marketing", "finance", "emea"]
        assert server.sites.get_by_id(sites[0].id).name == "Default"
        assert sites[3].name == "EMEA <Region>"


def test_the_list_of_jobs_says_nothing_of_assets_but_a_single_job_does(tableau: TableauServer) -> None:
    """A client must request each job to learn its content."""
    jobs = [job for job in by_url(tableau).jobs if job.asset and job.ended_at]
    kinds = {job.kind: job for job in jobs}
    with signed_in(tableau) as server:
        reported = {job.id: job for job in everything(server.jobs, 1000)}
        assert len(reported) == len(by_url(tableau).jobs)
        for kind, job in kinds.items():
            single = server.jobs.get_by_id(job.luid)
            assets: dict[str | None, object] = {
                "workbook": single.workbook_id,
                "datasource": single.datasource_id,
            }
            if kind == "flow":
                assert single.flow_run is not None
                assert (single.flow_run.flow_id, single.flow_run.id) == (job.asset, job.run)
            else:
                assert assets == {**dict.fromkeys(assets), kind: job.asset}
            assert single.completed_at == reported[job.luid].ended_at
    assert set(kinds) == {"workbook", "datasource", "flow"}


def test_a_job_that_somebody_started_is_known_by_its_name(tableau: TableauServer, company: Company) -> None:
    """Jobs without a task belong to the content of their site that has their title."""
    adhoc = [row for row in company.tables["background_jobs"] if row["run_now"] and row["site_id"]]
    reported = {job.luid: job for site in tableau.facts() for job in site.jobs}
    assert len(adhoc) >= 6
    assert all(reported[str(row["luid"])].asset for row in adhoc)


def test_jobs_are_filtered_and_sorted(tableau: TableauServer, now: datetime) -> None:
    """Jobs filtered by type, status and date come, newest first, and no others."""
    since = now - timedelta(days=2)
    jobs = [job for job in by_url(tableau).jobs if job.type in {"refresh_extracts", "increment_extracts"}]
    wanted = [job for job in jobs if job.status == "Success" and job.ended_at and job.ended_at >= since]
    with signed_in(tableau) as server:
        found = server.jobs.filter(
            job_type__in=["refresh_extracts", "increment_extracts"],
            status="Success",
            completed_at__gte=f"{since.isoformat()}Z",
        ).order_by("-completedAt")
        reported = [job.id for job in found]
    by_end = sorted(wanted, key=lambda job: job.ended_at or now, reverse=True)
    assert reported == [job.luid for job in by_end]
    assert reported


def test_tasks_have_no_pages_and_on_server_a_named_schedule(tableau: TableauServer) -> None:
    """All tasks come at once, with the schedule that belongs to the server."""
    tableau.estate.oddities = replace(Oddities(), task_of_nothing=False, task_without_schedule=False)
    tasks = [task for task in by_url(tableau).tasks if task.kind != "flow" and task.ran_at is None]
    with signed_in(tableau) as server:
        reported, pagination = server.tasks.get(tsc.RequestOptions(pagesize=1))
        schedules = {schedule.id: schedule for schedule in tsc.Pager(server.schedules)}
    assert pagination.total_available is None
    assert [task.id for task in reported] == [task.luid for task in tasks]
    assert {task.target.type for task in reported} == {"workbook", "datasource"}
    assert {task.schedule_id for task in reported} <= set(schedules)
    assert any(task.consecutive_failed_count for task in reported)


def test_on_cloud_the_schedule_stands_in_the_task(cloud: TableauServer) -> None:
    """Cloud has no schedules of its own: a task has its frequency and its next run."""
    with signed_in(cloud) as server:
        reported, _ = server.tasks.get()
        with pytest.raises(tsc.ServerResponseError, match="404000"):
            server.schedules.get()
    schedules = [task.schedule_item for task in reported if task.schedule_item]
    assert len(schedules) == len(reported) - 1
    assert all(schedule.next_run_at and schedule.interval_item for schedule in schedules)
    assert {(schedule.id, schedule.state) for schedule in schedules} == {(None, None)}


def test_flows_have_runs_and_tasks_that_the_client_does_not_see(tableau: TableauServer) -> None:
    """A run of a flow names its flow; a task does so in an element that tableauserverclient does not read."""
    site = by_url(tableau)
    with signed_in(tableau) as server:
        runs = server.flow_runs.get(tsc.RequestOptions(pagesize=1000))
        assert server.tasks.get(task_type=tsc.TaskItem.Type.RunFlow)[0] == []
        raw = server.tasks.get_request(f"{server.tasks.baseurl}/runFlow").text
    assert [run.id for run in runs] == [run.luid for run in site.flow_runs]
    assert {run.flow_id for run in runs} <= {flow.luid for flow in site.flows}
    assert raw.count("<flowRun ") == sum(task.kind == "flow" for task in site.tasks) > 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("pageNumber=0", "400006"),
        ("pageNumber=99", "400006"),
        ("pageSize=0", "400007"),
        ("pageSize=1001", "403014"),
        ("filter=nonsense:eq:1", "400065"),
        ("filter=createdAt:gt:soon", "400065"),
        ("sort=nonsense:asc", "400065"),
    ],
)
def test_a_page_that_cannot_be_is_refused(tableau: TableauServer, query: str, code: str) -> None:
    """Numbers and fields out of range are errors, with Tableau's codes."""
    with signed_in(tableau) as server:
        url = f"{server.baseurl}/sites/{server.site_id}/workbooks?{query}"
        answer = httpx.get(url, headers={"X-Tableau-Auth": server.auth_token})
    assert f'code="{code}"' in answer.text
    assert answer.status_code == int(code[:3])


def test_a_token_sees_its_site_alone(tableau: TableauServer) -> None:
    """Another site's lists are refused, an unknown version and an unknown path are not found."""
    with signed_in(tableau) as server:
        headers = {"X-Tableau-Auth": server.auth_token}
        other = by_url(tableau, "emea").luid
        statuses = [
            httpx.get(f"{tableau.url}/api/{path}", headers=headers).status_code
            for path in (f"3.26/sites/{other}/workbooks", "3.99/sites", "3.26/nonsense", f"3.26/sites/{other}")
        ]
    assert statuses == [403, 404, 404, 200]


def test_every_list_can_be_sorted_by_all_that_it_can_be_filtered_by() -> None:
    """The fields of a list are attributes of its entries."""
    with_fields = {kind: listing.fields for kind, listing in LISTINGS.items() if listing.fields}
    assert set(with_fields) == {*CONTENT, "projects", "users", "jobs", "flow_runs", "views", "virtual_connections"}
