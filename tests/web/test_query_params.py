"""The parameters of a page: each fault is one line."""

import pytest
from starlette.datastructures import QueryParams

from exporter.web.query_params import Paging, Parameters, WrongParameter, address


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("colour=red", "There is no parameter “colour” here; there are q, sort, page."),
        ("q=a&q=b", "q is given twice; give it once."),
        (f"q={'x' * 301}", "q is longer than 300 characters; use fewer."),
        ("sort=colour", "sort cannot be “colour”; it is one of name, hours."),
        ("sort=%0A%1b", "sort cannot be"),
        ("page=0", "page cannot be “0”; it is a number from 1 on."),
        ("page=-1", "page cannot be"),
        ("page=1e3", "page cannot be"),
        ("page=٣", "page cannot be"),
        (f"page={'9' * 50}", "page cannot be"),
    ],
)
def test_what_is_wrong_is_said(query: str, line: str) -> None:
    """A wrong name, a wrong value, or one too many is one line with the valid ones."""
    with pytest.raises(WrongParameter) as wrong:
        _take(query)
    assert str(wrong.value).startswith(line)
    assert str(wrong.value).isprintable()


def _take(query: str) -> tuple[str, str, int]:
    parameters = Parameters(QueryParams(query), ["q", "sort", "page"])
    return parameters.text("q"), parameters.choice("sort", ("name", "hours"), "name"), parameters.page()


def test_empty_is_as_good_as_none() -> None:
    """A form sends all its fields, also empty ones."""
    assert _take("q=&sort=&page=+&q=") == ("", "name", 1)
    assert _take("q=+a+&sort=hours&page=7") == ("a", "hours", 7)


def test_pages() -> None:
    """A list has as many pages as it needs, at least one, and no other can be requested."""
    assert Paging(0, 100).pages == 1
    assert (Paging(101, 100, 2).begin, Paging(101, 100, 2).end) == (100, 101)
    for count, page in ((0, 2), (100, 2), (101, 3)):
        with pytest.raises(WrongParameter, match=r"there (is one page|are 2 pages)"):
            Paging(count, 100, page)


def test_addresses() -> None:
    """An address retains its query, but for changed or removed parameters; none is confused with another."""
    pairs = [("q", "a&b=c"), ("status", "Live"), ("page", "3")]
    assert address("/assets", pairs, {"page": None}) == "/assets?q=a%26b%3Dc&status=Live"
    assert address("/assets", [], {}) == "/assets"
