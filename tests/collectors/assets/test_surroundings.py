"""What stands around an asset: its tasks, its project, its owner and its tags."""

import pytest

from tests.collectors.assets.rows import LUID, assets, flow, project, schedule, source, task, uses, workbook
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
    """Tableau suspends, people switch off."""
    task(newest, workbook(newest), state=2)
    assert assets(newest, "workbook")[0]["suspended"] is False


def test_an_asset_without_tasks_says_nothing_of_them(newest: Handmade) -> None:
    """Unknown is absent: no failures is not zero failures."""
    workbook(newest)
    (asset,) = assets(newest, "workbook")
    names = ("next_refresh_at", "consecutive_failures", "suspended", "task_ids")
    assert [asset[name] for name in names] == [None] * 4


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
    """Every version tells both, of every type of asset."""
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
    """In order, told apart, and none of an asset of another type with the same number."""
    book = workbook(any_version)
    for name, kind in (("no sla", "Workbook"), ("a, b\nc", "workbook"), ("other", "Datasource")):
        tag = any_version.add("tags", name=name)
        any_version.add("taggings", tag_id=tag, taggable_id=book, taggable_type=kind)
    tags = assets(any_version, "workbook")[0]["tags"].split("\x1f")
    assert sorted(tags) == ["a, b\nc", "no sla"]
