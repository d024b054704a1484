"""Users: who is let in, and what the others are told."""

import base64

import bcrypt
import pytest
from starlette.applications import Starlette

from exporter.web.access import Access
from exporter.web.application import application
from exporter.web.passwords import Passwords
from tests.web.fakes import FakeEndpoint, ask

HASHED = bcrypt.hashpw("pässword:".encode(), bcrypt.gensalt(4)).decode()


def basic(credentials: bytes) -> dict[str, str]:
    """Return the header that a client sends for these credentials."""
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}


@pytest.fixture
def endpoint() -> FakeEndpoint:
    """Return an endpoint that a test can change."""
    return FakeEndpoint()


@pytest.fixture
def app(endpoint: FakeEndpoint) -> Starlette:
    """Return an application that knows one user."""
    return application(endpoint, Access(passwords=Passwords({"prometheus": HASHED})))


PATHS = ["/", "/metrics", "/-/healthy", "/-/ready", "/static/status.css", "/nowhere"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_a_user(app: Starlette, path: str) -> None:
    """Where users are configured every path asks for one, before it tells whether it exists."""
    answer = ask(app, "GET", path)
    assert (answer.status, answer.body) == (401, b"Unauthorized\n")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="tableau-exporter", charset="UTF-8"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_a_user_sees_what_everybody_would_see(app: Starlette, endpoint: FakeEndpoint, path: str) -> None:
    """With the right password the answer is the one of an application without users."""
    admitted = ask(app, "GET", path, basic("prometheus:pässword:".encode()))
    assert admitted == ask(application(endpoint), "GET", path)


def test_a_reload_takes_a_user(app: Starlette, endpoint: FakeEndpoint) -> None:
    """Without a user nothing is reloaded."""
    assert ask(app, "POST", "/-/reload").status == 401
    assert endpoint.reloads == 0


@pytest.mark.parametrize(
    "headers",
    [
        basic(b"prometheus:wrong"),
        basic(b"prometheus:"),
        basic(b"prometheus"),
        basic(b"mallory:p\xc3\xa4ssword:"),
        basic(b"\xff\xfe:p\xc3\xa4ssword:"),
        basic(b""),
        {"Authorization": "Basic not base64!"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer " + base64.b64encode("prometheus:pässword:".encode()).decode()},
        {"Authorization": ""},
    ],
)
def test_wrong_credentials_are_refused(app: Starlette, headers: dict[str, str]) -> None:
    """Credentials that are wrong, malformed or of another scheme are answered like none."""
    assert ask(app, "GET", "/metrics", headers).status == 401


def test_an_adopted_access_is_in_force_at_once(endpoint: FakeEndpoint) -> None:
    """What a reload brings is asked for from the next request on, without a restart."""
    access = Access()
    app = application(endpoint, access)
    assert ask(app, "GET", "/metrics").status == 200
    access.adopt(Access({"X-Frame-Options": "deny"}, Passwords({"prometheus": HASHED})))
    answer = ask(app, "GET", "/metrics")
    assert (answer.status, answer.headers["X-Frame-Options"]) == (401, "deny")
