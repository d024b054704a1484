"""What the agent reads of each answer, where that is documented, and that the simulated Tableau sends it so.

The table is ours; its facts come from Tableau's published XSD of the REST API, version 3.29 (type names), from the
tests of tableauserverclient (``test/assets``) and from its parsers (``models``). Assumptions are in
docs/decisions/0017-assumptions-tableau-apis.md.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from exporter import rest
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.markup import NO_SUCH_DAY, Style
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.server import TableauServer
from tests.demo.tableau import by_url, signed_in


@dataclass(frozen=True)
class Resource:
    """An answer: the parts that the agent uses, and those that its source excludes.

    ``entries`` is the way from the list to its entries; ``inside`` are elements below an entry and their attributes.
    """

    path: str
    list: str
    entries: str
    source: str
    used: frozenset[str]
    inside: Mapping[str, frozenset[str]] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    paged: bool = True


def names(text: str) -> frozenset[str]:
    """Return words as a set."""
    return frozenset(text.split())


CONTENT = names("id name createdAt updatedAt webpageUrl")
PLACED = {"project": names("id name"), "owner": names("id"), "tag": names("label")}
UNTAGGED = {name: attributes for name, attributes in PLACED.items() if name != "tag"}
SCHEDULE = names("state nextRunAt")
RESOURCES = {
    "workbooks": Resource(
        "/workbooks",
        "workbooks",
        "workbook",
        "XSD workbookType, locationType; workbook_get, workbook_get_all_fields",
        CONTENT | {"hasExtracts", "size"},
        {**PLACED, "location": names("type")},
        names("lastRefreshedAt extractsRefreshedAt"),
    ),
    "datasources": Resource(
        "/datasources",
        "datasources",
        "datasource",
        "XSD dataSourceType; datasource_get, datasource_get_no_owner, datasource_get_all_fields",
        CONTENT | {"hasExtracts", "size"},
        PLACED,
        names("lastRefreshedAt extractsRefreshedAt"),
    ),
    "flows": Resource(
        "/flows", "flows", "flow", "XSD flowType; flow_get", CONTENT, UNTAGGED, names("hasExtracts contentUrl location")
    ),
    "projects": Resource(
        "/projects",
        "projects",
        "project",
        "XSD projectType; project_get",
        names("id name parentProjectId"),
        absent=names("createdAt updatedAt topLevelProject"),
    ),
    "users": Resource(
        "/users?fields=id,name,siteRole,fullName,email",
        "users",
        "user",
        "XSD userType; user_get_all_fields",
        names("id name siteRole fullName email"),
        absent=names("lastLogin locale domain"),
    ),
    "subscriptions": Resource(
        "/subscriptions",
        "subscriptions",
        "subscription",
        "XSD subscriptionType; subscription_get",
        names("id subject"),
        {"content": names("id type"), "user": names("id")},
    ),
    "jobs": Resource(
        "/jobs",
        "backgroundJobs",
        "backgroundJob",
        "XSD backgroundJobType; job_get",
        names("id status jobType endedAt title"),
        absent=names("workbook datasource completedAt notes"),
    ),
    "tasks": Resource(
        "/tasks/extractRefreshes",
        "tasks",
        "task/extractRefresh",
        "XSD taskExtractRefreshType, scheduleType; tasks_with_workbook_and_datasource",
        names("consecutiveFailedCount"),
        {"workbook": names("id"), "datasource": names("id"), "schedule": SCHEDULE},
        names("lastRunAt flow"),
        paged=False,
    ),
    "flow_tasks": Resource(
        "/tasks/runFlow",
        "tasks",
        "task/flowRun",
        "XSD taskRunFlowType; tasks_create_flow_task",
        names("consecutiveFailedCount"),
        {"flow": names("id"), "schedule": SCHEDULE},
        names("lastRunAt workbook"),
        paged=False,
    ),
    "linked_tasks": Resource(
        "/tasks/linked",
        "linkedTasks",
        "linkedTasks",
        "XSD linkedTaskType, linkedTaskStepType; linked_tasks_get",
        names("id"),
        {"schedule": SCHEDULE, "flow": names("id"), "flowRun": names("consecutiveFailedCount")},
    ),
    "flow_runs": Resource(
        "/flows/runs",
        "flowRuns",
        "flowRuns",
        "XSD flowRunType; flow_runs_get, flow_runs_get_by_id_inprogress",
        names("id flowId status completedAt"),
        absent=names("flow"),
        paged=False,
    ),
}
# What the agent reads of the answers that are no list of a site.
SINGLE: Mapping[str, tuple[frozenset[str], Mapping[str, frozenset[str]], str]] = {
    "job": (names("id"), {"workbook": names("id"), "datasource": names("id")}, "XSD jobType, extractRefreshJobType"),
    "sites": (names("id contentUrl state"), {}, "XSD siteType; site_get"),
    "serverinfo": (frozenset(), {"productVersion": frozenset(), "restApiVersion": frozenset()}, "server_info_get"),
}


def fetched(server: Any, path: str) -> str:  # noqa: ANN401 - tableauserverclient is typed in part
    """Get an answer as it comes over the wire."""
    there = f"{server.baseurl}/sites/{server.site_id}{path}"
    answer = httpx.get(there, headers={"X-Tableau-Auth": server.auth_token})
    assert answer.status_code == 200, answer.text
    return answer.text


def plain(element: ET.Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def entries(resource: Resource, answer: ET.Element) -> list[ET.Element]:
    """Return the entries of a list, which stands right below the root."""
    (found,) = [child for child in answer if plain(child) == resource.list]
    return found.findall("/".join(f"{{*}}{step}" for step in resource.entries.split("/")))


def below(items: list[ET.Element], name: str) -> Iterator[ET.Element]:
    """Yield the elements of a name somewhere below entries, not the entries themselves."""
    for item in items:
        yield from (element for element in item.iter() if plain(element) == name and element is not item)


@pytest.mark.parametrize("cloud_too", [False, True], ids=["server", "cloud"])
@pytest.mark.parametrize("kind", RESOURCES)
def test_each_answer_has_what_the_agent_reads(
    tableau: TableauServer, cloud: TableauServer, kind: str, cloud_too: bool
) -> None:
    """Every used element and attribute is sent, and none that its source excludes."""
    resource = RESOURCES[kind]
    with signed_in(cloud if cloud_too else tableau) as server:
        answer = ET.fromstring(fetched(server, resource.path))
    items = entries(resource, answer)
    assert items
    assert resource.used <= {name for item in items for name in item.attrib}
    for element, attributes in resource.inside.items():
        found = {name for one in below(items, element) for name in one.attrib}
        # On Tableau Cloud a schedule belongs to its task, and has neither a name nor a state.
        assert attributes - ({"state"} if cloud_too and element == "schedule" else set()) <= found, element
    sent = {plain(element) for item in items for element in item.iter()} | {n for item in items for n in item.attrib}
    assert not resource.absent & sent
    assert ([child for child in answer if plain(child) == "pagination"] != []) == resource.paged


def test_a_schedule_on_cloud_has_no_name(cloud: TableauServer) -> None:
    """It has its frequency, in detail, and its next run (tasks_with_interval)."""
    with signed_in(cloud) as server:
        answer = ET.fromstring(fetched(server, "/tasks/extractRefreshes"))
    schedules = answer.findall(".//{*}schedule")
    assert schedules
    for schedule in schedules:
        assert set(schedule.attrib) == {"frequency", "nextRunAt"}
        assert schedule.find("{*}frequencyDetails/{*}intervals/{*}interval") is not None


def test_a_job_names_its_content_to_those_who_ask_for_it(tableau: TableauServer) -> None:
    """Inside extractRefreshJob, beside its notes (job_get_by_id_failed_workbook)."""
    jobs = {job.kind: job for job in by_url(tableau).jobs if job.kind in {"workbook", "datasource"} and job.ended_at}
    failed = next(job for job in by_url(tableau).jobs if job.notes and job.kind == "workbook")
    with signed_in(tableau) as server:
        for kind, job in jobs.items():
            (found,) = ET.fromstring(fetched(server, f"/jobs/{job.luid}"))
            assert found.get("finishCode") in {"0", "1", "2"}
            (inside,) = found.findall(f"{{*}}extractRefreshJob/{{*}}{kind}")
            assert inside.get("id") == job.asset
        (found,) = ET.fromstring(fetched(server, f"/jobs/{failed.luid}"))
    assert found.findtext("{*}extractRefreshJob/{*}notes") == failed.notes


def test_flow_runs_have_no_pages(tableau: TableauServer) -> None:
    """A second page is refused, an empty list is an empty element, and a run that goes on has an empty end."""
    with signed_in(tableau) as server:
        running = ET.fromstring(fetched(server, "/flows/runs")).findall(".//{*}flowRuns[@status='InProgress']")
        there = f"{server.baseurl}/sites/{server.site_id}/flows/runs?pageNumber=2"
        refused = httpx.get(there, headers={"X-Tableau-Auth": server.auth_token})
        empty = fetched(server, "/flows/runs?filter=flowId:eq:nothing")
    assert [run.get("completedAt") for run in running] == [""]
    assert (refused.status_code, 'code="400006"' in refused.text) == (400, True)
    assert "<flowRuns/></tsResponse>" in empty
    assert "pagination" not in empty


def test_sites_have_all_their_settings(tableau: TableauServer) -> None:
    """Beside the fields of a site that the agent reads stand settings that it ignores (site_get)."""
    with signed_in(tableau) as server:
        answer = httpx.get(f"{server.baseurl}/sites", headers={"X-Tableau-Auth": server.auth_token}).text
    sites = ET.fromstring(answer).findall(".//{*}site")
    used, _, _ = SINGLE["sites"]
    assert all(used < set(site.attrib) and len(site.attrib) > 20 for site in sites)
    assert next(site.get("contentUrl") for site in sites) == ""


def odd_places(tableau: TableauServer, kind: str) -> dict[frozenset[str], int]:
    """Count a list's entries by which of project, location and owner they have."""
    found: dict[frozenset[str], int] = {}
    with signed_in(tableau) as server:
        answer = ET.fromstring(fetched(server, f"/{kind}"))
    for item in answer.findall(f".//{{*}}{kind.removesuffix('s')}"):
        has = frozenset(plain(child) for child in item) & {"project", "location", "owner"}
        found[has] = found.get(has, 0) + 1
    return found


def test_a_flow_with_tags_has_them() -> None:
    """The company's flows have none; those of a counted estate do, and write them as workbooks do."""
    flows = Estate.large(0, 0, flows=30, sites=1).facts()[0].flows
    reported = [Style().content(flow) for flow in flows]
    assert [("<tag " in text, "<tags" in text) for text in reported] == [(bool(flow.tags),) * 2 for flow in flows]
    assert any(flow.tags for flow in flows)


def test_some_content_has_no_place(tableau: TableauServer) -> None:
    """One data source has neither project nor owner, one an owner alone, and a workbook is in a Personal Space."""
    sources, books = odd_places(tableau, "datasources"), odd_places(tableau, "workbooks")
    assert (sources[frozenset()], sources[frozenset({"owner"})]) == (1, 1)
    assert books[frozenset({"location", "owner"})] == 1
    tableau.estate.oddities = Oddities.none()
    assert set(odd_places(tableau, "datasources")) == {frozenset({"project", "owner"})}


ODD = {
    "limited_visibility": ("/datasources", r"<datasource [^>]*><tags"),
    "placeless": ("/datasources", r"<datasource [^>]*><owner"),
    "invalid_date": ("/workbooks", NO_SUCH_DAY),
    "task_of_nothing": ("/tasks/extractRefreshes", r"<extractRefresh [^>]*><schedule [^>]*/></extractRefresh>"),
    "task_without_schedule": ("/tasks/extractRefreshes", r"<extractRefresh [^>]*><(workbook|datasource)"),
    "acceleration_task": ("/tasks/extractRefreshes", r"<dataAcceleration [^>]*>.*<lastRunAt>"),
    "running_flow": ("/flows/runs", 'status="InProgress"'),
    "linked_task": ("/tasks/linked", "<linkedTasks id="),
    "virtual_connection": ("/virtualConnections", "<virtualConnection "),
    "empty_completed_at": ("/flows/runs", 'completedAt=""'),
    "untagged_flows": ("/flows", r"<owner [^>]*/></flow>"),
    "untitled_jobs": ("/jobs", r'jobType="\w+"/>'),
    "prefixed": ("/users?fields=_all_", "<ns0:user "),
}


@pytest.mark.parametrize("oddity", ODD)
def test_an_oddity_is_on_until_it_is_switched_off(tableau: TableauServer, oddity: str) -> None:
    """Each is in the answers of every estate that has room for it, and goes with its switch."""
    path, sign = ODD[oddity]
    switched: dict[str, Any] = {oddity: False}
    with signed_in(tableau) as server:
        assert re.search(sign, fetched(server, path))
        tableau.estate.oddities = replace(Oddities(), **switched)
        assert not re.search(sign, fetched(server, path))


def test_a_workbook_in_a_personal_space_may_be_had_or_not(tableau: TableauServer) -> None:
    """A site that has none gets one, and its location is of that type."""
    site = next(site for site in tableau.facts() if site.url and len(site.workbooks) > 4)
    with signed_in(tableau, site.url) as server:
        assert 'type="PersonalSpace"' in fetched(server, "/workbooks")
        tableau.estate.oddities = Oddities.none()
        assert 'type="PersonalSpace"' not in fetched(server, "/workbooks")


def test_every_oddity_is_shown() -> None:
    """A switch that no test turns off is a switch that may do nothing."""
    published = {*ODD, "personal_space", "flow_runs_without_pages", "promised", "promised_linked_tasks"}
    assert set(Oddities.__dataclass_fields__) == published


def test_flow_runs_have_pages_where_the_xsd_is_right(tableau: TableauServer) -> None:
    """The API's XSD declares pages for them, its recorded answers have none: a reader must bear both."""
    tableau.estate.oddities = replace(Oddities(), flow_runs_without_pages=False)
    with signed_in(tableau) as server:
        assert "<pagination " in fetched(server, "/flows/runs")


@pytest.mark.parametrize(
    ("kind", "more"), [("users", 1), ("projects", 1), ("subscriptions", 1), ("linked_tasks", 4), ("workbooks", 0)]
)
def test_some_totals_are_too_high(tableau: TableauServer, kind: str, more: int) -> None:
    """Users, projects and subscriptions count one entry too many, linked tasks four; the others count right."""
    resource = RESOURCES[kind]
    with signed_in(tableau) as server:
        answer = ET.fromstring(fetched(server, f"{resource.path}{'&' if '?' in resource.path else '?'}pageSize=1000"))
    (pagination,) = answer.findall("{*}pagination")
    assert int(pagination.get("totalAvailable", "")) == len(entries(resource, answer)) + more


def test_the_table_has_all_that_the_agent_reads() -> None:
    """An attribute that the reader uses is in the table above, with its source."""
    known = {name for resource in RESOURCES.values() for name in (*resource.used, *resource.inside)}
    known |= {name for resource in RESOURCES.values() for inside in resource.inside.values() for name in inside}
    for used, inside, _ in SINGLE.values():
        known |= used | inside.keys() | {name for attributes in inside.values() for name in attributes}
    # Read where they stand, expected nowhere: of accelerations alone, and not in recorded lists.
    assumed = {"lastRunAt", "suspended"}
    folder = Path(rest.__file__).parent
    text = "".join((folder / f"{name}.py").read_text(encoding="utf-8") for name in ("lists", "tasks", "jobs", "sites"))
    read = set(re.findall(r'\.get\(\s*"(\w+)"', text))
    assert len(read) > 15
    assert read - known == assumed
