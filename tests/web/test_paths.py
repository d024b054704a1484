"""The paths that the agent answers: the metrics' own, and those below a prefix."""

import re

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from exporter.config.addresses import PAGES
from exporter.web.application import application
from exporter.web.passwords import Passwords
from exporter.web.web_config import Access
from tests.web.fake_endpoint import FakeEndpoint, ask

HASH = "$2b$04$ddddddddddddddddddddddO0m7TcM5vlrmrcSOeYNNPBpjrLXEb9C"


@pytest.fixture
def below() -> Starlette:
    """Return an application below a prefix, with another path of the metrics."""
    return application(FakeEndpoint(), telemetry_path="/scrape/tableau", route_prefix="/one/two")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/one/two/", 200),
        ("/one/two/scrape/tableau", 200),
        ("/one/two/metrics", 404),
        ("/one/two/-/healthy", 200),
        ("/one/two/static/status.css", 200),
        ("/one/two/assets/workbook/a%2Fb", 404),
        ("/-/healthy", 404),
        ("/one/twofold", 404),
        ("/one%2Ftwo/-/healthy", 404),
    ],
)
def test_every_path_is_below_the_prefix(below: Starlette, path: str, status: int) -> None:
    """With a prefix nothing answers beside it, and the metrics are at their own path below it."""
    assert ask(below, "GET", path).status == status


@pytest.mark.parametrize("path", ["/", "/one/two"])
def test_the_root_leads_to_the_prefix(below: Starlette, path: str) -> None:
    """Who opens the port finds the status page."""
    answer = ask(below, "GET", path)
    assert (answer.status, answer.headers["Location"]) == (302, "/one/two/")


def test_links_of_pages_respect_the_prefix() -> None:
    """A page is the same, byte for byte, with and without a prefix: its links are relative to itself."""
    pages = ("/", "/assets", "/assets/workbook/a%2Fb", "/usage?page=x")
    plain, below = application(FakeEndpoint()), application(FakeEndpoint(), route_prefix="/one/two")
    for page in pages:
        assert ask(plain, "GET", page).body == ask(below, "GET", f"/one/two{page}").body
    assert not re.search(rb'(?:href|src)="/', ask(below, "GET", "/one/two/assets").body)


@pytest.mark.parametrize("path", ["/one/two/", "/one/two/assets/workbook/x"])
def test_pages_link_to_the_metrics(below: Starlette, path: str) -> None:
    """The footer has the path of the metrics as it is configured."""
    root = "./" if path == "/one/two/" else "../../"
    assert f'<a href="{root}scrape/tableau">/scrape/tableau</a>' in ask(below, "GET", path).body.decode()


def test_metrics_may_replace_the_status_page() -> None:
    """As in other exporters the root may be the path of the metrics."""
    app = application(FakeEndpoint(), telemetry_path="/")
    assert ask(app, "GET", "/").body == FakeEndpoint().rendering.text
    assert ask(app, "GET", "/metrics").status == 404


def test_users_are_demanded_before_a_path_is_known() -> None:
    """Without a password no answer differs by its path."""
    app = application(FakeEndpoint(), Access(passwords=Passwords({"me": HASH})), route_prefix="/one")
    assert {ask(app, "GET", path).status for path in ("/", "/one", "/one/", "/nowhere")} == {401}


def test_no_page_can_be_the_path_of_the_metrics() -> None:
    """The configuration refuses exactly the paths that the application has."""
    routes = [route.path for route in application(FakeEndpoint()).routes if isinstance(route, Route)]
    assert {re.split(r"[/.]", path)[1] for path in routes} - {"", "metrics"} == PAGES
