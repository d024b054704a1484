"""Times in the viewer's time zone: added by the only script of the pages, which a browser may do without."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from exporter.web.application import application
from exporter.web.server import WebServer
from tests.web.browsing import Visitor
from tests.web.fake_endpoint import FakeEndpoint
from tests.web.page_fixtures import some_pages
from tests.web.test_in_chromium import FIRING
from tests.web.test_layout import broken_words, everywhere

KOLKATA = "Asia/Kolkata"
_ADD_SCRIPT = """([name, value]) => new Promise(done => {
    const script = document.createElement('script');
    script[name] = value;
    script.onload = () => done('loaded');
    script.onerror = () => done('refused');
    document.head.append(script);
    if (name === 'textContent') done(window.ran === undefined ? 'refused' : 'loaded');
})"""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of another server, which serves the same script."""
    server = WebServer(application(FakeEndpoint()), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def beside(page: Page) -> list[str]:
    """Return each time that is followed by a local one, with that."""
    found: list[str] = page.locator(".local").evaluate_all(
        "all => all.map(local => local.previousElementSibling.textContent + local.textContent)"
    )
    return found


@pytest.mark.parametrize(
    ("timezone", "local"),
    [
        (KOLKATA, ["2026-07-27 08:00 UTC (13:30 GMT+5:30)", "2026-07-26T09:00:00Z (14:30 GMT+5:30)"]),
        ("America/New_York", ["2026-07-27 08:00 UTC (04:00 EDT)", "2026-07-26T09:00:00Z (05:00 EDT)"]),
        ("Pacific/Kiritimati", ["2026-07-27 08:00 UTC (22:00 GMT+14)", "2026-07-26T09:00:00Z (23:00 GMT+14)"]),
        (
            "Pacific/Honolulu",
            ["2026-07-27 08:00 UTC (2026-07-26 22:00 HST)", "2026-07-26T09:00:00Z (2026-07-25 23:00 HST)"],
        ),
    ],
)
def test_local_times(browser: Browser, served: str, timezone: str, local: list[str]) -> None:
    """A time in UTC is followed by the viewer's, with the day where that is another one, under the page's policy."""
    with Visitor(browser, served, timezone=timezone) as visitor:
        visitor.go("/assets/workbook/w-2")
        assert set(local) <= set(beside(visitor.page))
        visitor.is_content()


def test_local_times_of_a_long_table(browser: Browser, served: str) -> None:
    """In the tables of assets and of hours the local time is a tooltip, and the cells stay as they are."""
    with Visitor(browser, served, timezone=KOLKATA) as visitor:
        for path, text, title in (
            ("/assets?q=payroll", "2026-07-26 09:00", "2026-07-26 14:30 GMT+5:30"),
            ("/usage", "2026-07-27 10:00", "2026-07-27 15:30 GMT+5:30"),
        ):
            visitor.go(path)
            visitor.page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
            cell = visitor.page.locator("tbody time").first
            expect(cell).to_have_text(text)
            expect(cell).to_have_attribute("title", title)
            assert visitor.page.locator("tbody .local").count() == 0
        visitor.is_content()


@pytest.mark.parametrize(("timezone", "scripts"), [("UTC", True), ("Africa/Abidjan", True), (KOLKATA, False)])
def test_utc_alone(browser: Browser, served: str, timezone: str, scripts: bool) -> None:
    """Where the viewer's time is UTC, or no script runs, the pages have UTC alone."""
    with Visitor(browser, served, timezone=timezone, scripts=scripts) as visitor:
        for path in ("/", "/assets", "/assets/workbook/w-2", "/usage"):
            visitor.go(path)
            assert visitor.page.locator(".local, time[title]").count() == 0
            assert visitor.page.locator("time").count() > 1
        visitor.is_content()


@pytest.mark.parametrize("path", ["/", "/assets", "/assets/workbook/w-2", "/usage"])
def test_readable_with_local_times(browser: Browser, served: str, endpoint: FakeEndpoint, path: str) -> None:
    """With the day and a long name of a zone no text stands over another or is cut, and no word is broken."""
    endpoint.pages_shown = some_pages(firing=[FIRING])
    with Visitor(browser, served, timezone="Pacific/Niue") as visitor:
        visitor.go(path)
        assert any(" GMT-11)" in text and " (2026-" in text for text in beside(visitor.page))
        assert everywhere(visitor.page) == []
        assert broken_words(visitor.page) == []
        assert visitor.accessibility_faults() == []


def test_other_scripts_are_refused(browser: Browser, served: str, elsewhere: str) -> None:
    """A script in the page, one of another server, and any other that is not this server's, do not run."""
    with Visitor(browser, served) as visitor:
        visitor.go("/")
        page = visitor.page
        (own,) = page.locator("script").evaluate_all("all => all.map(script => script.src)")
        assert own.startswith(f"{served}/static/local_time.js?v=")
        for name, value, expected in (
            ("textContent", "window.ran = 1", "refused"),
            ("src", own.replace(served, elsewhere), "refused"),
            ("src", "data:text/javascript,window.ran=1", "refused"),
            *(("src", f"{served}{path}", "refused") for path in ("/assets.csv", "/assets.json", "/metrics", "/")),
            ("src", own, "loaded"),
        ):
            assert page.evaluate(_ADD_SCRIPT, [name, value]) == expected, value
        page.evaluate("document.body.setAttribute('onclick', 'window.ran = 1')")
        page.evaluate("document.body.click()")
        assert page.evaluate("window.ran") is None
        assert page.evaluate("window.violations") == ["script-src-elem"] * 3 + ["script-src-attr"]
