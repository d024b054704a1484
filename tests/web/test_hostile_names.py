"""Hostile names of workbooks, projects, users and views, in a real browser."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from exporter.pagedata.builder import PageData
from exporter.status import FiringAlert
from exporter.web.application import application
from tests.web.browsing import Visitor
from tests.web.fake_endpoint import NOW, FakeEndpoint, ask
from tests.web.hostile import hostile_names
from tests.web.page_fixtures import an_asset, some_pages

COUNT = 500
TABLEAU = "https://tableau.example.com"
# A page parsed by the browser as it would be when opened, though nothing in it is loaded or run.
PARSED = """pages => pages.map(text => {
    const root = new DOMParser().parseFromString(text, 'text/html');
    const texts = selector => [...root.querySelectorAll(selector)].map(e => e.textContent);
    return {
        structure: [...root.querySelectorAll('*')].map(e => [e.tagName, ...e.getAttributeNames().sort()].join(' ')),
        rows: texts('tbody th[scope=row]'),
        projects: texts('td[data-label=Project]'),
        owners: texts('td[data-label=Owner]'),
        workbooks: texts('td[data-label=Workbook]'),
        headings: texts('h1'),
        descriptions: texts('dd'),
        lists: texts('main li'),
        addresses: [...root.querySelectorAll('[href], [src], [action]')].flatMap(
            e => ['href', 'src', 'action'].map(n => e.getAttribute(n)).filter(a => a !== null)),
    };
})"""
# A browser reads a carriage return as a newline and NUL as a mark; none of these is among the names.


def estate(names: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Return an asset with each name; its project is the next name and its owner the one after that."""
    return [
        an_asset(
            asset_id=f"w{number:03}",
            asset_name=name,
            project=names[(number + 1) % len(names)],
            content_owner=names[(number + 2) % len(names)],
            site=names[(number + 3) % len(names)],
            uses="d0",
            url_id=number + 1,
        )
        for number, name in enumerate(names)
    ] + [an_asset(asset_type="datasource", asset_id="d0", asset_name=names[0], project=names[1])]


def pages_of(names: Sequence[str]) -> PageData:
    """Return pages in which every name from Tableau is hostile."""
    alert = FiringAlert("TableauAssetStale", "critical", (("asset_id", "w001"), ("asset_type", "workbook")), NOW - 60)
    return replace(some_pages(estate(names), firing=[alert], text=lambda _: names[0]), tableau_url=TABLEAU)


def harmless(name: str, number: int) -> str:
    """Return a harmless name, with as many steps in its path, and in the same order."""
    return "/".join(f"n{number:03}" if part else "" for part in name.split("/"))


@pytest.fixture(scope="module")
def names() -> Sequence[str]:
    """Five hundred names."""
    return hostile_names(COUNT)


def parsed(visitor: Visitor, pages: PageData, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return Chromium's result of these pages."""
    app = application(FakeEndpoint(pages_shown=pages))
    # Playwright has an event loop of its own in this thread.
    with ThreadPoolExecutor(1) as pool:
        answers = list(pool.map(lambda path: ask(app, "GET", path), paths))
    assert {answer.status for answer in answers} == {200}
    found: list[dict[str, Any]] = visitor.page.evaluate(PARSED, [answer.body.decode() for answer in answers])
    return found


@pytest.mark.attack("markup")
def test_listed(visitor: Visitor, names: Sequence[str]) -> None:
    """As names of workbooks, projects and owners in the table, all are text: no element or attribute more than else."""
    path = "/assets?rows=500&sort=name&type=workbook"
    (bad,) = parsed(visitor, pages_of(names), [path])
    (good,) = parsed(visitor, pages_of([harmless(name, number) for number, name in enumerate(names)]), [path])
    assert sorted(bad["rows"]) == sorted(names)
    assert sorted(bad["projects"]) == sorted(names)
    assert sorted(bad["owners"]) == sorted(names)
    assert sorted(set(bad["structure"])) == sorted(set(good["structure"]))
    assert sorted(bad["structure"]) == sorted(good["structure"])
    assert all(_stays(address) for address in bad["addresses"])


@pytest.mark.attack("markup")
def test_details(visitor: Visitor, names: Sequence[str]) -> None:
    """As the names of an asset's own page, its project, owner and data source, all are text."""
    paths = [f"/assets/workbook/w{number:03}" for number in range(COUNT)]
    plain = [harmless(name, number) for number, name in enumerate(names)]
    bad, good = parsed(visitor, pages_of(names), paths), parsed(visitor, pages_of(plain), paths)
    for number, (one, other) in enumerate(zip(bad, good, strict=True)):
        assert one["headings"] == [names[number]]
        assert names[(number + 1) % COUNT] in one["descriptions"]
        assert names[(number + 2) % COUNT] in one["descriptions"]
        assert one["structure"] == other["structure"], names[number]
        assert all(_stays(address) for address in one["addresses"])


@pytest.mark.attack("markup")
@pytest.mark.parametrize("what", ["most", "views"])
def test_used(visitor: Visitor, names: Sequence[str], what: str) -> None:
    """As names of workbooks and views that are opened, all are text."""
    paths = [f"/usage?list={what}&page={page + 1}" for page in range(COUNT // 50)]
    plain = [harmless(name, number) for number, name in enumerate(names)]
    bad, good = parsed(visitor, pages_of(names), paths), parsed(visitor, pages_of(plain), paths)
    rendered = [name for page in bad for name in page["rows"] if not name.startswith("2026-")]
    assert sorted(rendered) == sorted(names)
    if what == "views":
        assert sorted(name for page in bad for name in page["workbooks"]) == sorted(names)
    for one, other in zip(bad, good, strict=True):
        assert sorted(one["structure"]) == sorted(other["structure"])


@pytest.mark.attack("markup")
def test_unused(visitor: Visitor, names: Sequence[str]) -> None:
    """As names of unused content, its project and its owner, all are text."""
    paths = [f"/usage?list=unused30&page={page + 1}" for page in range(COUNT // 50)]
    plain = [harmless(name, number) for number, name in enumerate(names)]
    bad, good = parsed(visitor, pages_of(names), paths), parsed(visitor, pages_of(plain), paths)
    rendered = [name for page in bad for name in page["rows"] if not name.startswith("2026-")]
    # Three were opened within 30 days; the data source has the name of the first.
    assert sorted(rendered) == sorted([names[0], *names[3:]])
    for cell, first in (("projects", 4), ("owners", 5)):
        assert set(names[first:]) <= {text for page in bad for text in page[cell]}
    for one, other in zip(bad, good, strict=True):
        assert one["structure"] == other["structure"]


@pytest.mark.attack("markup")
def test_nothing_runs(visitor: Visitor, endpoint: FakeEndpoint, names: Sequence[str]) -> None:
    """Opened for real, typed into the search and sent back, they run nothing, and no policy had to forbid it."""
    endpoint.pages_shown = pages_of(names)
    for path in ("/", "/assets?rows=500", "/usage", "/usage?list=views", "/assets/datasource/d0"):
        visitor.go(path)
        assert visitor.page.evaluate("window.ran") is None
    for name in names[:5]:
        visitor.go("/assets")
        # A search takes eight words.
        visitor.page.get_by_label("Search").fill(" ".join(name.split()[:8]))
        visitor.page.get_by_label("Owner").fill(name)
        visitor.show()
        assert visitor.page.get_by_label("Owner").input_value() == name
        assert visitor.page.evaluate("window.ran") is None


def _stays(address: str) -> bool:
    """Return whether an address leads to a path of the agent, within the page, or to an asset's page in Tableau."""
    way = re.match(r"(?:\./|(?:\.\./)+)", address)
    of_tableau = re.fullmatch(
        rf"{re.escape(TABLEAU)}/#/site/[\w.~%-]+/(?:workbook|datasource)s/[0-9]+", address, re.ASCII
    )
    stays = way is not None and not address[way.end() :].startswith(("/", "\\"))
    return address.startswith("#") or stays or of_tableau is not None
