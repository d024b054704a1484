"""A user of the pages in a real browser, and everything that the browser complained of meanwhile."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, ViewportSize

DESKTOP, PHONE = ViewportSize(width=1366, height=900), ViewportSize(width=360, height=740)

# The elements of a page in order, each with the names of its attributes.
STRUCTURE = "root => [...root.querySelectorAll('*')].map(e => [e.tagName, ...e.getAttributeNames().sort()].join(' '))"
_LISTEN = """
    window.violations = [];
    document.addEventListener('securitypolicyviolation', e => window.violations.push(e.violatedDirective));
"""


class Visitor:
    """One user with one page; ``is_content`` asserts that the browser reported no fault."""

    def __init__(
        self,
        browser: Browser,
        base: str,
        scheme: Literal["light", "dark"] = "light",
        viewport: ViewportSize = DESKTOP,
        *,
        scripts: bool = True,
        timezone: str = "UTC",
    ) -> None:
        self._context = browser.new_context(
            base_url=base,
            color_scheme=scheme,
            viewport=viewport,
            java_script_enabled=scripts,
            timezone_id=timezone,
        )
        self._base = base
        self._scripts = scripts
        self.complaints: list[str] = []
        self.page: Page = self._context.new_page()
        if scripts:
            self.page.add_init_script(_LISTEN)
        self.page.on("console", self._hear)
        self.page.on("request", self._notice)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def go(self, path: str, status: int = 200) -> Response:
        """Open a page."""
        self._collect()
        response = self.page.goto(path)
        assert response is not None
        assert response.status == status
        return response

    def show(self) -> None:
        """Send the form, and wait for the page that it leads to."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Show").click()

    def names(self) -> list[str]:
        """Return the names of the assets that are listed, in order."""
        self.page.wait_for_load_state()
        return self.page.locator("tbody th[scope=row]").all_inner_texts()

    def structure(self) -> Any:  # noqa: ANN401 - what a script returns
        """Return the elements of the page and the names of their attributes."""
        return self.page.evaluate(f"({STRUCTURE})(document)")

    def accessibility_faults(self) -> Sequence[str]:
        """Return axe's findings, a line each."""
        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        return [f"{item['id']}: {[node['html'][:200] for node in item['nodes'][:3]]}" for item in found]

    def is_content(self) -> None:
        """Assert that the browser had nothing to complain of."""
        self._collect()
        assert self.complaints == []

    def _collect(self) -> None:
        if self._scripts and self.page.url.startswith(self._base):
            self.complaints += self.page.evaluate("window.violations")

    def _hear(self, message: ConsoleMessage) -> None:
        # A page of status 400 is logged by the browser as a resource that could not be loaded.
        if message.type in {"error", "warning"} and "the server responded with a status of 4" not in message.text:
            self.complaints.append(message.text)

    def _notice(self, request: Request) -> None:
        if not request.url.startswith(f"{self._base}/"):
            self.complaints.append(f"asked elsewhere: {request.url}")
