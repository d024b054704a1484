"""Every page can be read on every screen and on paper, whatever the names: no text over another, nothing cut."""

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from exporter.collectors.assets.status import STATUSES
from exporter.pagedata.builder import PageData
from exporter.status import FiringAlert, Status
from tests.web.browsing import Visitor
from tests.web.fake_endpoint import NOW, FakeEndpoint, a_status
from tests.web.hostile import hostile_names
from tests.web.layout import layout_faults, unfold
from tests.web.page_fixtures import AT, an_asset, an_estate, some_pages
from tests.web.test_in_chromium import EVERY_PAGE

WIDTHS = (360, 390, 768, 1024, 1153, 1440)
"""Of screens; at 1153 pixels a table is at its narrowest, below that each row is a block."""
PAPER = (360, 718, 1047)
"""In CSS pixels: a small sheet, and what A4 has between its margins, upright and lying."""
PAGES = {
    **EVERY_PAGE,
    "alert": "/assets?alert=TableauAssetRefreshUnusuallyLate+critical",
    "all-views": "/usage?list=views",
    "gone": "/assets/workbook/gone",
}
# Words of ordinary length that stand on two lines; longer ones may have to be broken.
_BROKEN_WORDS = r"""() => {
    const broken = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.parentElement.closest('svg')) continue;
        for (const word of node.data.matchAll(/(?<![\p{L}\p{N}])[\p{L}\p{N}]{2,24}(?![\p{L}\p{N}])/gu)) {
            const range = document.createRange();
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const boxes = [...range.getClientRects()].filter(box => box.width > 0.5);
            if (new Set(boxes.map(box => Math.round(box.top))).size > 1) broken.push(word[0]);
        }
    }
    return broken;
}"""
_ADD_RULE = "rule => (sheet => sheet.insertRule(rule, sheet.cssRules.length))(document.styleSheets[1])"
UNBROKEN, WORDS = "Wm" * 150, "Regional revenue and margin by month, restated " * 6
NAMES = ("Sales", UNBROKEN, WORDS.strip(), "销售额" * 90, "مبيعات المنطقة " * 18, *hostile_names(14))
# Hours of each status under 12 and 24 hours; None is Unknown, and live assets have none.
AGES = (3.0, 13.0, 12_345.6, None)


def long_pages() -> PageData:
    """Return pages in which every text is long or hostile, with assets of every status and alerts of every kind."""
    estate = [
        an_asset(
            asset_id=f"w-{number}",
            asset_name=name,
            site=NAMES[number - 1],
            project=f"{NAMES[number - 2]}/{NAMES[number - 3]}",
            content_owner=NAMES[number - 4],
            last_refresh_at=None if (age := AGES[number % 4]) is None else AT - timedelta(hours=age),
            freshness_source=None if age is None else "metadata",
            consecutive_failures=1_234_567 if number % 2 else None,
            uses="d-1",
            url_id=number + 1,
        )
        for number, name in enumerate(NAMES)
    ]
    estate += [
        an_asset(asset_type="datasource", asset_id="d-1", asset_name=UNBROKEN, project=UNBROKEN),
        an_asset(asset_id="w-live", asset_name=WORDS, connection="live", last_refresh_at=None, freshness_source=None),
        an_asset(asset_type="flow", asset_id="f-1", asset_name="", project=None, content_owner=None),
    ]
    firing = [
        FiringAlert(name, severity, (("asset_id", "w-2"), ("asset_type", "workbook")), NOW - 3600, "https://wiki/x.md")
        for name in ("TableauAssetStale", "TableauAssetRefreshUnusuallyLate", UNBROKEN)
        for severity in ("critical", "warning", "info")
    ]
    return replace(
        some_pages(estate, firing=firing, text=lambda _: UNBROKEN), tableau_url="https://tableau.example.com"
    )


def a_long_status() -> Status:
    """Return a status with long errors, addresses and notes."""
    status = a_status()
    return replace(
        status,
        sources=tuple(replace(one, address=f"https://{UNBROKEN}", error=WORDS) for one in status.sources),
        collectors=tuple(replace(one, error=UNBROKEN, note=WORDS) for one in status.collectors),
        polls=tuple(replace(one, error=WORDS + UNBROKEN) for one in status.polls),
        archive=replace(status.archive, path=f"/{UNBROKEN}", incidents=((UNBROKEN, 1), ("truncated", 10**9))),
        freshness_sources=tuple(replace(one, site=UNBROKEN) for one in status.freshness_sources),
        config_file=f"/{UNBROKEN}",
        config_error=WORDS + UNBROKEN,
    )


def everywhere(page: Page) -> list[str]:
    """Return the faults of a page at every width, on screens and on paper."""
    unfold(page)
    found = []
    for media, widths in (("screen", WIDTHS), ("print", PAPER)):
        page.emulate_media(media="print" if media == "print" else "screen")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            faults = layout_faults(page, is_print=media == "print")
            found += [f"{media} {width}: {fault}" for fault in faults]
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("names", ["usual", "long"])
@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_readable(
    browser: Browser,
    served: str,
    endpoint: FakeEndpoint,
    path: str,
    names: str,
    scheme: Literal["light", "dark"],
) -> None:
    """No text stands over another or is cut, and no page is wider than its screen or its paper."""
    if names == "long":
        endpoint.pages_shown, endpoint.rendered = long_pages(), a_long_status()
    with Visitor(browser, served, scheme) as visitor:
        visitor.page.goto(path)
        assert everywhere(visitor.page) == []


def broken_words(page: Page) -> list[str]:
    """Return the words that stand on two lines, on screens of each width."""
    found = list[str]()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found += [f"{width}: {word}" for word in page.evaluate(_BROKEN_WORDS)]
    return found


@pytest.mark.parametrize("path", ["/", "/assets", "/assets/workbook/w-2", "/usage"])
def test_no_word_is_broken(visitor: Visitor, path: str) -> None:
    """A line ends between two words, on a screen of any width."""
    visitor.page.goto(path)
    assert broken_words(visitor.page) == []


def test_a_broken_word_is_noticed(visitor: Visitor) -> None:
    """A column that is too narrow for its words is a fault."""
    visitor.page.goto("/assets")
    visitor.page.evaluate(_ADD_RULE, "td { word-break: break-all }")
    assert broken_words(visitor.page)


def test_every_status_is_measured() -> None:
    """The assets that are measured have every status that there is."""
    for pages in (some_pages(an_estate()), long_pages()):
        assert pages.assets is not None
        counts = pages.assets.at(NOW).counts()
        assert set(counts) == set(STATUSES)
        assert all(counts.values())


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (".assets td { padding-left: 0.6rem }", '"Type" and "workbook" overlap'),
        ("main > h1 { margin-bottom: -2rem }", '"Assets" and "The source rest is down'),
        (".listing { width: 200vw }", "the page is 792 wide, the screen 390"),
        (".filters { grid-template-columns: 5rem }", '"ascending" is cut in order'),
        (".assets { width: 200vw }", "SECTION.scrolls is cut at its side"),
        (".listing p { width: 1rem; white-space: nowrap }", "leaves its P"),
        (".listing p { height: 1rem; overflow: hidden }", "P. is cut below"),
    ],
)
def test_what_cannot_be_read_is_noticed(visitor: Visitor, rule: str, fault: str) -> None:
    """A rule that prints labels over values, or cuts or moves a text, is a fault on a telephone."""
    visitor.page.set_viewport_size({"width": 390, "height": 900})
    visitor.go("/assets")
    visitor.page.evaluate(_ADD_RULE, rule)
    assert any(fault in found for found in layout_faults(visitor.page))
