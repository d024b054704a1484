"""The page of events: filters, files, and who may see names."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from exporter.pagedata.query_results import HistoryAnswer
from exporter.web.application import application
from exporter.web.passwords import Passwords
from exporter.web.web_config import Access
from tests.web.fake_endpoint import NOW, Answer, FakeEndpoint, ask
from tests.web.page_fixtures import EVERYTHING, some_pages

AT = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
HOSTILE = '<script>alert("x")</script>'
SIGNED_IN = {"Authorization": "Basic YWRhOnNlY3JldA=="}


def an_event(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of the page's query: a download of a workbook so many minutes ago."""
    return {
        "id": number,
        "created_at": AT - timedelta(minutes=number),
        "site_id": 1,
        "action_type": "Access",
        "event": "Download Workbook",
        "is_failure": None,
        "actor_user_id": 7,
        "actor": "grace",
        "target_user": None,
        "project": None,
        "workbook": "Sales",
        "view": None,
        "datasource": None,
        **changes,
    }


EVENTS = [
    an_event(1, workbook=HOSTILE),
    an_event(2, site_id=2, action_type="Delete", event="Delete Data Source", workbook=None, datasource="Orders"),
    an_event(3, action_type=None, event=None, actor=None, workbook=None, site_id=None),
    an_event(4, event="Login", workbook=None, is_failure=True),
    *(an_event(number, actor="linus", view="Totals") for number in range(5, 150)),
]
TYPES = {"site_id": pa.int64(), "is_failure": pa.bool_(), "created_at": pa.timestamp("us")}


def answered(path: str, *, users: bool = False, rows: list[dict[str, Any]] | None = None) -> Answer:
    """Return the response of a path, with credentials where users are configured."""
    names = list(an_event(0))
    schema = pa.schema([(name, TYPES.get(name, pa.int64() if "id" in name else pa.string())) for name in names])
    table = pa.Table.from_pylist(EVENTS if rows is None else rows, schema)
    events = HistoryAnswer(table, NOW, {1: "default", 2: "marketing"})
    pages = replace(some_pages(watched=EVERYTHING), events=events)
    access = Access(passwords=Everybody({"ada": "$2b$10$" + "x" * 53})) if users else None
    return ask(application(FakeEndpoint(pages_shown=pages), access), "GET", path, SIGNED_IN if users else None)


class Everybody(Passwords):
    """Users without the cost of hashing: every password is right."""

    async def accepts(self, *_: object, **__: object) -> bool:
        """Accept it."""
        return True


def rows_of(answer: Answer) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    assert answer.status == 200
    return list(csv.DictReader(io.StringIO(answer.body.decode())))


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", 149),
        ("?site=marketing", 1),
        ("?action=Delete", 1),
        ("?q=delete+orders", 1),
        ("?q=TOTALS", 145),
        ("?q=nothing", 0),
        ("?site=default&action=Access&q=login", 1),
        ("?site=elsewhere", 0),
    ],
)
def test_filters(query: str, numbers: int) -> None:
    """Every word must be in the event or its content, in any case; the file has what the page counts."""
    rows = rows_of(answered(f"/events.csv{query}"))
    assert len(rows) == numbers
    page = answered(f"/events{query}").body.decode()
    assert ("No event of the last seven days matches" in page) is (numbers == 0)
    assert not numbers or f"of {numbers} event" in page
    assert len(json.loads(answered(f"/events.json{query}").body)) == numbers


def test_names_are_displayed_where_users_are_configured() -> None:
    """Without users the page, the files and a search do not disclose who did what."""
    for path in ("/events", "/events.csv", "/events.json", "/events.csv?q=grace"):
        assert b"grace" not in answered(path).body.replace(b'value="grace"', b"")
        assert b"linus" not in answered(path).body
    assert b"Users are not named" in answered("/events").body
    signed_in = answered("/events", users=True).body
    assert b"grace" in signed_in
    assert b"Users are not named" not in signed_in
    assert [row["actor"] for row in rows_of(answered("/events.csv?q=grace", users=True))] == ["grace"] * 3


def test_unknown_is_unknown_and_names_are_escaped() -> None:
    """A type or site without a name is unknown; a name is text."""
    page = answered("/events").body.decode()
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert page.count('<span class="none">unknown</span>') == 2
    assert "Login (failed)" in page


def test_pages() -> None:
    """A hundred events a page, the latest first; a page that is not there is refused."""
    second = answered("/events?page=2").body.decode()
    assert "101 to 149 of 149 events" in second
    assert answered("/events?page=3").status == 400
    assert answered("/events.json?people=1").status == 400


def test_nothing_has_been_read() -> None:
    """Before the first poll the page has a notice, and the files are empty."""
    waiting = FakeEndpoint(pages_shown=some_pages(watched=EVERYTHING))
    assert b"No events have been read yet" in ask(application(waiting), "GET", "/events").body
    disabled = FakeEndpoint(pages_shown=some_pages(watched=EVERYTHING - {"events"}))
    assert b"No repository is configured, or the collector" in ask(application(disabled), "GET", "/events").body
    assert ask(application(waiting), "GET", "/events.json").body == b"[]\n"
