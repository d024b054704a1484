"""The pictures of the documentation: made by ``PICTURES=true pytest tests/web/test_pictures.py``, not on every run."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize

from exporter.status import Status
from tests.web.browsing import PHONE, Visitor
from tests.web.fake_endpoint import NOW, FakeEndpoint, a_status
from tests.web.page_fixtures import some_pages
from tests.web.test_in_chromium import FIRING, LESS


def a_healthy_status() -> Status:
    """Return the status of an agent that has nothing to complain of."""
    status = a_status()
    return replace(
        status,
        sources=tuple(
            replace(one, up=True, tried_at=NOW - 12, answered_at=NOW - 12, error=None) for one in status.sources
        ),
        collectors=status.collectors[:1],
        polls=status.polls[:1],
        config_error=None,
        freshness_sources=tuple(replace(one, read_at=NOW - 12) for one in status.freshness_sources),
    )


PAGES = {"status": "/", "assets": "/assets", "asset": "/assets/workbook/w-2", "usage": "/usage"}
ALERTS = [
    replace(alert, runbook_url=f"https://wiki.example.com/tableau/runbooks/{alert.name}.md") for alert in (FIRING, LESS)
]
LONG_PHONE: ViewportSize = {**PHONE, "height": 1400}
LARGEST = 200_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_pictures(
    browser: Browser,
    served: str,
    endpoint: FakeEndpoint,
    images: Path,
    tmp_path: Path,
    name: str,
    scheme: Literal["light", "dark"],
) -> None:
    """Each page has a picture in light and in dark that is small enough for a repository."""
    endpoint.pages_shown = some_pages(firing=ALERTS)
    endpoint.rendered = a_healthy_status()
    folder = images if os.environ.get("PICTURES") == "true" else tmp_path
    with Visitor(browser, served, scheme, {"width": 1280, "height": 860}) as visitor:
        visitor.go(PAGES[name])
        picture = folder / f"{name}-{scheme}.png"
        visitor.page.screenshot(path=picture)
        assert 10_000 < picture.stat().st_size < LARGEST


def test_picture_of_a_phone(
    browser: Browser, served: str, endpoint: FakeEndpoint, images: Path, tmp_path: Path
) -> None:
    """So has the table of assets on a telephone."""
    endpoint.rendered = a_healthy_status()
    folder = images if os.environ.get("PICTURES") == "true" else tmp_path
    with Visitor(browser, served, "light", LONG_PHONE) as visitor:
        visitor.go("/assets?q=finance")
        picture = folder / "assets-phone.png"
        visitor.page.screenshot(path=picture)
        assert 10_000 < picture.stat().st_size < LARGEST
