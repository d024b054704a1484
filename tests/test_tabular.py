"""CSV that a spreadsheet opens and does not obey, and JSON that every program reads."""

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tabular import Cell, cell, csv_lines, in_parts, json_lines

UNSEEN = ["\u00a0", "\u3000", "\u200b", "\ufeff", "\x00", "\x0b", "\x1f", "\u2028", "\u00ad", " \ufeff\u00a0"]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "  =1", "\n=cmd|'/C calc'!A0", "\uff1d1", "\tA"]
    + [before + sign for before in UNSEEN for sign in "=+-@"],
)
def test_no_text_is_a_formula(text: str) -> None:
    """A formula to a spreadsheet gets an apostrophe before it."""
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["a;=1+1", "a\t=1+1", "a|=1", 'a,"=1', "a\r\n=1", "plain", "'", " "])
def test_every_text_is_quoted(text: str) -> None:
    """Texts that a spreadsheet reads as the end of a cell or a line stand within quotes; other values do not."""
    quoted = '"' + text.replace('"', '""') + '"'
    written = "".join(csv_lines(["head"], [[text, None, "", -1.5, 2, text]]))
    assert written == f'head\r\n{quoted},,"",-1.5,2,{quoted}\r\n'


@pytest.mark.parametrize(("value", "written"), [(-1.5, -1.5), (0, 0), (None, ""), (float("nan"), ""), ("a=b", "a=b")])
def test_numbers_stay_numbers(value: Cell, written: Cell) -> None:
    """A number below zero is no formula; unknown is empty; other texts are as they are."""
    assert cell(value) == written


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2)))
def test_read_back(rows: list[list[str]]) -> None:
    """Whatever the texts hold, a reader of CSV has the same rows."""
    text = b"".join(in_parts(csv_lines(["a", "b"], rows))).decode()
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [["a", "b"], *([str(cell(value)) for value in row] for row in rows)]


def test_json_is_one_array() -> None:
    """An object for each row with its types; ASCII; values that JSON lacks are null or replaced."""
    head, row = ["a", "b", "c", "d", "e", "f"], ["=\u202eü", 1, 2**70, math.inf, None, "\ud800"]
    text = "".join(json_lines(head, [row, row]))
    assert text.isascii()
    assert json.loads(text) == [{"a": "=\u202eü", "b": 1, "c": 2**70, "d": None, "e": None, "f": "?"}] * 2
    assert "".join(json_lines(head, [])) == "[]\n"


def test_names_of_columns() -> None:
    """An ambiguous name is quoted, and is no formula."""
    assert "".join(csv_lines(["plain_1", "a,b", "=1", ""], [])) == 'plain_1,"a,b","\'=1",""\r\n'
