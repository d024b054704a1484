"""Subscriptions: counted by project and state on every version of the repository."""

from collections import Counter
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from exporter.collector import columns_of
from exporter.collectors.subscriptions import COLLECTOR, Subscription
from exporter.demo.simulation import Simulation
from tests.collectors.repositories import CONTEXT, SITES, Handmade, Samples, at, read, samples

(STATE,) = COLLECTOR.states
COUNT, FAILURES = "tableau_subscriptions", "tableau_subscription_consecutive_failures"

# Each fact is asked for by its own query, and put together in Python.
TASKS = "SELECT obj_id, to_jsonb(tasks) FROM tasks WHERE type = 'SingleSubscriptionTask'"
VIEWS = "SELECT id, workbook_id FROM views"
PROJECTS = "SELECT id, name, parent_project_id FROM projects"
WORKBOOKS = "SELECT id, to_jsonb(workbooks) FROM workbooks"
SUBSCRIPTIONS = "SELECT to_jsonb(subscriptions) FROM subscriptions"


def published(repository: Handmade, family: str) -> Samples:
    """Return the samples of a repository."""
    return samples(list(STATE.expose(read(repository.parameters(), STATE), CONTEXT)), family)


def path(projects: dict[int, tuple[str, int | None]], project: int | None) -> str:
    """Return the names of a project and those above it."""
    names: list[str] = []
    while project is not None:
        name, project = projects[project]
        names.append(name)
    return "/".join(reversed(names))


def expected(simulation: Simulation) -> tuple[Samples, Samples]:
    """Return both families as other queries and Python have them."""
    with psycopg.connect(**simulation.parameters()) as connection:  # type: ignore[arg-type] # parameters of libpq
        tasks: dict[int, dict[str, Any]] = dict(connection.execute(TASKS).fetchall())
        views: dict[int, int] = dict(connection.execute(VIEWS).fetchall())
        projects = {key: (name, parent) for key, name, parent in connection.execute(PROJECTS)}
        workbooks: dict[int, dict[str, Any]] = dict(connection.execute(WORKBOOKS).fetchall())
        moved: dict[int, int] = {}
        if simulation.version != "2019.3":
            found = "SELECT content_id, project_id FROM projects_contents WHERE content_type = 'workbook'"
            moved = dict(connection.execute(found).fetchall())
        rows = [row for (row,) in connection.execute(SUBSCRIPTIONS)]
    counts: Counter[tuple[str, ...]] = Counter()
    most: dict[tuple[str, ...], int] = {}
    for row in rows:
        task, workbook = tasks[row["id"]], views.get(row.get("target_id"))
        place = path(projects, moved.get(workbook, workbooks[workbook]["project_id"])) if workbook else ""
        if workbook and workbooks[workbook].get("is_private"):
            place = "Personal Space"
        failures, key = task["consecutive_failure_count"], (SITES[row["site_id"]], place)
        if task.get("state") == 1:
            counts[*key, "suspended"] += 1
        else:
            counts[*key, "failing" if failures else "active"] += 1
            most[key] = max(failures, most.get(key, 0))
    return dict(counts), most


def test_a_company_is_counted(simulation: Simulation) -> None:
    """Both families of every version are those of other queries; 2019.3 has no project and nothing suspended."""
    counts, most = expected(simulation)
    blocks = list(STATE.expose(read(simulation.parameters(), STATE), CONTEXT))
    assert samples(blocks, COUNT) == counts
    assert samples(blocks, FAILURES) == most
    states = {labels[2] for labels in counts}
    assert states == {"active", "failing"} | ({"suspended"} if simulation.version != "2019.3" else set())
    assert any(labels[1] for labels in counts) == (simulation.version != "2019.3")
    assert max(most.values()) == (3 if simulation.version != "2019.3" else 5)


def subscribe(repository: Handmade, number: int, **task: object) -> None:
    """Add a subscription to a view of the workbook 7, with a task unless there are no columns for one."""
    repository.add("subscriptions", id=number, site_id=1, user_id=5, target_type="View", target_id=70)
    if task:
        repository.add("tasks", id=number, type="SingleSubscriptionTask", obj_id=number, **task)


@pytest.mark.parametrize(
    ("task", "state"),
    [
        ({"state": 0, "consecutive_failure_count": 0, "active": True}, "active"),
        ({"state": 0, "consecutive_failure_count": 2, "active": True}, "failing"),
        ({"state": 1, "consecutive_failure_count": 5}, "suspended"),
        ({"state": 2, "consecutive_failure_count": 0}, None),
        ({"state": None, "consecutive_failure_count": 0}, "active"),
        ({"state": 0, "consecutive_failure_count": None}, None),
        ({"state": 0, "consecutive_failure_count": 0, "active": False}, None),
        ({}, None),
    ],
    ids=["active", "failing", "suspended", "disabled", "no state", "failures unknown", "inactive", "no task"],
)
def test_the_state_is_that_of_the_task(newest: Handmade, task: dict[str, object], state: str | None) -> None:
    """What is not known to be sent, to fail or to be suspended is counted nowhere."""
    subscribe(newest, 1, **task)
    (row,) = newest.read(STATE)
    assert row["state"] == state
    assert published(newest, COUNT) == ({("default", "", state): 1} if state else {})


def test_tasks_of_other_types_do_not_count(newest: Handmade) -> None:
    """A refresh whose object has the same number is not the subscription's task."""
    subscribe(newest, 1, state=0, consecutive_failure_count=0)
    newest.add("tasks", id=9, type="RefreshExtractTask", obj_id=1, state=1, consecutive_failure_count=5)
    assert published(newest, COUNT) == {("default", "", "active"): 1}


@pytest.mark.parametrize("target", ["View", "Workbook"])
def test_the_project_is_that_of_the_workbook(newest: Handmade, target: str) -> None:
    """With the full path; the content is named as the view or the workbook."""
    newest.add("projects", id=1, name="Finance", site_id=1)
    newest.add("projects", id=2, name="EMEA", site_id=1, parent_project_id=1)
    newest.add("workbooks", id=7, name="Month End", site_id=1, project_id=2)
    newest.add("views", id=70, name="Sales", site_id=1, workbook_id=7)
    newest.add("system_users", id=4, name="priya", friendly_name="Priya Shah", email="priya@example.com")
    newest.add("users", id=5, site_id=1, system_user_id=4)
    number = 70 if target == "View" else 7
    newest.add(
        "subscriptions",
        id=3,
        site_id=1,
        user_id=5,
        subject="Daily",
        last_sent=at(3),
        target_type=target,
        target_id=number,
    )
    assert newest.read(STATE) == [
        {
            "id": 3,
            "site_id": 1,
            "project": "Finance/EMEA",
            "name": "Daily",
            "content": "Sales" if target == "View" else "Month End",
            "state": None,
            "consecutive_failures": None,
            "last_sent_at": at(3),
            "recipient": "priya",
            "recipient_name": "Priya Shah",
            "recipient_email": "priya@example.com",
        }
    ]


def test_without_rights_nothing_is_counted(newest: Handmade) -> None:
    """The user of the views alone may read neither table: absent, not 0, and no failure."""
    subscribe(newest, 1, state=0, consecutive_failure_count=0)
    assert newest.read(STATE, "tableau") == []


def test_ten_thousand_subscriptions_are_a_series_for_each_project_and_state() -> None:
    """Not for each subscription; the most failures are those of the subscriptions that are not suspended."""
    schema = pa.schema([(column.name, column.type.arrow) for column in columns_of(Subscription)])
    rows = [
        {"id": number, "site_id": 1, "project": f"P{number % 50}", "state": state, "consecutive_failures": failures}
        for number in range(10_000)
        for state, failures in [[("active", 0), ("failing", 2), ("suspended", 9)][number % 3]]
    ]
    blocks = list(STATE.expose(pa.Table.from_pylist(rows, schema), CONTEXT))
    assert sum(samples(blocks, COUNT).values()) == 10_000
    assert len(samples(blocks, COUNT)) == 150
    assert samples(blocks, FAILURES) == {("default", f"P{number}"): 2 for number in range(50)}


def test_no_user_is_in_a_label() -> None:
    """Names of users are personal columns, and no family has them."""
    people = {column.name for column in columns_of(Subscription) if column.personal}
    assert people == {"recipient", "recipient_name", "recipient_email"}
    assert not people & {label for family in STATE.families for label in family.labels}
