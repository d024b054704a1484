"""Background jobs, folded when done and counted while they are not."""

import pytest

from exporter.collectors.background_jobs import COLLECTOR
from exporter.demo.simulation import Simulation
from tests.collectors.folds import JOB, folded
from tests.collectors.repositories import CONTEXT, SITES, Handmade, at, read, samples

assert COLLECTOR.events is not None
FINISHED, RUN, QUEUE = COLLECTOR.events.folds
(STATE,) = COLLECTOR.states

BASE = {
    "site": "default",
    "job_type": "refresh_extracts",
    "finish_code": 0,
    "created_at": at(1),
    "started_at": at(1, 1),
    "completed_at": at(1, 3),
}
LABELS = ("default", "refresh_extracts")


@pytest.mark.parametrize(("code", "outcome"), [(0, "success"), (1, "failure"), (2, "cancelled")])
def test_a_finished_job_has_an_outcome(code: int, outcome: str) -> None:
    """By its finish code."""
    assert folded(FINISHED, JOB, [{**BASE, "finish_code": code}]) == {(*LABELS, outcome): 1}


@pytest.mark.parametrize("unlike", [{"completed_at": None}, {"finish_code": None}, {"finish_code": 3}])
def test_without_an_outcome_a_job_is_not_counted(unlike: dict[str, object]) -> None:
    """The code has no meaning before the job is done, and unknown is absent."""
    assert folded(FINISHED, JOB, [{**BASE, **unlike}]) == {}


def test_running_and_waiting_are_told_apart() -> None:
    """It waited from its creation to its start and ran from there to its end."""
    assert folded(RUN, JOB, [BASE]) == {LABELS: [7200.0]}
    assert folded(QUEUE, JOB, [BASE]) == {LABELS: [3600.0]}


@pytest.mark.parametrize("started_at", [None, "infinity", "-infinity"])
def test_a_job_that_never_began_neither_ran_nor_waited(started_at: object) -> None:
    """Cancelled in the queue, or endless."""
    row = {**BASE, "started_at": started_at}
    assert (folded(RUN, JOB, [row]), folded(QUEUE, JOB, [row])) == ({}, {})


def test_a_clock_that_goes_back_is_not_observed() -> None:
    """No duration is below zero."""
    assert folded(QUEUE, JOB, [{**BASE, "created_at": at(2)}]) == {}
    assert folded(RUN, JOB, [{**BASE, "completed_at": at(1)}]) == {}


def test_unfinished_jobs_wait_or_run(any_version: Handmade) -> None:
    """A type of which some run and none waits has 0 waiting; a type that is all done is absent."""
    begun = {"created_at": at(1), "started_at": at(1), "site_id": 1}
    for _ in range(2):
        any_version.add("background_jobs", job_type="run_flow", **begun)
    any_version.add("background_jobs", job_type="refresh_extracts", created_at=at(1), site_id=None)
    any_version.add("background_jobs", job_type="done", completed_at=at(2), **begun)
    found = {(row["site_id"], row["job_type"]): (row["waiting"], row["running"]) for row in any_version.read(STATE)}
    assert found == {(1, "run_flow"): (0, 2), (None, "refresh_extracts"): (1, 0)}


@pytest.mark.parametrize("role", ["readonly", "tableau"])
def test_a_company_has_jobs_under_way(simulation: Simulation, role: str) -> None:
    """Both roles see them, by site."""
    blocks = list(STATE.expose(read(simulation.parameters(role), STATE), CONTEXT))
    jobs = [row for row in simulation.company.tables["background_jobs"] if row["completed_at"] is None]
    for family, begun in (("waiting", False), ("running", True)):
        expected = dict.fromkeys((SITES[int(str(row["site_id"]))] for row in jobs), 0)
        for row in jobs:
            expected[SITES[int(str(row["site_id"]))]] += bool(row["started_at"]) is begun
        published = samples(blocks, f"tableau_background_jobs_{family}")
        assert published
        assert {site: value for (site, _), value in published.items()} == expected
