"""How fresh each asset is: every rule, on rows made for it."""

from collections.abc import Callable
from datetime import datetime

import pytest

from tests.collectors.assets.rows import LUID, Asset, assets, flow, source, task, uses, workbook
from tests.collectors.repositories import Handmade, at


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
        ({FULL: at(2), "data_engine_extracts": None}, (at(2), "repository", "extract")),
        ({CREATED: at(1), "data_engine_extracts": None}, (None, None, None)),
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


LIVE_ORACLE = {"dbclass": "oracle", "has_extract": False}


@pytest.mark.parametrize("dates", [{FULL: at(2)}, {CREATED: at(1)}])
def test_what_has_no_extract_and_reads_a_database_is_live(any_version: Handmade, dates: dict[str, object]) -> None:
    """In every version; an old refresh does not imply an extract where the repository has none."""
    book = workbook(any_version, data_engine_extracts=False, **dates)
    number = source(any_version, data_engine_extracts=False, **dates)
    uses(any_version, book, "warehouse", **LIVE_ORACLE)
    uses(any_version, number, "warehouse", owner_type="Datasource", **LIVE_ORACLE)
    for kind in ("workbook", "datasource"):
        assert [fresh(asset) for asset in assets(any_version, kind)] == [(None, None, "live")]


@pytest.mark.parametrize("links", [[], [{"dbclass": "hyper"}], [{"dbclass": None}]], ids=str)
def test_a_workbook_without_an_extract_is_not_live_for_that(newest: Handmade, links: list[dict[str, object]]) -> None:
    """An unreadable connection is not live: its database must be known."""
    book = workbook(newest, data_engine_extracts=False)
    for link in links:
        uses(newest, book, "warehouse", **link)
    assert fresh(assets(newest, "workbook")[0]) == (None, None, None)


def test_a_workbook_whose_source_is_not_there_is_not_live_beside_it(newest: Handmade) -> None:
    """The source that cannot be found may be an extract."""
    book = workbook(newest, data_engine_extracts=False)
    uses(newest, book, "Gone")
    uses(newest, book, "warehouse", **LIVE_ORACLE)
    assert fresh(assets(newest, "workbook")[0]) == (None, None, None)


@pytest.mark.parametrize(
    ("own", "published", "expected"),
    [
        ({"data_engine_extracts": None}, {FULL: at(5)}, (at(5), "repository", None)),
        ({FULL: at(5)}, {"data_engine_extracts": None}, (at(5), "repository", None)),
        ({"data_engine_extracts": False}, {"data_engine_extracts": None}, (None, None, None)),
    ],
)
def test_a_workbook_of_which_a_part_is_unknown(
    newest: Handmade, own: dict[str, object], published: dict[str, object], expected: tuple[object, ...]
) -> None:
    """The part may be the stalest: its connection is not known, and it is as old as the other parts, at least."""
    source(newest, **published)
    uses(newest, workbook(newest, **own))
    assert fresh(assets(newest, "workbook")[0]) == expected


VIRTUAL = {"dbclass": "publishedConnection", "has_extract": False}


@pytest.mark.parametrize("dbclass", ["publishedConnection", "publishedconnection"])
def test_what_reads_a_virtual_connection_is_not_live(any_version: Handmade, dbclass: str) -> None:
    """The repository lacks whether its tables are extracted, and when that was."""
    book = workbook(any_version, data_engine_extracts=False)
    number = source(any_version, data_engine_extracts=False)
    uses(any_version, book, "vc", **{**VIRTUAL, "dbclass": dbclass})
    uses(any_version, number, "vc", owner_type="Datasource", **{**VIRTUAL, "dbclass": dbclass})
    for kind in ("workbook", "datasource"):
        assert [fresh(asset) for asset in assets(any_version, kind)] == [(None, None, None)]


def test_a_workbook_on_a_source_that_reads_a_virtual_connection_is_not_live(newest: Handmade) -> None:
    """Unknown upstream is unknown downstream."""
    number = source(newest, data_engine_extracts=False)
    uses(newest, number, "vc", owner_type="Datasource", **VIRTUAL)
    uses(newest, workbook(newest, data_engine_extracts=False))
    assert fresh(assets(newest, "workbook")[0]) == (None, None, None)


@pytest.mark.parametrize(
    ("has_extract", "expected"),
    [
        (True, (at(5), "repository", "extract")),
        (None, (at(5), "repository", "extract")),
        (False, (at(5), "repository", None)),
    ],
)
def test_a_virtual_connection_beside_an_extract(
    newest: Handmade, has_extract: object, expected: tuple[object, ...]
) -> None:
    """Data extracted through it is as old as the extract; data read beside the extract may be staler."""
    uses(newest, workbook(newest, extracts_refreshed_at=at(5)), "vc", **{**VIRTUAL, "has_extract": has_extract})
    assert fresh(assets(newest, "workbook")[0]) == expected


def test_a_data_source_extracted_through_a_virtual_connection_is_an_extract(newest: Handmade) -> None:
    """A data source is an extract as a whole."""
    uses(newest, source(newest, extracts_refreshed_at=at(5)), "vc", owner_type="Datasource", **VIRTUAL)
    assert fresh(assets(newest, "datasource")[0]) == (at(5), "repository", "extract")


def test_a_data_source_that_extends_another_is_not_live(newest: Handmade) -> None:
    """The other may have an extract."""
    number = source(newest, data_engine_extracts=False)
    uses(newest, number, "Other", owner_type="Datasource")
    assert fresh(assets(newest, "datasource")[0]) == (None, None, None)


def test_what_a_version_lacks_is_not_known(any_version: Handmade) -> None:
    """Every version has the freshness of an extract, and the other fields as far as it has the columns."""
    book = workbook(any_version, extracts_refreshed_at=at(3))
    task(any_version, book, state=1, consecutive_failure_count=5)
    (asset,) = assets(any_version, "workbook")
    assert fresh(asset) == (at(3), "repository", "extract")
    assert asset["suspended"] is (None if any_version.version == "2019.3" else True)
    assert asset["consecutive_failures"] == 5


@pytest.mark.parametrize("connectable", [False, None])
def test_a_data_source_inside_of_a_workbook_is_no_asset(newest: Handmade, connectable: object) -> None:
    """Only a data source that all may connect to is published."""
    source(newest, connectable=connectable, parent_workbook_id=7)
    assert assets(newest, "datasource") == []


def test_a_data_source_that_does_not_say_is_published_when_it_has_no_workbook(newest: Handmade) -> None:
    """Without the field, the absence of a parent decides."""
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


def test_the_number_of_a_page(any_version: Handmade) -> None:
    """It is the asset's own, and of a data source that of its first connection; one without any has none."""
    book, prepare = workbook(any_version), flow(any_version)
    uses(any_version, book, "warehouse", id=3, dbclass="oracle")
    number = source(any_version)
    source(any_version, luid=LUID(4), name="Bare", repository_url="Bare")
    for connection in (12, 11):
        uses(any_version, number, "warehouse", id=connection, owner_type="Datasource", dbclass="oracle")
    found = {
        row["asset_name"]: row["url_id"]
        for kind in ("workbook", "datasource", "flow")
        for row in assets(any_version, kind)
    }
    assert found == {"Sales": book, "Prepare": prepare, "Orders": 11, "Bare": None}


def test_size_address_and_time_zone(any_version: Handmade) -> None:
    """The size is that of all extracts where each is known, else the asset's own; the time zone is the site's."""
    modern = any_version.version >= "2021.2"
    any_version.add(
        "sites", id=1, name="Default", url_namespace="", **({"time_zone": "Europe/Berlin"} if modern else {})
    )
    first = workbook(any_version, repository_url="Sales", size=7)
    second = workbook(any_version, luid=LUID(4), size=8)
    number = source(any_version, size=9)
    flow(any_version, size=5)
    for book, published, size in ((first, None, 100), (first, None, 50), (second, None, None), (None, number, 30)):
        any_version.add("extracts", workbook_id=book, datasource_id=published, **({"size": size} if modern else {}))
    found = {row["asset_id"]: row for kind in ("workbook", "datasource", "flow") for row in assets(any_version, kind)}
    sizes = [found[LUID(place)]["bytes"] for place in (1, 4, 2, 3)]
    assert sizes == ([150, 8, 30, 5] if modern else [7, 8, 9, 5])
    assert found[LUID(1)]["content_url"] == "Sales"
    assert found[LUID(1)]["time_zone"] == ("Europe/Berlin" if modern else None)
