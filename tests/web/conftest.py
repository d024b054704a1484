"""A real Chromium, and the pages of an endpoint served to it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from exporter.web.application import application
from exporter.web.server import WebServer
from tests.support.components import require
from tests.web.browsing import Visitor
from tests.web.fake_endpoint import FakeEndpoint, Started
from tests.web.page_fixtures import some_pages

# It fetches nothing of its own; root has no sandbox.
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window. One for each module: while it runs, nothing else may use asyncio in this thread."""
    path = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def endpoint() -> FakeEndpoint:
    """An endpoint that a test can change, with pages of a small estate."""
    return FakeEndpoint(pages_shown=some_pages())


@pytest.fixture
def served(endpoint: FakeEndpoint) -> Iterator[str]:
    """The address at which the endpoint is served."""
    server = WebServer(application(endpoint), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def visitor(browser: Browser, served: str) -> Iterator[Visitor]:
    """A browser with a large screen and light colours; nothing was blocked, missing or requested elsewhere."""
    with Visitor(browser, served) as visitor:
        yield visitor
        visitor.is_content()


@pytest.fixture(scope="session")
def images() -> Path:
    """The folder of the pictures of the documentation."""
    return Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture
def started() -> Iterator[Started]:
    """Return a function that starts a server and returns it; all are stopped in the end."""
    with ExitStack() as servers:

        def start(server: WebServer) -> WebServer:
            server.start()
            servers.callback(server.stop)
            return server

        yield start
