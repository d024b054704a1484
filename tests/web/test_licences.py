"""The page of licences: users and names of tokens only behind a password, under the privacy options."""

from base64 import b64encode
from dataclasses import replace

import bcrypt
import pytest

from exporter.collectors.licences.users import INACTIVE_USERS
from exporter.pagedata.builder import PageData
from exporter.pagedata.licences import LISTS, LicenceList, LicenceRow
from exporter.web.application import application
from exporter.web.passwords import Passwords
from exporter.web.web_config import Access
from tests.web.fake_endpoint import NOW, FakeEndpoint, ask
from tests.web.hostile import hostile_names
from tests.web.page_fixtures import EVERYTHING, OF_LICENCES, some_pages

HASHED = {"alice": bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()}
SIGNED_IN = {"Authorization": f"Basic {b64encode(b'alice:wonderland').decode()}"}
NOTICE = "are listed only where the web server has users"


def page(pages: PageData, query: str = "", status: int = 200) -> str:
    """Return the page without authentication."""
    answer = ask(application(FakeEndpoint(pages_shown=pages)), "GET", f"/licences{query}")
    assert answer.status == status
    return answer.body.decode()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("users", ["Viewer", "never", "1 to 2 of 2 users with a licence"]),
        ("credentials", ["refresh token", "product key", "1 to 2 of 2 credentials in use"]),
        ("owners", ["Sales", "Finance", ">unlicensed<", ">removed<", "1 to 2 of 2 assets"]),
    ],
)
def test_each_list_without_names(chosen: str, words: list[str]) -> None:
    """Without users of the web server no user and no name of a token is listed, and a notice gives the reason."""
    text = page(some_pages(), f"?list={chosen}")
    assert [word for word in words if word not in text] == []
    assert not any(name in text.lower() for name in ("priya", "nightly script"))
    assert NOTICE in text


def test_users_are_named_behind_a_password() -> None:
    """Where every request is authenticated users and tokens have names; without a displayed name the login counts."""
    app = application(FakeEndpoint(pages_shown=some_pages()), Access(passwords=Passwords(HASHED)))
    assert ask(app, "GET", "/licences").status == 401
    texts = {name: ask(app, "GET", f"/licences?list={name}", SIGNED_IN).body.decode() for name in LISTS}
    assert all("Priya Shah" in text and NOTICE not in text for text in texts.values())
    assert ">jo<" in texts["users"]
    assert "nightly script" in texts["credentials"]


def test_a_site_and_a_page_are_chosen() -> None:
    """Of 250 users on two sites the second page of one site has 25; the links keep list and site."""
    rows = [LicenceRow(f"s{number % 2}", "", "Viewer", "", "", NOW, None, "") for number in range(250)]
    pages = replace(some_pages(), licences={INACTIVE_USERS: LicenceList(NOW, rows)})
    assert "101 to 125 of 125 users" in page(pages, "?site=s1&page=2")
    assert 'href="./licences?list=users&amp;site=s1&amp;page=1"' in page(pages, "?site=s1&page=2")
    assert "there are 3 pages" in page(pages, "?page=4", 400)
    assert "There is no parameter" in page(pages, "?user=x", 400)
    page(pages, "?list=secrets", 400)


@pytest.mark.parametrize(
    ("pages", "sentence"),
    [
        (some_pages(watched=EVERYTHING - OF_LICENCES), "is disabled"),
        (some_pages(reported=False), "which this agent has not read"),
        (
            replace(some_pages(), licences={INACTIVE_USERS: LicenceList(NOW, ())}),
            "Every licensed user signed in within 30 days",
        ),
    ],
    ids=["disabled", "not read", "none"],
)
def test_the_page_gives_the_reason(pages: PageData, sentence: str) -> None:
    """Nothing to list is not the same as nothing known."""
    assert sentence in page(pages)


@pytest.mark.parametrize("chosen", LISTS)
def test_names_are_escaped(chosen: str) -> None:
    """No name of a role, token, content, user or site becomes markup."""
    app_access = Access(passwords=Passwords(HASHED))
    for name in hostile_names(40):
        pages = some_pages(text=lambda _, name=name: name)  # type: ignore[misc] # bound in the loop
        app = application(FakeEndpoint(pages_shown=pages), app_access)
        text = ask(app, "GET", f"/licences?list={chosen}", SIGNED_IN).body.decode()
        assert text.count("<script") == 1
        assert "<img" not in text
        assert "<iframe" not in text
