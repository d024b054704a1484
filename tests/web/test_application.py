"""The routes: the answer, access and headers of each."""

import pytest
from starlette.applications import Starlette

from exporter.errors import ConfigurationError, Fault
from exporter.web.application import application
from tests.web.fake_endpoint import FakeEndpoint, ask

PAGES = ["/", "/assets", "/usage", "/assets/workbook/none", "/assets?page=x"]
PATHS = [*PAGES, "/metrics", "/-/healthy", "/-/ready", "/static/status.css", "/static/icon.svg", "/nowhere"]


@pytest.fixture
def endpoint() -> FakeEndpoint:
    """Return an endpoint that a test can change."""
    return FakeEndpoint()


@pytest.fixture
def app(endpoint: FakeEndpoint) -> Starlette:
    """Return an application without users."""
    return application(endpoint)


@pytest.mark.parametrize(
    ("headers", "attribute", "content_type", "encoding"),
    [
        ({}, "text", "text/plain; version=0.0.4; charset=utf-8", None),
        ({"Accept-Encoding": "gzip"}, "text_gzip", "text/plain; version=0.0.4; charset=utf-8", "gzip"),
        (
            {"Accept": "application/openmetrics-text"},
            "openmetrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            None,
        ),
        (
            {"Accept": "application/openmetrics-text", "Accept-Encoding": "gzip"},
            "openmetrics_gzip",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "gzip",
        ),
    ],
)
def test_metrics_are_the_bytes_rendered_ahead(
    app: Starlette,
    endpoint: FakeEndpoint,
    headers: dict[str, str],
    attribute: str,
    content_type: str,
    encoding: str | None,
) -> None:
    """Each format and compression is one rendering, sent byte for byte with its own headers."""
    answer = ask(app, "GET", "/metrics", headers)
    assert answer.body == getattr(endpoint.rendering, attribute)
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("path", PATHS)
def test_head_answers_like_get_without_a_body(app: Starlette, path: str) -> None:
    """HEAD has the status and the headers of GET, the length of the body that GET would have, and none itself."""
    get, head = ask(app, "GET", path), ask(app, "HEAD", path)
    assert (head.status, head.headers) == (get.status, get.headers)
    assert head.headers["Content-Length"] == str(len(get.body))
    assert head.body == b""


def test_healthy_says_that_the_agent_runs(app: Starlette) -> None:
    """/-/healthy is 200 as long as anything answers."""
    assert ask(app, "GET", "/-/healthy").status == 200


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_ready_follows_the_endpoint(app: Starlette, endpoint: FakeEndpoint, is_ready: bool, status: int) -> None:
    """/-/ready is 200 when the endpoint is ready and 503 before."""
    endpoint.is_ready = is_ready
    assert ask(app, "GET", "/-/ready").status == status


def test_reload_reloads(app: Starlette, endpoint: FakeEndpoint) -> None:
    """A POST to /-/reload reloads once and answers so."""
    assert ask(app, "POST", "/-/reload").status == 200
    assert endpoint.reloads == 1


def test_reload_names_every_fault_on_its_own_line(app: Starlette, endpoint: FakeEndpoint) -> None:
    """A configuration with faults is answered with 400 and one line a fault, whatever a fault contains."""
    endpoint.fault = ConfigurationError([Fault("web.port", "is no\nnumber"), Fault("", "no source \udcff")])
    answer = ask(app, "POST", "/-/reload")
    assert (answer.status, answer.body) == (400, b"web.port: is no number\nno source ?\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.attack("other sites")
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.test"},
        {"Origin": "http://evil.test"},
        {"Origin": "http://agent.test:81"},
        {"Origin": "http://agent.test.evil.test"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[agent.test"},
    ],
)
def test_no_other_site_can_order_a_reload(app: Starlette, endpoint: FakeEndpoint, headers: dict[str, str]) -> None:
    """A POST that a browser sends on behalf of another origin is refused and does nothing."""
    assert ask(app, "POST", "/-/reload", headers).status == 403
    assert endpoint.reloads == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://agent.test"},
        {"Origin": "http://AGENT.test"},
    ],
)
def test_tools_and_the_own_origin_can_order_a_reload(app: Starlette, headers: dict[str, str]) -> None:
    """A POST from a tool that is no browser, or from the agent's own origin, is obeyed."""
    assert ask(app, "POST", "/-/reload", headers).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/-/reload", {"POST"}),
        ("HEAD", "/-/reload", {"POST"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("DELETE", "/-/healthy", {"GET", "HEAD"}),
        ("OPTIONS", "/-/ready", {"GET", "HEAD"}),
    ],
)
def test_other_methods_are_refused(
    app: Starlette, endpoint: FakeEndpoint, method: str, path: str, allowed: set[str]
) -> None:
    """A method that a path does not know is answered with 405 and the ones it does."""
    answer = ask(app, method, path)
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert endpoint.reloads == 0


@pytest.mark.parametrize(
    "path", ["/nowhere", "/metrics/", "/static/", "/static/nothing.css", "/static/..%2fapplication.py", "/-/", "//"]
)
def test_other_paths_are_not_found(app: Starlette, path: str) -> None:
    """A path that is no route is answered with a plain 404 and never with a redirection."""
    answer = ask(app, "GET", path)
    assert (answer.status, answer.body) == (404, b"Not Found")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_defect_shows_nothing_of_itself(app: Starlette, endpoint: FakeEndpoint) -> None:
    """An unexpected error is a plain 500 without details."""
    endpoint.defect = RuntimeError("canary")
    answer = ask(app, "GET", "/metrics")
    assert (answer.status, answer.body) == (500, b"Internal Server Error\n")


COLLECTORS = {"assets": True, "users": True, "views": False}


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("", None),
        ("?name[]=tableau_up", None),
        ("?collect[]=users", {"users"}),
        ("?collect%5B%5D=users&collect[]=assets&collect[]=users", {"users", "assets"}),
        ("?exclude[]=users", {"assets"}),
        ("?exclude[]=views&exclude[]=nothing&exclude[]=", {"assets", "users"}),
        ("?exclude[]=users&exclude[]=assets", set()),
    ],
)
def test_metrics_of_some_collectors(query: str, chosen: set[str] | None) -> None:
    """collect[] names the collectors that are served, exclude[] those of the enabled ones that are not."""
    endpoint = FakeEndpoint(collectors_known=COLLECTORS)
    answer = ask(application(endpoint), "GET", f"/metrics{query}")
    assert (answer.status, answer.body) == (200, endpoint.rendering.text)
    assert endpoint.rendering.asked_of == ([] if chosen is None else [chosen])


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("collect[]=users&exclude[]=assets", "collect[] and exclude[] cannot be combined; give one of the two."),
        ("collect[]=nothing", "There is no collector “nothing”; there are assets, users, views."),
        ("collect[]=users&collect[]=", "There is no collector “”; there are assets, users, views."),
        ("collect[]=views", "The collector views is disabled."),
        ("collect[]=" + "x" * 9_000, f"There is no collector “{'x' * 40}…”; there are assets, users, views."),
    ],
    ids=["both", "unknown", "empty", "disabled", "long"],
)
def test_a_wrong_choice_of_collectors_is_refused(query: str, line: str) -> None:
    """A selection that cannot be served is answered with 400 and one line with the reason."""
    endpoint = FakeEndpoint(collectors_known=COLLECTORS)
    answer = ask(application(endpoint), "GET", f"/metrics?{query}", {"Accept": "application/openmetrics-text"})
    assert (answer.status, answer.body.decode()) == (400, f"{line}\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
