"""How fresh each asset is: every rule, on rows made for it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from exporter.collectors.assets import COLLECTOR
from exporter.demo.names import ODD
from exporter.demo.simulation import Simulation
from tests.collectors.repositories import Handmade, at, read

(STATE,) = COLLECTOR.states
LUID = "00000000-0000-0000-0000-00000000000{}".format

Asset = dict[str, Any]


def workbook(repository: Handmade, **values: object) -> int:
    """Add a workbook with an extract, unless said otherwise."""
    base = {"luid": LUID(1), "name": "Sales", "site_id": 1, "data_engine_extracts": True, "is_deleted": False}
    return repository.add("workbooks", **{**base, **values})


def source(repository: Handmade, **values: object) -> int:
    """Add a published data source with an extract, unless said otherwise."""
    base = {
        "luid": LUID(2),
        "name": "Orders",
        "site_id": 1,
        "repository_url": "Orders",
        "data_engine_extracts": True,
        "connectable": True,
        "state": "active",
    }
    return repository.add("datasources", **{**base, **values})


def uses(repository: Handmade, owner: int, dbname: str = "Orders", **values: object) -> None:
    """Connect a workbook to a published data source, unless said otherwise."""
    base = {"owner_type": "Workbook", "dbclass": "sqlproxy", "dbname": dbname, "has_extract": False}
    repository.add("data_connections", owner_id=owner, **{**base, **values})


def assets(repository: Handmade, asset_type: str) -> list[Asset]:
    """Read the assets of one type."""
    return [row for row in repository.read(STATE) if row["asset_type"] == asset_type]


def fresh(asset: Asset) -> tuple[datetime | None, str | None, str | None]:
    """Return when an asset was refreshed, how that is known, and how it is connected."""
    return asset["last_refresh_at"], asset["freshness_source"], asset["connection"]


FULL, INCREMENT = "extracts_refreshed_at", "extracts_incremented_at"
PUBLISHED, CREATED = "last_published_at", "created_at"


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({FULL: at(3), INCREMENT: at(2)}, (at(3), "repository", "extract")),
        ({FULL: at(2), INCREMENT: at(3)}, (at(3), "repository", "extract")),
        ({FULL: at(2)}, (at(2), "repository", "extract")),
        ({INCREMENT: at(2)}, (at(2), "repository", "extract")),
        ({FULL: at(2), PUBLISHED: at(9), CREATED: at(1)}, (at(2), "repository", "extract")),
        ({PUBLISHED: at(5), CREATED: at(1)}, (at(5), "created", "extract")),
        ({CREATED: at(1)}, (at(1), "created", "extract")),
        ({}, (None, None, "extract")),
        ({FULL: at(2), "data_engine_extracts": False}, (None, None, "live")),
        ({CREATED: at(1), "data_engine_extracts": False}, (None, None, "live")),
        ({FULL: at(2), "data_engine_extracts": None}, (at(2), "repository", "extract")),
        ({CREATED: at(1), "data_engine_extracts": None}, (None, None, "live")),
    ],
)
@pytest.mark.parametrize(("add", "asset_type"), [(workbook, "workbook"), (source, "datasource")])
def test_an_extract_is_as_fresh_as_its_last_refresh(
    newest: Handmade, add: Callable[..., int], asset_type: str, dates: dict[str, object], expected: tuple[object, ...]
) -> None:
    """The later of full and incremental counts; without either, when it was published, then when it was created."""
    add(newest, **dates)
    (asset,) = assets(newest, asset_type)
    assert fresh(asset) == expected


def test_what_a_version_lacks_is_not_known(any_version: Handmade) -> None:
    """Every version tells the freshness of an extract, and what stands beside it as far as it has the columns."""
    book = workbook(any_version, extracts_refreshed_at=at(3))
    task(any_version, book, state=1, consecutive_failure_count=5)
    (asset,) = assets(any_version, "workbook")
    assert fresh(asset) == (at(3), "repository", "extract")
    assert asset["suspended"] is (None if any_version.version == "2019.3" else True)
    assert asset["consecutive_failures"] == 5


@pytest.mark.parametrize("connectable", [False, None])
def test_a_data_source_inside_of_a_workbook_is_no_asset(newest: Handmade, connectable: object) -> None:
    """Only what everybody may connect to is a published data source."""
    source(newest, connectable=connectable, parent_workbook_id=7)
    assert assets(newest, "datasource") == []


def test_a_data_source_that_does_not_say_is_published_when_it_has_no_workbook(newest: Handmade) -> None:
    """Without the word, the absence of a parent tells."""
    source(newest, connectable=None)
    assert len(assets(newest, "datasource")) == 1


@pytest.mark.parametrize("state", ["archived", "ARCHIVED"])
def test_an_archived_data_source_is_left_out(newest: Handmade, state: str) -> None:
    """It is no asset, and no workbook is stale because of it."""
    source(newest, state=state, extracts_refreshed_at=at(1))
    uses(newest, workbook(newest, extracts_refreshed_at=at(5)))
    assert assets(newest, "datasource") == []
    assert fresh(assets(newest, "workbook")[0]) == (at(5), "repository", "extract")


def test_a_data_source_without_a_state_counts(newest: Handmade) -> None:
    """NULL is not archived."""
    source(newest, state=None)
    assert len(assets(newest, "datasource")) == 1


@pytest.mark.parametrize(("is_deleted", "count"), [(True, 0), (False, 1), (None, 1)])
def test_a_deleted_workbook_is_left_out(newest: Handmade, is_deleted: object, count: int) -> None:
    """The recycle bin holds no assets; NULL is not deleted."""
    workbook(newest, is_deleted=is_deleted)
    assert len(assets(newest, "workbook")) == count


@pytest.mark.parametrize(
    ("own", "published", "expected"),
    [
        ({FULL: at(5)}, [{FULL: at(3)}], (at(3), "repository", "extract")),
        ({FULL: at(3)}, [{FULL: at(5)}], (at(3), "repository", "extract")),
        ({"data_engine_extracts": False}, [{FULL: at(5)}, {FULL: at(4)}], (at(4), "repository", "extract")),
        ({FULL: at(5)}, [{CREATED: at(2)}], (at(2), "created", "extract")),
        ({CREATED: at(2)}, [{FULL: at(5)}], (at(2), "created", "extract")),
        ({CREATED: at(6)}, [{FULL: at(5)}], (at(5), "repository", "extract")),
        ({FULL: at(5)}, [{}], (at(5), "repository", "extract")),
        ({FULL: at(5)}, [{"data_engine_extracts": False, CREATED: at(1)}], (at(5), "repository", "mixed")),
        ({"data_engine_extracts": False}, [{"data_engine_extracts": False, CREATED: at(1)}], (None, None, "live")),
        (
            {"data_engine_extracts": False},
            [{FULL: at(5)}, {"data_engine_extracts": False, FULL: at(1)}],
            (at(5), "repository", "mixed"),
        ),
    ],
)
def test_a_workbook_is_as_fresh_as_its_stalest_source(
    newest: Handmade, own: dict[str, object], published: list[dict[str, object]], expected: tuple[object, ...]
) -> None:
    """Its own extract and the published extracts it uses count, live sources do not."""
    book = workbook(newest, **own)
    for number, values in enumerate(published):
        source(newest, repository_url=f"source{number}", **values)
        uses(newest, book, f"source{number}")
    (asset,) = assets(newest, "workbook")
    assert fresh(asset) == expected


def test_a_source_of_the_same_name_on_another_site_does_not_count(newest: Handmade) -> None:
    """Addresses are unique within a site only."""
    source(newest, site_id=1, extracts_refreshed_at=at(5))
    source(newest, site_id=2, extracts_refreshed_at=at(1))
    uses(newest, workbook(newest, site_id=1, data_engine_extracts=False))
    assert fresh(assets(newest, "workbook")[0]) == (at(5), "repository", "extract")


@pytest.mark.parametrize("owner_type", ["Workbook", "workbook", "WORKBOOK"])
def test_the_type_of_an_owner_is_compared_without_case(newest: Handmade, owner_type: str) -> None:
    """Versions spell it differently."""
    source(newest, extracts_refreshed_at=at(5))
    uses(newest, workbook(newest, data_engine_extracts=False), owner_type=owner_type)
    assert fresh(assets(newest, "workbook")[0]) == (at(5), "repository", "extract")


def test_a_connection_of_a_data_source_is_not_a_workbooks(newest: Handmade) -> None:
    """Owners of different types may have the same number."""
    source(newest, extracts_refreshed_at=at(1))
    uses(newest, workbook(newest, extracts_refreshed_at=at(5)), owner_type="Datasource")
    assert fresh(assets(newest, "workbook")[0]) == (at(5), "repository", "extract")


@pytest.mark.parametrize("dbname", ["Gone", None])
def test_a_source_that_is_not_there_tells_nothing(newest: Handmade, dbname: str) -> None:
    """A workbook that has nothing else is neither live nor an extract."""
    uses(newest, workbook(newest, data_engine_extracts=False), dbname)
    assert fresh(assets(newest, "workbook")[0]) == (None, None, None)


@pytest.mark.parametrize(
    ("link", "connection"),
    [
        ({"dbclass": "oracle", "has_extract": False}, "mixed"),
        ({"dbclass": "oracle", "has_extract": True}, "extract"),
        ({"dbclass": "oracle", "has_extract": None}, "extract"),
        ({"dbclass": None, "has_extract": False}, "mixed"),
        ({"dbclass": "hyper", "has_extract": False}, "extract"),
    ],
)
def test_a_workbook_with_an_extract_and_a_live_connection_is_mixed(
    newest: Handmade, link: dict[str, object], connection: str
) -> None:
    """A connection that has no extract is live beside the extract."""
    uses(newest, workbook(newest, extracts_refreshed_at=at(5)), "warehouse", **link)
    assert fresh(assets(newest, "workbook")[0]) == (at(5), "repository", connection)


def test_an_own_live_connection_beside_a_published_extract_is_mixed(newest: Handmade) -> None:
    """A workbook without an extract of its own reads its own connections live."""
    book = workbook(newest, data_engine_extracts=False)
    source(newest, extracts_refreshed_at=at(5))
    uses(newest, book)
    uses(newest, book, "warehouse", dbclass="oracle", has_extract=None)
    assert fresh(assets(newest, "workbook")[0]) == (at(5), "repository", "mixed")


def flow(repository: Handmade, **values: object) -> int:
    """Add a flow."""
    base = {"luid": LUID(3), "name": "Prepare", "site_id": 1, "is_deleted": False, "state": "active"}
    return repository.add("flows", **{**base, **values})


def test_a_flow_is_as_fresh_as_its_last_successful_run(any_version: Handmade) -> None:
    """Failed, cancelled and unfinished runs do not count."""
    number = flow(any_version)
    for code, completed_at in ((0, at(2)), (0, at(3)), (1, at(4)), (2, at(5)), (0, None), (None, at(6))):
        any_version.add("flow_runs", flow_id=number, finish_code=code, completed_at=completed_at)
    assert fresh(assets(any_version, "flow")[0]) == (at(3), "job", None)


def test_a_flow_that_never_ran_is_not_known(newest: Handmade) -> None:
    """Unknown is absent, and no source is claimed."""
    flow(newest, created_at=at(1))
    assert fresh(assets(newest, "flow")[0]) == (None, None, None)


@pytest.mark.parametrize("gone", [{"is_deleted": True}, {"state": "archived"}])
def test_a_flow_that_is_put_away_is_left_out(newest: Handmade, gone: dict[str, object]) -> None:
    """Deleted and archived flows are no assets."""
    flow(newest, **gone)
    assert assets(newest, "flow") == []


def task(repository: Handmade, obj_id: int, **values: object) -> int:
    """Add a task of a workbook."""
    base = {"obj_type": "Workbook", "active": True, "state": 0, "consecutive_failure_count": 0}
    return repository.add("tasks", obj_id=obj_id, **{**base, **values})


def schedule(repository: Handmade, run_next_at: datetime | None, *, active: bool | None = True) -> int:
    """Add a schedule."""
    return repository.add("schedules", run_next_at=run_next_at, active=active)


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


def test_an_asset_without_tasks_says_nothing_of_them(newest: Handmade) -> None:
    """Unknown is absent: no failures is not zero failures."""
    workbook(newest)
    (asset,) = assets(newest, "workbook")
    names = ("next_refresh_at", "consecutive_failures", "suspended", "task_ids")
    assert [asset[name] for name in names] == [None] * 4


def project(repository: Handmade, name: str, parent: int | None = None, **values: object) -> int:
    """Add a project."""
    return repository.add("projects", name=name, parent_project_id=parent, site_id=1, **values)


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
    for number in (501, 502, 503, 504):
        workbook(newest, project_id=number)
    assert {row["project"] for row in assets(newest, "workbook")} == {"one", "two", "self", "orphan"}


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


def test_tags_are_those_of_the_asset(any_version: Handmade) -> None:
    """In order, told apart, and none of an asset of another type with the same number."""
    book = workbook(any_version)
    for name, kind in (("no sla", "Workbook"), ("a, b\nc", "workbook"), ("other", "Datasource")):
        tag = any_version.add("tags", name=name)
        any_version.add("taggings", tag_id=tag, taggable_id=book, taggable_type=kind)
    tags = assets(any_version, "workbook")[0]["tags"].split("\x1f")
    assert sorted(tags) == ["a, b\nc", "no sla"]


def test_hostile_names_pass_unchanged(simulation: Simulation) -> None:
    """What somebody typed is what we read: quotes, line breaks, emoji, right-to-left."""
    names = {row["asset_name"] for row in read(simulation.parameters(), STATE).to_pylist()}
    assert names >= {str(row["name"]) for row in simulation.company.tables["workbooks"] if row["name"] in ODD} - gone(
        simulation
    )
    assert len(names & set(ODD)) > 8


def gone(simulation: Simulation) -> set[str]:
    """Name the workbooks that this version keeps out of sight."""
    hidden = {*simulation.company.of_kind("workbooks", "deleted")[0].values()}
    private = [row["name"] for row in simulation.company.of_kind("workbooks", "private")]
    return {str(name) for name in (*hidden, *private)}
