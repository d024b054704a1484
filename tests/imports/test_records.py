"""Lines of the older tool put together to requests, whatever stands in their texts."""

import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.imports import Counts, Reject
from exporter.imports.dialect import COLUMNS, Dialect
from exporter.imports.fields import Unfit
from exporter.imports.lines import Lines
from exporter.imports.records import CONTINUED, MOST_LINES, NOT_A_ROW, Assembler, Record
from tests.imports.older_tool import Request, line, request

OLDER = Dialect(trailing=True)
HOSTILE = st.lists(
    st.sampled_from(["|", "\n", "a", " ", "/", "None", "7", '"', "http://", "é", "\r", "Mozilla/5.0 ("]),
    max_size=4,
).map("".join)


def assembled(text: str, dialect: Dialect = OLDER) -> tuple[list[Record], list[Reject]]:
    """Return the records of the lines below a header, and the rejected ones."""
    assembler = Assembler(dialect)
    found: list[Record | Reject] = []
    for read in Lines(io.BytesIO(text.encode()), Counts(), number=1):
        found += assembler.feed(read)
    found += assembler.finish()
    return (
        [item for item in found if isinstance(item, Record)],
        [item for item in found if isinstance(item, Reject)],
    )


def values(record: Record) -> dict[str, str]:
    """Return the texts of a record by column; values that the tool writes alike are the same."""
    return {name: _same(text) for name, text in zip(COLUMNS, record.fields, strict=True)}


def expected(values: Request) -> dict[str, str]:
    """Return the texts that a request was written as."""
    return {name: _same(str(values[name])) for name in COLUMNS}


def _same(text: str | None) -> str:
    return "" if text in {None, "None"} else str(text)


def test_a_line_each() -> None:
    """A row in one line is a record, with NULLs and empty texts where they stand."""
    rows = [request(1), request(2, http_referer=None, completed_at=None, user_id=None, site_id=None, currentsheet="")]
    records, rejects = assembled("".join(map(line, rows)))
    assert [values(record) for record in records] == [expected(row) for row in rows]
    assert [record.line for record in records] == [2, 3]
    assert (rejects, [record.recovered for record in records]) == ([], [False, False])


RECOVERED = {
    "a line end in the user agent": {"http_user_agent": "Mozilla/5.0\n(X)"},
    "line ends in two texts": {"http_user_agent": "a\n\nb", "currentsheet": "Sales\n/Over\nview"},
    "a line end at the end of a text": {"currentsheet": "Sales/Overview\n"},
    "a delimiter in the URI": {"http_request_uri": "/views/Sales/Overview?f=a|b|c"},
    "a delimiter in the user agent": {"http_user_agent": "Mozilla/5.0 (Windows; a|b) x"},
    "a delimiter in the user agent without a referer": {"http_referer": None, "http_user_agent": "curl|7"},
    "delimiters in the sheet": {"currentsheet": "Sales|7|/Over|view"},
    "a delimiter and a line end in the sheet": {"currentsheet": "Sales|7\n8|x"},
    "delimiters on both sides": {"http_request_uri": "/a|b", "currentsheet": "c|d"},
}


@pytest.mark.parametrize("broken", RECOVERED.values(), ids=RECOVERED)
def test_what_is_recovered(broken: dict[str, object]) -> None:
    """A row whose texts hold line ends and delimiters is one record where there is one way to read it."""
    rows = [request(1), request(2, **broken), request(3)]
    records, rejects = assembled("".join(map(line, rows)))
    assert rejects == []
    assert [values(record) for record in records] == [expected(row) for row in rows]
    assert [record.recovered for record in records] == [False, True, False]


WHOLE = line(request(2))
REJECTED = {
    "two URIs": (line(request(2, http_user_agent="a|/b")), Unfit.AMBIGUOUS),
    "a delimiter in the referer": (line(request(2, http_referer="https://a|b")), Unfit.AMBIGUOUS),
    "a referer that is none": (line(request(2, http_referer="a|b")), Unfit.AMBIGUOUS),
    "a delimiter in the controller": (line(request(2, controller="a b|c", currentsheet="x|y")), Unfit.AMBIGUOUS),
    "an end that is missing": (WHOLE[:100] + "\n", Unfit.SHORT),
    "a delimiter that is missing": (WHOLE[:-2] + "\n", Unfit.SHORT),
    "a port that is no number": (WHOLE.replace("|8001|", "|eight|"), Unfit.FORM),
    "a time that is none": (WHOLE.replace("|2025-", "|yesterday 2025-"), Unfit.FORM),
    "a row that was cut where the next begins": (WHOLE[:130] + WHOLE, Unfit.AMBIGUOUS),
    "a row within the user agent": (line(request(2, http_user_agent=f"x|{WHOLE[:-2]}")), Unfit.AMBIGUOUS),
    "something else": ("Traceback (most recent call last):\n", NOT_A_ROW),
    "several lines of something else": ("Traceback (most recent call last):\n  File\n", NOT_A_ROW),
}


@pytest.mark.parametrize(("broken", "reason"), REJECTED.values(), ids=REJECTED)
def test_what_is_rejected(broken: str, reason: str) -> None:
    """A text that is no row, or could be two, is rejected with its bytes; the rows around it are read."""
    records, rejects = assembled(line(request(1)) + broken + line(request(3)))
    assert [values(record) for record in records] == [expected(request(1)), expected(request(3))]
    assert rejects == [Reject(3, reason, broken.encode())]


def test_a_row_that_was_cut_before_one_with_a_line_end() -> None:
    """The row that begins last is the one that is read: a row cut before it is not its beginning."""
    cut, split = line(request(1))[:120] + "\n", request(2, http_user_agent="a\nb")
    records, rejects = assembled(cut + line(split))
    assert [values(record) for record in records] == [expected(split)]
    assert rejects == [Reject(2, Unfit.SHORT, cut.encode())]


def test_a_row_that_may_go_on() -> None:
    """A row that would be one with the line after it too is rejected together with that."""
    goes_on = line(request(1, currentsheet="Sales|5|\nB"))
    records, rejects = assembled(goes_on + line(request(2)))
    assert [values(record) for record in records] == [expected(request(2))]
    assert rejects == [Reject(2, CONTINUED, goes_on.encode())]


def test_a_row_of_which_the_end_is_one_too() -> None:
    """Lines that are a row together are not read as the row that the last of them would be alone."""
    split = line(request(1, http_referer=None, http_user_agent="a\n||/|b"))
    assert Dialect(trailing=True).row.fullmatch(split.split("\n")[1])
    records, rejects = assembled(line(request(0)) + split + line(request(2)))
    assert [values(record) for record in records] == [expected(request(0)), expected(request(2))]
    assert rejects == [Reject(3, CONTINUED, split.encode())]


def test_a_row_without_an_end() -> None:
    """A row that never ends is given up, and the rows after it are read."""
    begun = "vizql|show|None|Mozilla\n" + "x\n" * (MOST_LINES + 1)
    records, rejects = assembled(begun + line(request(2)))
    assert [values(record) for record in records] == [expected(request(2))]
    assert b"".join(reject.original for reject in rejects) == begun.encode()


def test_the_last_line_is_cut() -> None:
    """A file whose last line has no end yet is read up to there."""
    whole, cut = line(request(1)), line(request(2))[:150]
    records, rejects = assembled(whole + cut)
    assert [values(record) for record in records] == [expected(request(1))]
    assert rejects == [Reject(3, Unfit.SHORT, cut.encode())]


QUOTED = Dialect(quoted=True)


def quoted(values: Request) -> str:
    """Return a row as our own export writes it."""
    texts = ("" if values[name] is None else str(values[name]) for name in COLUMNS)
    return "|".join('"' + text.replace('"', '""') + '"' if set(text) & set('|"\n\r') else text for text in texts) + "\n"


@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_our_own_export_is_read_as_it_was_written(texts: Sequence[tuple[str, ...]]) -> None:
    """Whatever a text holds, a quoted row is the row that was written."""
    rows = [
        request(number, http_referer=referer, http_user_agent=agent, http_request_uri=uri, currentsheet=sheet)
        for number, (referer, agent, uri, sheet) in enumerate(texts)
    ]
    records, rejects = assembled("".join(map(quoted, rows)), QUOTED)
    assert rejects == []
    assert [values(record) for record in records] == [expected(row) for row in rows]


def test_a_quoted_text_without_an_end() -> None:
    """A quoted row that was cut loses no other row."""
    cut = 'vizql|show||"Mozilla\n'
    rows = [request(1), request(2, http_user_agent='a "b" | c'), request(3)]
    records, rejects = assembled(cut + "".join(map(quoted, rows)), QUOTED)
    assert [values(record) for record in records] == [expected(row) for row in rows]
    assert rejects == [Reject(2, Unfit.OPEN, cut.encode())]


REQUESTS = st.builds(
    lambda number, referer, agent, uri, sheet, site: request(
        number,
        http_referer=referer,
        http_user_agent=agent,
        http_request_uri=uri,
        currentsheet=sheet,
        site_id=site,
    ),
    st.integers(0, 9),
    st.none() | HOSTILE.map(lambda text: "https://a" + "".join(text.split())),
    st.none() | HOSTILE,
    st.none() | HOSTILE.map(lambda text: "/" + text),
    HOSTILE,
    st.none() | st.integers(0, 99),
)


@given(st.lists(REQUESTS, min_size=1, max_size=5))
@settings(deadline=None, max_examples=300)
def test_what_is_read_was_written(rows: Sequence[Request]) -> None:
    """With any texts, a record that is read is a request as it was written; all others are rejected."""
    text = "".join(map(line, rows))
    records, rejects = assembled(text)
    left = [expected(row) for row in rows]
    for record in records:
        assert values(record) in left
        left.remove(values(record))
    pieces = [(record.line, record.original) for record in records]
    pieces += [(reject.line, reject.original) for reject in rejects]
    assert b"".join(original for _, original in sorted(pieces)) == text.encode()
