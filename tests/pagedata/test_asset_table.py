"""The columns of the pages equal the families of assets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pagedata.asset_table import AssetTable, Texts
from tests.web.fake_endpoint import NOW
from tests.web.page_fixtures import an_asset, some_pages


@pytest.fixture
def table() -> AssetTable:
    """The assets of a small estate."""
    table = some_pages().assets
    assert table is not None
    return table


@given(st.lists(st.text(max_size=5)))
def test_texts_are_in_order(column: list[str]) -> None:
    """Every row has its text, and the numbers are in the order of the texts, whatever their capitals."""
    texts = Texts.of(column)
    assert [texts[row] for row in range(len(column))] == column
    rows = np.argsort(texts.numbers, kind="stable").tolist()
    folded = [column[row].casefold().encode() for row in rows]
    assert folded == sorted(folded)


@given(st.lists(st.text("aB/", max_size=4)), st.text("aB/", max_size=3))
def test_texts_are_found(column: list[str], part: str) -> None:
    """Names that contain a text, equal it, or are below a path are found, in any case."""
    texts, wanted = Texts.of(column), part.casefold()
    assert texts.containing(wanted).tolist() == [wanted in text.casefold() for text in column]
    assert texts.equal(part).tolist() == [text.casefold() == wanted for text in column]
    path = wanted.rstrip("/")
    assert texts.within(part).tolist() == [f"{text.casefold()}/".startswith(f"{path}/") for text in column]


def test_hours_and_status_are_of_the_instant(table: AssetTable) -> None:
    """The same table gives other hours, and another status, when the day goes on."""
    now, later = table.at(NOW), table.at(NOW + 10 * 3600)
    row = table.places["workbook", "w-0"]
    assert (now.hours[row], later.hours[row]) == (3.0, 13.0)
    assert now.counts() == {"Healthy": 6, "Warning": 1, "Critical": 2, "Live": 1, "Unknown": 1}
    assert later.counts() == {"Healthy": 2, "Warning": 5, "Critical": 2, "Live": 1, "Unknown": 1}


def test_what_uses_what(table: AssetTable) -> None:
    """A source has the workbooks downstream, a workbook its sources."""
    assert [table.name[row] for row in table.downstream["d-1"]] == ["Sales", "Costs", "Payroll"]
    assert table.sources_of(table.places["workbook", "w-1"]) == ["d-1"]
    assert table.sources_of(table.places["workbook", "w-5"]) == []


def test_an_asset_without_a_luid_has_no_page() -> None:
    """It is in the table all the same."""
    table = some_pages([an_asset(asset_id=None)]).assets
    assert table is not None
    assert (len(table), table.places) == (1, {})


def test_nothing_at_all() -> None:
    """A site without assets has an empty table, which is not the same as none."""
    table = some_pages([]).assets
    assert table is not None
    assert table.at(NOW).counts() == dict.fromkeys(["Healthy", "Warning", "Critical", "Live", "Unknown"], 0)
