"""Requests for refresh jobs, flow runs and tasks: their number, their receivers, and the use of the answers."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from exporter.errors import PollInterrupted
from exporter.inventory import Refresh
from exporter.rest.arrow import schema, table
from exporter.rest.client import RestClient
from tests.rest.conftest import NOW, RestHarness
from tests.rest.tableau import HTML, Answer, ReceivedRequest, asset, at, element, error

INSTANT = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)


def ago(hours: float) -> str:
    """Return an instant as the API writes it."""
    return (INSTANT - timedelta(hours=hours)).isoformat() + "Z"


def job(
    harness: RestHarness, job_id: str, hours: float, of: str = element("workbook", id="w1"), **attributes: str
) -> None:
    """Add a job that ended so many hours ago, newest first as Tableau lists them."""
    place = harness.tableau.sites[""]
    entry = {"jobType": "refresh_extracts", "status": "Success", "title": job_id, **attributes}
    times = {"createdAt": ago(hours + 1), "startedAt": ago(hours + 0.5), "endedAt": ago(hours)}
    place.entries.setdefault("jobs", []).append(element("backgroundJob", id=job_id, **times, **entry))
    inside = element("extractRefreshJob", element("notes") + of)
    place.jobs[job_id] = element("job", inside, id=job_id, type="RefreshExtract", finishCode="0")


def rows(refreshes: pa.Table | None) -> list[tuple[str, str, str]]:
    """Return refreshes without their instants."""
    assert refreshes is not None
    return [(row["job_id"], row["asset_type"], row["asset_id"]) for row in refreshes.to_pylist()]


@pytest.fixture
def undescribed(harness: RestHarness) -> RestHarness:
    """A Tableau whose Metadata API is off."""
    harness.tableau.overrides.append(at("graphql", error(404, "404000")))
    return harness


def test_no_job_is_asked_for_what_is_described(harness: RestHarness) -> None:
    """Where the Metadata API has every asset that could have an extract, the jobs are not even listed."""
    job(harness, "j1", 1)
    harness.tableau.sites[""].entries["datasources"].append(asset("datasource", "live", hasExtracts="false"))
    inventory = harness.inventory(budget=100)
    assert inventory.looked_up is None
    assert harness.tableau.count("/jobs") == 0


def test_finished_refreshes_tell_their_asset(undescribed: RestHarness) -> None:
    """Of the list's jobs recent successful refreshes of extracts count; each is requested for its asset."""
    job(undescribed, "j1", 1)
    job(undescribed, "j2", 2, element("datasource", id="d1"), jobType="increment_extracts")
    job(undescribed, "failed", 3, status="Failed")
    job(undescribed, "running", 3, status="InProgress")
    job(undescribed, "mail", 3, jobType="subscription")
    job(undescribed, "old", 24 * 8)
    inventory = undescribed.inventory(budget=100)
    assert rows(inventory.looked_up) == [("j1", "workbook", "w1"), ("j2", "datasource", "d1")]
    assert rows(inventory.refreshes) == rows(inventory.looked_up)
    assert inventory.looked_up is not None
    assert inventory.looked_up.column("completed_at").to_pylist() == [
        INSTANT - timedelta(hours=1),
        INSTANT - timedelta(hours=2),
    ]
    assert undescribed.tableau.count("/jobs/") == 2


def test_only_what_is_not_described_is_looked_for(harness: RestHarness) -> None:
    """Where the Metadata API has a part, jobs with the name of a left-out asset are requested."""
    harness.tableau.sites[""].entries["workbooks"].append(asset("workbook", "w2", name="left out"))
    job(harness, "j1", 1, title="workbook w1")
    job(harness, "j2", 2, element("workbook", id="w2"), title="left out")
    assert rows(harness.inventory(budget=100).looked_up) == [("j2", "workbook", "w2")]
    assert harness.tableau.count("/jobs/") == 1


@pytest.mark.parametrize("kind", ["refresh_extracts_via_bridge", "increment_extracts_via_bridge", "RefreshExtracts"])
def test_a_refresh_by_bridge_is_a_refresh(undescribed: RestHarness, kind: str) -> None:
    """By any process, and however the type is spelled; the run of a flow refreshes no extract."""
    job(undescribed, "j1", 1, jobType=kind)
    job(undescribed, "j2", 2, jobType="run_flow")
    assert rows(undescribed.inventory(budget=100).looked_up) == [("j1", "workbook", "w1")]


def test_a_job_is_asked_for_once(undescribed: RestHarness) -> None:
    """Known jobs are not requested again, nor are those without an asset; both are bounded by the budget."""
    job(undescribed, "j1", 1)
    job(undescribed, "j2", 2, "")
    job(undescribed, "gone", 3)
    del undescribed.tableau.sites[""].jobs["gone"]
    rest = undescribed.rest()
    first = undescribed.inventory(rest, budget=100)
    assert undescribed.tableau.count("/jobs/") == 3
    (result,) = rest.poll(first.looked_up, 100)
    assert result.inventory is not None
    assert rows(result.inventory.looked_up) == []
    assert rows(result.inventory.refreshes) == [("j1", "workbook", "w1")]
    assert undescribed.tableau.count("/jobs/") == 3


def test_what_is_known_of_others_is_left_out(undescribed: RestHarness) -> None:
    """The refreshes of an inventory are those of its own assets."""
    known = table(Refresh, [("a", "workbook", "w1", INSTANT), ("b", "workbook", "elsewhere", INSTANT)])
    (result,) = undescribed.rest().poll(known, 0)
    assert result.inventory is not None
    assert rows(result.inventory.refreshes) == [("a", "workbook", "w1")]


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_the_budget_is_kept(undescribed: RestHarness, budget: int) -> None:
    """No more jobs are requested than allowed: the newest of each title first, then the newest of all."""
    for number in range(5):
        job(undescribed, f"hourly{number}", 1 + number, title="hourly")
    job(undescribed, "daily", 20, title="daily")
    inventory = undescribed.inventory(budget=budget)
    assert [row[0] for row in rows(inventory.looked_up)] == ["hourly0", "daily", "hourly1"][:budget]
    assert undescribed.tableau.count("/jobs/") == budget


def test_the_budget_is_for_all_sites(three: RestHarness) -> None:
    """The budget of one site is not that of another."""
    three.tableau.overrides.append(at("graphql", error(404, "404000")))
    for url in three.tableau.sites:
        place = three.tableau.sites[url]
        entry = element("backgroundJob", id="j", jobType="refresh_extracts", status="Success", endedAt=ago(1))
        place.entries["jobs"] = [entry]
        place.jobs["j"] = element("job", element("workbook", id=f"{url}w1"), id="j")
    found = [result.inventory for result in three.rest().poll(schema(Refresh).empty_table(), 2)]
    assert [len(rows(inventory.looked_up)) if inventory else None for inventory in found] == [1, 1, 0]


@pytest.mark.parametrize("answer", [error(403, "403004"), error(404, "404000"), error(400, "400006"), Answer("", 500)])
def test_jobs_and_tasks_may_be_forbidden(undescribed: RestHarness, answer: Answer) -> None:
    """Who is no administrator sees neither: None, and a note for each."""
    rest = undescribed.rest()
    with undescribed.tableau.doing(at("/jobs", answer), at("/tasks/", answer), at("/flows/runs", answer)):
        inventory = undescribed.inventory(rest, budget=100)
    assert inventory.looked_up is None
    assert inventory.tasks_read == set()
    reported = [note.split(":")[0] for note in inventory.notes]
    wanted = ["no jobs", "no flow runs", "no extract refresh tasks", "no flow tasks"]
    # A release that has no linked tasks answers 404.
    assert reported[1:] == (wanted if answer.status == 404 else [*wanted, "no linked tasks"])


def test_a_login_page_is_no_list_of_jobs(undescribed: RestHarness) -> None:
    """It costs the fields of jobs alone, with a note."""
    with undescribed.tableau.doing(at("/jobs", Answer(HTML))):
        inventory = undescribed.inventory()
    assert [note for note in inventory.notes if note.startswith("no jobs: ") and "a page of HTML" in note]
    assert inventory.read_whole["job"] is False
    assert inventory.content.num_rows == 3


def run(run_id: str, flow: str, hours: float | None, status: str = "Success") -> str:
    """Return a flow's run."""
    ended = {} if hours is None else {"completedAt": ago(hours)}
    return element("flowRun", id=run_id, flowId=flow, status=status, startedAt=ago(30), **ended)


def test_a_flow_is_as_fresh_as_its_last_successful_run(harness: RestHarness) -> None:
    """Of all runs of a flow the latest that ended with success counts; the list is read to its end."""
    harness.tableau.largest_page = 2
    harness.tableau.sites[""].entries["flows/runs"] = [
        run("r1", "f1", 5),
        run("r2", "f1", 3),
        run("r3", "f1", 1, "Failed"),
        run("r4", "f1", None, "InProgress"),
        run("r5", "f2", 4),
    ]
    inventory = harness.inventory()
    assert rows(inventory.refreshes) == [("r2", "flow", "f1"), ("r5", "flow", "f2")]
    assert inventory.looked_up is None


def test_runs_are_not_asked_for_without_flows(harness: RestHarness) -> None:
    """A site without flows has no runs."""
    harness.tableau.sites[""].entries["flows"] = []
    harness.inventory()
    assert harness.tableau.count("/flows/runs") == harness.tableau.count("/tasks/runFlow") == 0


def task(schedule: str, of: str, name: str = "extractRefresh", **attributes: str) -> str:
    """Return a task."""
    return element(name, schedule + of, id="t", priority="50", **attributes)


def test_tasks(harness: RestHarness) -> None:
    """A task has its next run, its failures in a row, and whether its schedule is suspended."""
    place = harness.tableau.sites[""]
    later = "2026-07-28T04:00:00Z"
    active = element("schedule", id="s", state="Active", nextRunAt=later)
    suspended = element("schedule", id="s", state="Suspended", nextRunAt=later)
    cloud = element("schedule", element("frequencyDetails", start="01:00:00"), frequency="Daily", nextRunAt=later)
    last = element("lastRunAt", "2026-07-27T04:00:00.5Z")
    place.entries["tasks/extractRefreshes"] = [
        task(active, element("workbook", id="w1"), consecutiveFailedCount="3"),
        task(suspended, element("datasource", id="d1"), consecutiveFailedCount="5"),
        task(cloud, element("datasource", id="d1") + last),
        task("", element("workbook", id="w1"), consecutiveFailedCount="many"),
        task(active, ""),
    ]
    place.entries["tasks/runFlow"] = [
        task(active, element("flow", id="f1", name="x"), "flowRun", consecutiveFailedCount="1")
    ]
    tasks = harness.inventory().tasks
    assert tasks is not None
    next_at = datetime.fromisoformat(later).replace(tzinfo=None)
    ran_at = datetime.fromisoformat("2026-07-27T04:00:00.5")
    assert [tuple(row.values()) for row in tasks.to_pylist()] == [
        ("workbook", "w1", next_at, None, 3, False),
        ("datasource", "d1", None, None, 5, True),
        ("datasource", "d1", next_at, ran_at, None, None),
        ("workbook", "w1", None, None, None, None),
        ("flow", "f1", next_at, None, 1, False),
    ]


def test_extract_tasks_without_flow_tasks(harness: RestHarness) -> None:
    """Where only flow tasks are not to be had, the others are there."""
    with harness.tableau.doing(at("/tasks/runFlow", error(404, "404000"))):
        inventory = harness.inventory()
    assert inventory.tasks is not None
    assert [note.split(":")[0] for note in inventory.notes] == ["no flow tasks"]
    assert inventory.tasks_read == {"workbook", "datasource"}


def test_known_may_be_of_another_type(harness: RestHarness) -> None:
    """Texts from the history may be of Arrow's other string types."""
    known = table(Refresh, [("a", "workbook", "w1", INSTANT)])
    known = known.set_column(0, "job_id", known.column("job_id").cast(pa.large_string()))
    rest: RestClient = harness.rest()
    (result,) = rest.poll(known, 0)
    assert result.inventory is not None
    assert rows(result.inventory.refreshes) == [("a", "workbook", "w1")]


def test_look_ups_of_a_site_that_fails_count(undescribed: RestHarness) -> None:
    """Jobs fetched before a site failed are reported and counted, and not requested again."""
    job(undescribed, "j1", 1)
    job(undescribed, "j2", 2, "")
    rest = undescribed.rest()
    (result,) = undescribed.poll(rest, 100).values()
    assert rest.looked_up == 2
    with undescribed.tableau.doing(at("/workbooks", Answer(HTML))):
        (result,) = undescribed.poll(rest, 100).values()
    assert result.inventory is None
    assert rows(result.looked_up) == [("j1", "workbook", "w1")]
    (result,) = undescribed.poll(rest, 100).values()
    assert result.inventory is not None
    assert rows(result.looked_up) == rows(result.inventory.looked_up) == [("j1", "workbook", "w1")]
    assert rows(result.inventory.refreshes) == [("j1", "workbook", "w1")]
    assert rest.looked_up == 0
    assert result.looked_up is not None
    (result,) = rest.poll(result.looked_up, 100)
    assert rows(result.looked_up) == []
    assert undescribed.tableau.count("/jobs/") == 2


def test_look_ups_that_are_broken_off_count(undescribed: RestHarness) -> None:
    """A failing request, and the end of the agent in the middle of them, do not change their number."""
    for number in range(5):
        job(undescribed, f"j{number}", 1 + number)
    rest = undescribed.rest()
    with undescribed.tableau.doing(at("/jobs/j2", Answer(HTML)), at("/jobs/j3", Answer(HTML))):
        (result,) = undescribed.poll(rest, 100).values()
    assert rest.looked_up == 4
    assert [row[0] for row in rows(result.looked_up)] == ["j0", "j1"]
    assert result.inventory is not None
    assert [note for note in result.inventory.notes if note.startswith("3 refresh jobs could not be fetched: ")]

    def stop(received: ReceivedRequest) -> None:
        undescribed.stopping = undescribed.stopping or received.path.endswith("/jobs/j3")

    with undescribed.tableau.doing(stop), pytest.raises(PollInterrupted):
        undescribed.poll(rest, 100)
    assert rest.looked_up == 2
    undescribed.stopping = False
    undescribed.poll(rest, 1)
    assert rest.looked_up == 1


def test_one_job_that_cannot_be_fetched_costs_itself(undescribed: RestHarness) -> None:
    """The jobs after it are fetched."""
    for number in range(3):
        job(undescribed, f"j{number}", 1 + number)
    with undescribed.tableau.doing(at("/jobs/j1", Answer("", 500))):
        inventory = undescribed.inventory(budget=100)
    assert [row[0] for row in rows(inventory.looked_up)] == ["j0", "j2"]
    assert inventory.read_whole["job"] is False


def test_jobs_beyond_the_budget_are_a_gap(undescribed: RestHarness) -> None:
    """Refreshes beyond the day's budget leave freshness unknown, with a note."""
    job(undescribed, "j1", 1)
    job(undescribed, "j2", 2)
    inventory = undescribed.inventory(budget=1)
    assert "1 refresh jobs are not fetched today: rest.job_lookups_per_day is used up" in inventory.gaps


@pytest.mark.parametrize("kind", ["increment_extracts", "RefreshExtracts", "refresh_extracts_via_bridge"])
def test_every_kind_of_refresh(undescribed: RestHarness, kind: str) -> None:
    """Full and incremental refreshes count, by whatever client; the type is written in two ways."""
    job(undescribed, "j1", 1, jobType=kind)
    assert rows(undescribed.inventory(budget=10).looked_up) == [("j1", "workbook", "w1")]


def test_look_ups_are_refused_in_the_middle(undescribed: RestHarness) -> None:
    """Where a part of the jobs was fetched, it is reported, with a note."""
    job(undescribed, "j1", 1)
    job(undescribed, "j2", 2)
    with undescribed.tableau.doing(at("/jobs/j2", Answer("", 500))):
        inventory = undescribed.inventory(budget=100)
    assert rows(inventory.looked_up) == [("j1", "workbook", "w1")]
    assert any(note.startswith("1 refresh jobs could not be fetched: ") for note in inventory.notes)


def test_look_ups_that_are_never_stored_grow_old(undescribed: RestHarness) -> None:
    """Refreshes older than the listed jobs are not stored."""
    job(undescribed, "j1", 1)
    rest = undescribed.rest()
    assert rows(undescribed.inventory(rest, budget=100).looked_up) == [("j1", "workbook", "w1")]
    undescribed.now += 8 * 86_400
    assert rows(undescribed.inventory(rest, budget=100).looked_up) == []
