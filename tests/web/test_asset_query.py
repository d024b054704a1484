"""Which assets are listed, in which order, and the same as CSV."""

import csv
import io
from itertools import product

import pytest
from starlette.datastructures import QueryParams

from exporter.collectors.assets.status import STATUSES
from exporter.pagedata.asset_table import AssetTable, Mask, Texts
from exporter.status import FiringAlert
from exporter.tabular import csv_lines, in_parts
from exporter.web.asset_list import FILE_HEAD, file_rows, row_of
from exporter.web.asset_query import COLUMNS, ORDERS, PARAMETERS, TYPES, Choice, alerted, chosen
from exporter.web.query_params import Parameters
from tests.web.fake_endpoint import NOW
from tests.web.page_fixtures import an_asset, some_pages

KEYS = {
    "name": "name",
    "type": "asset_type",
    "site": "site",
    "project": "project",
    "owner": "owner",
    "hours": "hours",
    "warning": "warning",
    "critical": "critical",
    "refreshed": "refreshed",
    "next": "following",
    "failures": "failures",
    "users": "users",
}


@pytest.fixture
def table() -> AssetTable:
    """The assets of a small estate."""
    table = some_pages().assets
    assert table is not None
    return table


def parsed(query: str) -> Choice:
    """Return the query of an address."""
    return Choice.of(Parameters(QueryParams(query), PARAMETERS, ["status"]))


def names(table: AssetTable, query: str) -> list[str]:
    """Return the names that are listed."""
    return [table.name[place] for place in chosen(table, table.at(NOW), parsed(query)).tolist()]


@pytest.mark.parametrize(("column", "order"), list(product(KEYS, ORDERS)))
def test_every_column_sorts_both_ways(table: AssetTable, column: str, order: str) -> None:
    """Whatever is sorted by, everything is there once; known values are in order, and unknown ones come last."""
    judged = table.at(NOW)
    places = chosen(table, judged, parsed(f"sort={column}&order={order}")).tolist()
    assert sorted(places) == list(range(len(table)))
    values = [getattr(row_of(table, judged, place), KEYS[column]) for place in places]
    if column == "refreshed":
        values = [None if table.live[place] else value for place, value in zip(places, values, strict=True)]
    known = [value.casefold() if isinstance(value, str) else value for value in values if value is not None]
    assert known == sorted(known, reverse=order == "desc")
    assert None not in values[: len(known)]


def test_the_worst_come_first(table: AssetTable) -> None:
    """By default critical comes first, of these the oldest; live comes last."""
    found = names(table, "")
    assert found[:4] == ["Traffic", "Payroll", "Costs", "Unheard"]
    assert found[-1] == "Live view"
    assert names(table, "order=desc")[0] == "Live view"
    assert set(COLUMNS) == {*KEYS, "status"}


def test_of_one_status_the_most_used_come_first() -> None:
    """The order is by impact: of one status the assets that most users opened, of these the oldest."""
    table = some_pages(used={"w-2": 1, "w-3": 1, "w-0": 90, "w-5": 2}).assets
    assert table is not None
    assert names(table, "")[:3] == ["Traffic", "Payroll", "Costs"]
    table = some_pages(used={"w-2": 2, "w-3": 1}).assets
    assert table is not None
    assert names(table, "")[:3] == ["Payroll", "Traffic", "Costs"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=ORDERS", {"Orders"}),
        ("q=  emea   pay ", {"Payroll"}),
        ("q=grace&site=marketing&type=workbook&project=web", {"Traffic"}),
        ("project=Finance/EMEA", {"Costs", "Payroll"}),
        ("project=finance/emea/", {"Costs", "Payroll"}),
        ("project=Financ", set()),
        ("status=Live&status=Unknown", {"Live view", "Unheard"}),
        ("type=flow", {"Nightly"}),
        ("owner=GRACE&status=Critical", {"Traffic"}),
        ("site=elsewhere", set()),
        ("q=%", set()),
    ],
)
def test_what_is_asked_for_is_found(table: AssetTable, query: str, found: set[str]) -> None:
    """Each filter finds its assets, and all of them together those that match all."""
    assert set(names(table, query)) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("alert=TableauAssetStale", {"Costs", "Payroll"}),
        ("alert=TableauAssetStale critical", {"Payroll"}),
        ("alert=TableauAssetStale+warning&status=Warning", {"Costs"}),
        ("alert=TableauAssetRefreshFailing", {"Payroll"}),
        ("alert=TableauAsset", set()),
        ("alert=TableauRestUnreachable", set()),
    ],
)
def test_the_assets_of_an_alert_are_found(query: str, found: set[str]) -> None:
    """An alert selects the listed assets about which it fires, of one severity where that is given."""
    about = [
        ("TableauAssetStale", "warning", "w-1"),
        ("TableauAssetStale", "critical", "w-2"),
        ("TableauAssetStale", "critical", "gone"),
        ("TableauAssetRefreshFailing", "warning", "w-2"),
    ]
    firing = [
        FiringAlert(name, severity, (("asset_id", asset_id), ("asset_type", "workbook")), NOW)
        for name, severity, asset_id in about
    ]
    pages = some_pages(firing=[*firing, FiringAlert("TableauRestUnreachable", "critical", (("source", "rest"),), NOW)])
    assert pages.assets is not None
    choice = parsed(query)
    places = chosen(pages.assets, pages.assets.at(NOW), choice, alerted(pages, choice))
    assert {pages.assets.name[place] for place in places.tolist()} == found
    assert choice.is_filtered


def test_every_choice_can_be_asked_for(table: AssetTable) -> None:
    """Each status and type is one that the table may have, and each asset is found by its own."""
    judged = table.at(NOW)
    by_status = [names(table, f"status={status}") for status in STATUSES]
    assert sum(map(len, by_status)) == len(table)
    assert sum(len(names(table, f"type={kind}")) for kind in TYPES) == len(table)
    assert [len(found) for found in by_status] == list(judged.counts().values())


def test_the_same_is_asked_for_again(table: AssetTable) -> None:
    """An address that is made of a query yields the same query."""
    for query in (
        "",
        "q=a+b&status=Warning&status=Live&sort=hours&order=desc&rows=25",
        "project=P/Q&owner=%26",
        "alert=A+critical",
    ):
        choice = parsed(query)
        assert Choice.of(Parameters(QueryParams(choice.pairs()), PARAMETERS, ["status"])) == choice


def test_csv_has_what_is_chosen(table: AssetTable) -> None:
    """The file has every asset that fits, in the same order, in as many columns as its head."""
    query = "project=Finance&sort=name"
    text = b"".join(in_parts(csv_lines(FILE_HEAD, file_rows(table, NOW, parsed(query))))).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["asset_name"] for row in rows] == names(table, query)
    payroll = next(row for row in rows if row["asset_name"] == "Payroll")
    assert payroll["hours_since_refresh"] == "25.0"
    assert (payroll["status"], payroll["critical_hours"]) == ("Critical", "24.0")
    assert payroll["last_refresh_utc"] == "2026-07-26T09:00:00Z"
    assert next(row for row in rows if row["asset_name"] == "Live view")["hours_since_refresh"] == ""


def test_a_long_file_comes_in_parts() -> None:
    """All of a large table is sent, a thousand rows at a time."""
    table = some_pages([an_asset(asset_id=f"w{n}", asset_name=f"{n}") for n in range(2500)], reported=True).assets
    assert table is not None
    parts = list(in_parts(csv_lines(FILE_HEAD, file_rows(table, NOW, parsed("rows=25")))))
    assert len(parts) == 3
    assert b"".join(parts).count(b"\r\n") == 2501


def test_nothing_is_looked_for_where_nothing_fits(table: AssetTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word that is nowhere ends a search."""
    looked_for: list[str] = []
    containing = type(table.name).containing

    def noted(column: Texts, word: str) -> Mask:
        looked_for.append(word)
        return containing(column, word)

    monkeypatch.setattr(type(table.name), "containing", noted)
    assert names(table, "q=orders+nowhere+sales") == []
    assert set(looked_for) == {"orders", "nowhere"}
