"""The XML of the REST API: the parsed fields, and documents that are not Tableau's."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import SourceIncomplete
from exporter.rest import response_xml
from exporter.rest.response_xml import MAX_ENTRIES, read_page, shape
from tests.rest.tableau import HEAD, HTML, WELL_FORMED_HTML

WORKBOOK = shape("workbook", project=1)


def answer(inside: str) -> bytes:
    """Return an answer with this inside."""
    return f"{HEAD}{inside}</tsResponse>".encode()


def test_only_what_stands_right_inside_is_taken() -> None:
    """The tags of a view are not those of its workbook."""
    found = read_page(
        answer(
            '<pagination pageNumber="1" pageSize="1000" totalAvailable="1"/><workbooks><workbook id="w1" name="a">'
            '<tags><tag label="own"/></tags><views><view id="v"><tags><tag label="of a view"/></tags>'
            '<project id="other"/></view></views><project id="p"/></workbook></workbooks>'
        ),
        WORKBOOK,
        "rest",
    )
    (entry,) = found.entries
    assert (entry.attributes["id"], entry.tags, entry.inside) == ("w1", ["own"], {"project": {"id": "p"}})
    assert (found.page_number, found.page_size, found.total) == (1, 1000, 1)


def test_a_list_may_be_called_as_its_entries_are() -> None:
    """The runs of flows may stand in an element of their own name."""
    found = read_page(
        answer('<flowRuns><flowRuns id="1"/><flowRun id="2"/></flowRuns>'), shape("flowRun", "flowRuns"), "rest"
    )
    assert [entry.attributes["id"] for entry in found.entries] == ["1", "2"]
    assert found.lists == {"flowRuns"}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("&#x1F600; &amp; &quot;&#233;&quot;", '\N{GRINNING FACE} & "é"'),
        ("a\x01b\x00c", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        ("a&#1;b&#x0;c&#xFFFF;d&#xD800;e&#9999999;", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}x\N{ZERO WIDTH JOINER}", "\N{RIGHT-TO-LEFT OVERRIDE}x\N{ZERO WIDTH JOINER}"),
        ("x" * 1_000_000, "x" * 1_000_000),
    ],
)
def test_names_of_strangers(written: str, name: str) -> None:
    """A name may hold anything; characters that XML forbids are replaced, and the list goes on behind it."""
    found = read_page(
        answer(f'<workbooks><workbook id="w1" name="{written}"/><workbook id="w2"/></workbooks>'), WORKBOOK, "rest"
    )
    assert [entry.attributes.get("name") for entry in found.entries] == [name, None]


def test_bytes_that_are_no_utf8() -> None:
    """A byte that is of no character is replaced."""
    content = answer('<workbooks><workbook id="w1" name="a%b"/></workbooks>').replace(b"%", b"\xff")
    assert read_page(content, WORKBOOK, "rest").entries[0].attributes["name"] == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        HTML,
        WELL_FORMED_HTML,
        b'{"data": 1}',
        b"<other/>",
        b"<tsResponse/>",
        answer("<workbooks><workbook id='w1'/>")[:-20],
        answer("<workbooks>")[:-5],
        answer("<workbooks/>") + b"<more/>",
        answer("").replace(b"http://tableau.com/api", b"http://example.com/api"),
    ],
)
def test_anything_else_is_no_answer(content: bytes) -> None:
    """A login page, a page that was cut, another program's XML: one line, no list."""
    with pytest.raises(SourceIncomplete, match=r"^rest: ") as caught:
        read_page(content, WORKBOOK, "rest")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.attack("bombs")
def test_entities_are_refused() -> None:
    """A document that declares entities is not read: they are a way to fill memory."""
    bomb = (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
        + answer('<workbooks><workbook id="&b;"/></workbooks>').split(b"?>", 1)[1]
    )
    with pytest.raises(SourceIncomplete, match="a type of its own"):
        read_page(bomb, WORKBOOK, "rest")


@pytest.mark.attack("peers")
@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    """Whatever arrives is an answer or a failure of ours."""
    for whole in (content, answer("<workbooks>")[:-13] + content):
        with contextlib.suppress(SourceIncomplete):
            assert read_page(whole, WORKBOOK, "rest").total is None


def test_entries_are_bounded() -> None:
    """A list of more entries than any site has is refused; the largest is read."""
    entries = "<workbook/>" * MAX_ENTRIES
    assert len(read_page(f"{HEAD}{entries}</tsResponse>".encode(), WORKBOOK, "rest").entries) == MAX_ENTRIES
    with pytest.raises(
        SourceIncomplete, match=r"^rest: an answer of more than 50,000 entries was not read to its end$"
    ):
        read_page(f"{HEAD}{entries}<workbook/></tsResponse>".encode(), WORKBOOK, "rest")


@pytest.mark.parametrize("forbidden", ["\x01", "&#1;"], ids=["character", "reference"])
def test_replacements_are_bounded(forbidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many forbidden characters as are allowed are replaced; more are refused before any is."""
    text = f'{HEAD}<workbook name="{{}}"/></tsResponse>'
    (entry,) = read_page(text.format(forbidden * 1_000).encode(), WORKBOOK, "rest").entries
    assert entry.attributes["name"] == "\N{REPLACEMENT CHARACTER}" * 1_000
    monkeypatch.setattr(response_xml, "_CONTROL", None)
    with pytest.raises(SourceIncomplete, match="more than 1,000,000 control characters or references"):
        read_page(text.format(forbidden * 1_000_001).encode(), WORKBOOK, "rest")
