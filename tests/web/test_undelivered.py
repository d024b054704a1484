"""The page of deliveries that fail: names of users only behind a password, under the privacy options."""

from base64 import b64encode
from dataclasses import replace

import bcrypt
import pytest

from exporter.pagedata.builder import PageData
from exporter.pagedata.undelivered import Undelivered, UndeliveredList
from exporter.web.application import application
from exporter.web.passwords import Passwords
from exporter.web.web_config import Access
from tests.web.fake_endpoint import NOW, FakeEndpoint, ask
from tests.web.hostile import hostile_names
from tests.web.page_fixtures import EVERYTHING, some_pages

PERSON = "Priya Shah &lt;priya@example.com&gt;"
HASHED = {"alice": bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()}


def page(pages: PageData, query: str = "", status: int = 200) -> str:
    """Return the page without authentication."""
    answer = ask(application(FakeEndpoint(pages_shown=pages)), "GET", f"/undelivered{query}")
    assert answer.status == status
    return answer.body.decode()


def many(count: int) -> PageData:
    """Return pages with so many deliveries that fail, on two sites."""
    rows = [
        Undelivered("subscription", f"s{number % 2}", "P", f"n{number}", "", "failing", 1, None, "x")
        for number in range(count)
    ]
    return replace(some_pages(), undelivered=UndeliveredList(NOW, rows))


def test_deliveries_are_listed_without_users() -> None:
    """Without users of the web server no recipient is named, and a notice gives the reason."""
    text = page(some_pages())
    assert "Daily sales" in text
    assert "Finance" in text
    assert ">suspended<" in text
    assert "priya" not in text.lower()
    assert "The users who wait are listed only where" in text


def test_users_are_named_behind_a_password() -> None:
    """Where every request is authenticated the column is there; an unknown user is unknown."""
    access = Access(passwords=Passwords(HASHED))
    assert ask(application(FakeEndpoint(pages_shown=some_pages()), access), "GET", "/undelivered").status == 401
    signed_in = {"Authorization": f"Basic {b64encode(b'alice:wonderland').decode()}"}
    app = application(FakeEndpoint(pages_shown=some_pages()), access)
    text = ask(app, "GET", "/undelivered", signed_in).body.decode()
    assert PERSON in text
    assert text.count('<span class="none">unknown</span>') >= 4
    assert "The users who wait are listed only where" not in text


def test_a_site_and_a_page_are_chosen() -> None:
    """Of 250 deliveries on two sites the second page of one site has 25."""
    pages = many(250)
    assert "101 to 125 of 125 deliveries" in page(pages, "?site=s1&page=2")
    assert 'href="./undelivered?site=s1&amp;page=1"' in page(pages, "?site=s1&page=2")
    assert "101 to 200 of 250 deliveries" in page(pages, "?page=2")
    assert "there are 3 pages" in page(pages, "?page=4", 400)
    assert "There is no parameter" in page(pages, "?user=x", 400)


@pytest.mark.parametrize(
    ("pages", "sentence"),
    [
        (some_pages(watched=EVERYTHING - {"undelivered"}), "No repository is configured, or the collectors"),
        (some_pages(reported=False), "which this agent has not read"),
        (replace(some_pages(), undelivered=UndeliveredList(NOW, ())), "No subscription and no data alert fails"),
    ],
    ids=["disabled", "not read", "none"],
)
def test_the_page_gives_the_reason(pages: PageData, sentence: str) -> None:
    """Nothing to list is not the same as nothing known."""
    assert sentence in page(pages)


def test_names_are_escaped() -> None:
    """No name of a subscription, project or site becomes markup."""
    for name in hostile_names(40):
        text = page(some_pages(text=lambda _, name=name: name))  # type: ignore[misc] # bound in the loop
        assert text.count("<script") == 1
        assert "<img" not in text
        assert "<iframe" not in text
