"""The context of an asset: its tasks, its project, its owner and its tags."""

from typing import Any

import pytest

from tests.collectors.assets.rows import (
    LUID,
    assets,
    flow,
    flow_task,
    project,
    run_spec,
    schedule,
    source,
    task,
    uses,
    workbook,
)
from tests.collectors.repositories import Handmade, at


@pytest.mark.parametrize(
    "unlike",
    [{"active": False}, {"state": 1}, {"state": 2}, {"obj_type": "Datasource"}, {"schedule_id": None}],
    ids=str,
)
def test_the_next_run_is_the_earliest_that_is_active(newest: Handmade, unlike: dict[str, object]) -> None:
    """A task that is switched off, suspended, disabled, of something else or without a schedule has no next run."""
    book = workbook(newest)
    task(newest, book, schedule_id=schedule(newest, at(21)))
    task(newest, book, schedule_id=schedule(newest, at(22)))
    task(newest, book, **{"schedule_id": schedule(newest, at(20)), **unlike})
    task(newest, book, schedule_id=schedule(newest, at(19), active=False))
    task(newest, book, schedule_id=schedule(newest, None))
    assert assets(newest, "workbook")[0]["next_refresh_at"] == at(21)


def test_what_a_task_does_not_say_is_taken_for_active(newest: Handmade) -> None:
    """NULL is neither inactive nor suspended."""
    book = workbook(newest)
    task(newest, book, active=None, state=None, schedule_id=schedule(newest, at(21), active=None))
    (asset,) = assets(newest, "workbook")
    assert (asset["next_refresh_at"], asset["suspended"]) == (at(21), None)


def test_of_several_tasks_the_worst_counts(newest: Handmade) -> None:
    """Failures are the most of any task, and one suspended task suspends the asset."""
    book = workbook(newest)
    numbers = [
        task(newest, book, consecutive_failure_count=2),
        task(newest, book, consecutive_failure_count=7, state=1),
        task(newest, book, consecutive_failure_count=None, state=2),
    ]
    (asset,) = assets(newest, "workbook")
    assert (asset["consecutive_failures"], asset["suspended"]) == (7, True)
    assert asset["task_ids"] == ",".join(map(str, numbers))


def test_a_task_that_is_switched_off_is_not_suspended(newest: Handmade) -> None:
    """Tableau suspends, users switch off."""
    task(newest, workbook(newest), state=2)
    assert assets(newest, "workbook")[0]["suspended"] is False


def test_an_asset_without_tasks_says_nothing_of_them(newest: Handmade) -> None:
    """Unknown is absent: no failures is not zero failures."""
    workbook(newest)
    (asset,) = assets(newest, "workbook")
    assert [asset[name] for name in OF_TASKS] == [None] * 4


OF_TASKS = ("next_refresh_at", "consecutive_failures", "suspended", "task_ids")


def of_tasks(repository: Handmade, kind: str) -> list[Any]:
    """Return the state of the tasks of the only asset of a type."""
    (asset,) = assets(repository, kind)
    return [asset[name] for name in OF_TASKS]


def test_a_flows_task_names_a_specification(any_version: Handmade) -> None:
    """In every version: of all specifications of a flow the earliest run, the most failures, suspended if one is."""
    number, states = flow(any_version), any_version.version != "2019.3"
    specs = [run_spec(any_version, number) for _ in range(3)]
    tasks = [
        flow_task(any_version, specs[0], schedule_id=schedule(any_version, at(22)), consecutive_failure_count=2),
        flow_task(any_version, specs[1], schedule_id=schedule(any_version, at(21))),
        flow_task(any_version, specs[2], consecutive_failure_count=5, state=1),
    ]
    expected = [at(21), 5, True if states else None, ",".join(map(str, tasks))]
    assert of_tasks(any_version, "flow") == expected


def test_a_specifications_number_is_not_a_workbooks(any_version: Handmade) -> None:
    """A workbook, a data source and another flow with the number of the specification have no task."""
    spec = run_spec(any_version, flow(any_version))
    flow_task(any_version, spec, schedule_id=schedule(any_version, at(21)))
    flow(any_version, id=spec, luid=LUID(4))
    workbook(any_version, id=spec)
    source(any_version, id=spec)
    found = [asset for kind in ("workbook", "datasource", "flow") for asset in assets(any_version, kind)]
    assert [asset["asset_id"] for asset in found if asset["task_ids"]] == [LUID(3)]
    assert [asset["next_refresh_at"] for asset in found if asset["next_refresh_at"]] == [at(21)]


def test_a_task_may_name_the_flow_itself(any_version: Handmade) -> None:
    """Servers that do so are understood too, and both kinds of task count together."""
    number = flow(any_version)
    tasks = [
        task(any_version, number, obj_type="Flow", schedule_id=schedule(any_version, at(22))),
        flow_task(any_version, run_spec(any_version, number), schedule_id=schedule(any_version, at(21))),
    ]
    assert of_tasks(any_version, "flow")[0::3] == [at(21), ",".join(map(str, tasks))]


def test_a_specification_that_is_not_there_says_nothing(newest: Handmade) -> None:
    """Its task belongs to no flow, and no flow is marked as having none."""
    flow_task(newest, flow(newest))
    workbook(newest)
    assert of_tasks(newest, "flow") == [None] * 4
    assert [assets(newest, kind)[0]["tasks_known"] for kind in ("workbook", "flow")] == [True, False]


def test_a_repository_without_any_task_says_nothing_of_tasks(newest: Handmade) -> None:
    """An unreadable table looks the same: an asset is marked as having no task only where others have one."""
    workbook(newest)
    assert assets(newest, "workbook")[0]["tasks_known"] is False


def link(repository: Handmade, linked: int, *tasks: int) -> None:
    """Make tasks the steps of a linked task."""
    for number, task_id in enumerate(tasks, 1):
        repository.add("linked_task_steps", linked_task_id=linked, task_id=task_id, step_number=number)


@pytest.mark.parametrize("trigger", [True, False], ids=["triggered", "its own task"])
def test_a_step_of_a_linked_task_runs_by_the_schedule_of_that(newest: Handmade, *, trigger: bool) -> None:
    """A step has no schedule; the start of the linked task has one."""
    linked = newest.add("linked_tasks", site_id=1)
    step = task(newest, workbook(newest))
    run = flow_task(newest, run_spec(newest, flow(newest)))
    link(newest, linked, step, run)
    plan = {"schedule_id": schedule(newest, at(21))}
    if trigger:
        newest.add("linked_task_triggers", linked_task_id=linked, task_id=task(newest, 1, obj_type=None, **plan))
    else:
        task(newest, linked, obj_type="LinkedTask", **plan)
    assert [of_tasks(newest, kind)[0] for kind in ("workbook", "flow")] == [at(21), at(21)]


@pytest.mark.parametrize("unlike", [{"active": False}, {"state": 1}, {"schedule_id": None}], ids=str)
def test_a_linked_task_that_nothing_starts_has_no_next_run(newest: Handmade, unlike: dict[str, object]) -> None:
    """The task that starts it is switched off, suspended or without a schedule."""
    linked = newest.add("linked_tasks", site_id=1)
    link(newest, linked, task(newest, workbook(newest)))
    task(newest, linked, **{"obj_type": "LinkedTask", "schedule_id": schedule(newest, at(21)), **unlike})
    assert of_tasks(newest, "workbook")[0] is None


def test_a_step_with_a_schedule_of_its_own_has_the_earlier_run(newest: Handmade) -> None:
    """It runs by both."""
    linked = newest.add("linked_tasks", site_id=1)
    link(newest, linked, task(newest, workbook(newest), schedule_id=schedule(newest, at(20))))
    task(newest, linked, obj_type="LinkedTask", schedule_id=schedule(newest, at(21)))
    assert of_tasks(newest, "workbook")[0] == at(20)


def test_the_project_is_the_whole_path(any_version: Handmade) -> None:
    """Each project stands behind the ones above it."""
    month = project(any_version, "Month End", project(any_version, "EMEA", project(any_version, "Finance")))
    workbook(any_version, project_id=month)
    assert assets(any_version, "workbook")[0]["project"] == "Finance/EMEA/Month End"


def test_projects_in_a_circle_and_orphans_keep_their_own_names(newest: Handmade) -> None:
    """Nothing hangs, and nothing is lost, when the tree is no tree."""
    project(newest, "one", 502, id=501)
    project(newest, "two", 501, id=502)
    project(newest, "self", 503, id=503)
    project(newest, "orphan", 999, id=504)
    project(newest, "child", 504, id=505)
    for number in range(501, 506):
        workbook(newest, project_id=number)
    assert {row["project"] for row in assets(newest, "workbook")} == {"one", "two", "self", "orphan", "orphan/child"}


def test_where_content_stands_is_told_by_projects_contents(newest: Handmade) -> None:
    """It is right where the content's own column is out of date; content of another type is not meant."""
    old, new, wrong = (project(newest, name) for name in ("Old", "New", "Wrong"))
    book = workbook(newest, project_id=old)
    newest.add("projects_contents", content_type="workbook", content_id=book, project_id=new, site_id=1)
    newest.add("projects_contents", content_type="datasource", content_id=book, project_id=wrong, site_id=1)
    assert [row["project"] for row in assets(newest, "workbook")] == ["New"]


def test_private_content_stands_in_the_personal_space(newest: Handmade) -> None:
    """It has no project."""
    workbook(newest, is_private=True, project_id=None)
    workbook(newest, is_private=None, project_id=None)
    assert {row["project"] for row in assets(newest, "workbook")} == {"Personal Space", None}


def test_the_owner_is_the_login_name(newest: Handmade) -> None:
    """The person behind the seat, and the seat's LUID."""
    newest.add("system_users", id=70, name="jo")
    newest.add("users", id=80, system_user_id=70, site_id=1, luid=LUID(8))
    workbook(newest, owner_id=80)
    (asset,) = assets(newest, "workbook")
    assert (asset["content_owner"], asset["owner_id"]) == ("jo", LUID(8))


OWNER = ("content_owner", "owner_name", "owner_email")


def owner(repository: Handmade, **values: object) -> None:
    """Add a person with a seat."""
    number = repository.add("system_users", **values)
    repository.add("users", id=80, system_user_id=number, site_id=1, luid=LUID(8))


def test_the_owner_has_a_name_and_an_address(any_version: Handmade) -> None:
    """Every version has both, of every type of asset."""
    owner(any_version, name="jo", friendly_name="Jo O'Hara", email="jo@example.com")
    for add in (workbook, source, flow):
        add(any_version, owner_id=80)
    for kind in ("workbook", "datasource", "flow"):
        (asset,) = assets(any_version, kind)
        assert [asset[name] for name in OWNER] == ["jo", "Jo O'Hara", "jo@example.com"]


@pytest.mark.parametrize("nothing", ["", None])
def test_a_name_or_address_that_nobody_gave_is_none(newest: Handmade, nothing: str | None) -> None:
    """An empty address is no address."""
    owner(newest, name="jo", friendly_name=nothing, email=nothing)
    workbook(newest, owner_id=80)
    (asset,) = assets(newest, "workbook")
    assert [asset[name] for name in OWNER] == ["jo", None, None]


def test_a_workbook_names_the_published_sources_that_it_uses(any_version: Handmade) -> None:
    """In the order of their LUIDs, each once, whatever else it is connected to; data sources and flows name none."""
    for number, url in ((5, "Orders"), (4, "Returns"), (6, "Unused")):
        source(any_version, luid=LUID(number), repository_url=url)
    book = workbook(any_version, data_engine_extracts=False)
    for url in ("Orders", "Returns", "Orders"):
        uses(any_version, book, url)
    uses(any_version, book, "Unused", dbclass="postgres")
    uses(any_version, book, "nowhere")
    uses(any_version, book, "Unused", owner_type="Datasource")
    flow(any_version)
    assert assets(any_version, "workbook")[0]["uses"].split("\x1f") == [LUID(4), LUID(5)]
    assert [asset["uses"] for kind in ("datasource", "flow") for asset in assets(any_version, kind)] == [None] * 4


@pytest.mark.parametrize("unlike", [{"site_id": 2}, {"connectable": False}, {"state": "archived"}], ids=str)
def test_what_is_no_asset_is_not_used(newest: Handmade, unlike: dict[str, object]) -> None:
    """A source of another site, one inside a workbook and one that is archived do not stand upstream."""
    source(newest, **unlike)
    uses(newest, workbook(newest))
    assert assets(newest, "workbook")[0]["uses"] is None


def test_tags_are_those_of_the_asset(any_version: Handmade) -> None:
    """In order, distinct, and none of an asset of another type with the same number."""
    book = workbook(any_version)
    for name, kind in (("no sla", "Workbook"), ("a, b\nc", "workbook"), ("other", "Datasource")):
        tag = any_version.add("tags", name=name)
        any_version.add("taggings", tag_id=tag, taggable_id=book, taggable_type=kind)
    tags = assets(any_version, "workbook")[0]["tags"].split("\x1f")
    assert sorted(tags) == ["a, b\nc", "no sla"]
