"""The pages in a real browser, with a mouse, a keyboard or a telephone."""

from collections.abc import Sequence
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from exporter.pagedata.builder import PageData
from exporter.status import FiringAlert
from tests.web.browsing import DESKTOP, PHONE, Visitor
from tests.web.fake_endpoint import NOW, FakeEndpoint
from tests.web.page_fixtures import an_asset, some_pages

FIRING = FiringAlert("TableauAssetStale", "critical", (("asset_id", "w-2"), ("asset_type", "workbook")), NOW - 3600)
LESS = FiringAlert("TableauAssetStale", "warning", (("asset_id", "w-1"), ("asset_type", "workbook")), NOW - 1800)
EVERY_PAGE = {
    "status": "/",
    "assets": "/assets",
    "nothing": "/assets?q=nowhere",
    "workbook": "/assets/workbook/w-2",
    "source": "/assets/datasource/d-1",
    "usage": "/usage",
    "unused": "/usage?list=unused30",
    "views": "/usage?list=views&days=1&site=default",
    "wrong": "/assets?sort=colour",
}


def test_search(visitor: Visitor) -> None:
    """The search matches names, projects, owners and sites, in any case."""
    visitor.go("/assets")
    assert len(visitor.names()) == 11
    visitor.page.get_by_label("Search").fill("ÜBER")
    visitor.page.get_by_label("Search").press("Enter")
    assert visitor.names() == ["Überblick"]
    visitor.page.get_by_label("Search").fill("emea ada")
    visitor.show()
    assert visitor.names() == ["Payroll"]
    expect(visitor.page.locator("#found")).to_contain_text("1 to 1 of 1 asset, out of 11")
    visitor.page.get_by_role("link", name="Show all").click()
    assert len(visitor.names()) == 11


def test_filters(visitor: Visitor) -> None:
    """Site, project with those below it, status, type and owner narrow the list, alone and together."""
    visitor.go("/assets")
    visitor.page.get_by_label("Project").fill("finance")
    visitor.show()
    assert sorted(visitor.names()) == ["Costs", "Ledger", "Live view", "Payroll", "Sales", "Unheard"]
    visitor.page.get_by_label("Critical").check()
    visitor.page.get_by_label("Warning").check()
    visitor.show()
    assert visitor.names() == ["Payroll", "Costs"]
    visitor.page.get_by_label("Site").select_option("marketing")
    visitor.page.get_by_label("Owner").fill("grace")
    visitor.show()
    assert visitor.names() == ["Costs"]
    visitor.go("/assets")
    visitor.page.get_by_label("Type").select_option("flow")
    visitor.show()
    assert visitor.names() == ["Nightly"]


def test_sorting(visitor: Visitor) -> None:
    """A click on the head of a column sorts by it, a second one the other way, and the head marks the direction."""
    visitor.go("/assets")
    assert visitor.names()[:3] == ["Traffic", "Payroll", "Costs"]
    head = visitor.page.get_by_role("columnheader", name="Hours since refresh")
    expect(head).to_have_attribute("aria-sort", "none")
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert visitor.names()[:2] == ["Flights", "Orders"]
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert visitor.names()[0] == "Traffic"
    assert sorted(visitor.names()[-2:]) == ["Live view", "Unheard"]


def test_paging(visitor: Visitor, endpoint: FakeEndpoint) -> None:
    """A long list comes in pages that retain the query, each asset once."""
    endpoint.pages_shown = some_pages([an_asset(asset_id=f"w{n}", asset_name=f"Book {n:03}") for n in range(60)])
    visitor.go("/assets?rows=25&sort=name&q=book")
    seen = visitor.names()
    for rendered in ("2 of 3", "3 of 3"):
        visitor.page.get_by_role("link", name="Next").first.click()
        expect(visitor.page.locator(".pager").first).to_contain_text(f"Page {rendered}")
        seen += visitor.names()
    assert seen == [f"Book {number:03}" for number in range(60)]
    visitor.page.get_by_role("link", name="First").first.click()
    assert visitor.names()[0] == "Book 000"


def test_detail(visitor: Visitor, endpoint: FakeEndpoint) -> None:
    """An asset's page has its SLA, its data age, its owner, its failures, and its dependents."""
    endpoint.pages_shown = some_pages(firing=[FIRING])
    visitor.go("/assets?q=payroll")
    visitor.page.get_by_role("link", name="Payroll").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Payroll")
    main = visitor.page.locator("main")
    for text in ("Critical", "workbook on site default", "25", "12 hours", "24 hours", "ada", "TableauAssetStale"):
        expect(main).to_contain_text(text)
    expect(main.locator("dd", has_text="Finance/EMEA/Month End")).to_be_visible()
    read_whole = main.locator("dt", has_text="Last complete reads").locator("~ dd.more")
    expect(read_whole).to_have_text(
        ["Metadata API 2 h ago 2026-07-27 08:00 UTC", "refresh jobs 40 s ago 2026-07-27 09:59 UTC"]
    )
    assert visitor.page.locator("svg.strip rect").count() == 8
    assert visitor.page.locator("svg.strip path").count() == 1
    visitor.page.get_by_text("Table of refreshes").click()
    expect(visitor.page.locator("details td[data-label=Outcome]").nth(0)).to_have_text("success")
    visitor.page.get_by_role("link", name="Ledger").click()
    expect(main.get_by_role("list").get_by_role("link")).to_have_text(["Sales", "Costs", "Payroll"])


def test_usage(visitor: Visitor) -> None:
    """The charts have a bar and a point for each hour, and the same numbers as a table; a site is chosen by a form."""
    visitor.go("/usage")
    assert visitor.page.locator("#requests ~ div rect.bar").count() == 192
    assert visitor.page.locator("polyline.line").get_attribute("points", timeout=1000) or ""
    visitor.page.get_by_text("Table of hours").click()
    rows = visitor.page.locator("details tbody tr")
    assert rows.count() == 192
    expect(rows.first).to_contain_text("2026-07-27 10:00")
    expect(rows.first).to_contain_text("1,221")
    visitor.page.get_by_label("Site").select_option("hr")
    visitor.page.get_by_label("Days").select_option("1")
    visitor.show()
    visitor.page.get_by_text("Table of hours").click()
    assert rows.count() == 24
    expect(rows.first).to_contain_text("814")


def test_summary(visitor: Visitor, endpoint: FakeEndpoint) -> None:
    """The first page counts the assets of each status and the alerts that fire, and leads to them."""
    endpoint.pages_shown = some_pages(firing=[FIRING, LESS])
    visitor.go("/")
    expect(visitor.page.locator("main")).to_contain_text("TableauAssetStale")
    visitor.page.get_by_role("link", name="2", exact=True).click()
    assert visitor.names() == ["Traffic", "Payroll"]
    for link, names in (
        ("2 critical", ["Traffic", "Payroll"]),
        ("1 warning", ["Costs"]),
        ("1 asset with TableauAssetStale (critical)", ["Payroll"]),
        ("1 asset with TableauAssetStale (warning)", ["Costs"]),
    ):
        visitor.go("/")
        visitor.page.get_by_role("link", name=link, exact=True).click()
        assert visitor.names() == names
    expect(visitor.page.get_by_label("Alert")).to_have_value("TableauAssetStale warning")
    visitor.page.get_by_label("Alert").select_option("TableauAssetStale critical")
    visitor.show()
    assert visitor.names() == ["Payroll"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", EVERY_PAGE.values(), ids=EVERY_PAGE)
def test_accessible(
    browser: Browser, served: str, endpoint: FakeEndpoint, path: str, scheme: Literal["light", "dark"]
) -> None:
    """No page has a fault that axe finds, in light on a screen, and in dark on a telephone."""
    endpoint.pages_shown = some_pages(firing=[FIRING])
    with Visitor(browser, served, scheme, DESKTOP if scheme == "light" else PHONE) as visitor:
        visitor.go(path, 400 if "colour" in path else 200)
        assert visitor.accessibility_faults() == []
        visitor.is_content()


@pytest.mark.parametrize("path", EVERY_PAGE.values(), ids=EVERY_PAGE)
def test_phone(browser: Browser, served: str, endpoint: FakeEndpoint, path: str) -> None:
    """No page is wider than a telephone, however long its names are."""
    long = [
        an_asset(asset_id=f"w{n}", asset_name="W" * 300, project="P" * 300, content_owner="o" * 300) for n in (1, 2)
    ]
    for pages in (some_pages(), some_pages([*long, an_asset(asset_id="w-2", asset_name="x" * 300, uses="d-1")])):
        endpoint.pages_shown = pages
        with Visitor(browser, served, viewport=PHONE) as visitor:
            response = visitor.page.goto(path)
            assert response is not None
            width = visitor.page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"]


@pytest.mark.parametrize("path", ["/", "/assets", "/assets/workbook/w-2", "/usage"])
def test_keyboard(visitor: Visitor, path: str) -> None:
    """The first Tab offers to skip to the content; each focused element is marked; none traps the focus."""
    visitor.go(path)
    visitor.page.keyboard.press("Tab")
    expect(visitor.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(visitor.page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("main")).to_be_focused()
    passed = 0
    while visitor.page.evaluate("document.activeElement !== document.body") and passed < 200:
        visitor.page.keyboard.press("Tab")
        passed += 1
        rendered = visitor.page.evaluate(
            "[document.activeElement].every(e => e === document.body || getComputedStyle(e).outlineStyle !== 'none')"
        )
        assert rendered, visitor.page.evaluate("document.activeElement.outerHTML")
    assert 3 < passed < 200


def test_without_scripts(browser: Browser, served: str) -> None:
    """Everything works where scripts are switched off: forms, links, folded parts."""
    with Visitor(browser, served, scripts=False) as visitor:
        visitor.go("/assets")
        visitor.page.get_by_label("Search").fill("ledger")
        visitor.page.get_by_label("Search").press("Enter")
        assert visitor.names() == ["Ledger"]
        visitor.page.get_by_role("link", name="Ledger").click()
        visitor.page.get_by_text("Table of refreshes").click()
        expect(visitor.page.locator("details tbody tr").first).to_be_visible()
        visitor.is_content()


def test_no_page_has_a_script_of_its_own(visitor: Visitor) -> None:
    """There is nothing on any page that runs but the static script of all pages."""
    for path in EVERY_PAGE.values():
        visitor.page.goto(path)
        assert visitor.page.locator("script").count() == 1
        assert visitor.page.locator("head > script[src*='static/local_time.js?v=']:empty").count() == 1
        assert visitor.page.locator("iframe, object, embed, [style], [onclick], [onload]").count() == 0


@pytest.mark.parametrize(
    ("pages", "texts"),
    [
        (PageData(), ["is disabled"]),
        (some_pages(reported=False), ["older data is not shown", "No requests have been counted yet"]),
        (some_pages([]), ["There are no assets.", "No content was opened within 30 days."]),
    ],
    ids=["nothing watched", "nothing told", "nothing there"],
)
def test_empty(visitor: Visitor, endpoint: FakeEndpoint, pages: PageData, texts: Sequence[str]) -> None:
    """An empty page has a line with the reason."""
    endpoint.pages_shown = pages
    rendered = ""
    for path in ("/", "/assets", "/usage"):
        visitor.go(path)
        assert visitor.accessibility_faults() == []
        rendered += visitor.page.locator("main").inner_text()
    for text in texts:
        assert text in rendered
