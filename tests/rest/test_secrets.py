"""No secret is in a line, in a log of any level, or in the repr of an object."""

import base64
import html
import json
import logging
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from exporter.errors import ExporterError
from exporter.rest.credentials import ConnectedApp, RestOptions, Token
from exporter.rest.errors import Redactor
from tests.rest.conftest import RestHarness
from tests.rest.tableau import HTML, Answer, Override, ReceivedRequest, at, error

CANARY = "canary-of-the-token/+= &"
APP = ConnectedApp("client", "secret-id", "canary-of-the-secret, which is long enough", "anna@example.com")


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every logger at its loudest."""
    caplog.set_level(logging.DEBUG)
    for name in ("TSC", "urllib3", "ServerInfo", "exporter"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


def echo(received: ReceivedRequest) -> Answer | None:
    """Send back everything that came, as an error."""
    everything = f"{received.body.decode()} {received.headers}".replace("<", "&lt;").replace('"', "&quot;")
    return error(400, "400000", everything.replace("&l", "&amp;l") if "<x" in everything else _plain(everything))


def _plain(text: str) -> str:
    return text.replace("& ", "&amp; ").replace('&"', '&amp;"')


def on(part: str, override: Override) -> Override:
    """Do something only where the path has this part."""
    return lambda received: override(received) if part in received.path else None


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("credentials", [Token("agent", CANARY), APP])
@pytest.mark.parametrize(
    "misbehaviour",
    [
        at("nowhere", Answer()),
        on("/auth/signin", echo),
        on("/workbooks", echo),
        on("/graphql", echo),
        on("/tasks", echo),
        on("/auth/signin", lambda received: Answer(received.body, 401)),
        on("/auth/signin", lambda received: Answer(received.body)),
        on("/workbooks", lambda received: Answer(str(received.headers), 418)),
        on("/workbooks", lambda received: Answer(str(received.headers), 500)),
        on(
            "/workbooks",
            lambda received: Answer(status=302, headers={"Location": f"http://x/{received.headers}"[:200]}),
        ),
        at("/auth/signin", error(401, "401001")),
        at("/serverInfo", Answer(HTML)),
    ],
)
def test_no_secret_is_seen(
    harness: RestHarness,
    loud: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    credentials: Token | ConnectedApp,
    misbehaviour: Override,
) -> None:
    """Whatever Tableau sends back, and however it fails: no secret, nothing signed, no session."""
    harness.tableau.tokens["agent"] = CANARY
    rest = harness.rest(credentials=lambda: credentials)
    output: list[str] = []
    with harness.tableau.doing(misbehaviour):
        for _ in range(2):
            try:
                output += [
                    f"{one.error} {one.inventory and one.inventory.notes}" for one in harness.poll(rest).values()
                ]
            except ExporterError as failure:
                output += [str(failure), repr(failure), repr(failure.__cause__)]
    output += [
        repr(rest),
        repr(rest.token_stats),
        repr(credentials),
        repr(RestOptions("http://x", (), lambda: credentials)),
    ]
    rest.close()
    output += [record.getMessage() + str(record.exc_text) for record in loud.records]
    text = "\n".join([*output, *capsys.readouterr()])
    signed = [
        part
        for received in harness.tableau.received
        for part in received.body.decode().split('"')
        if part.startswith("eyJ")
    ]
    for secret in (CANARY, "canary-of-the-token", APP.secret_value, "canary-of-the-secret", "session-", *signed):
        assert secret not in text


def test_credentials_do_not_print_their_secret() -> None:
    """The repr of the credentials has no secret."""
    assert "canary" not in repr(Token("agent", CANARY)) + repr(APP)


def test_a_short_secret_hides_no_other_word() -> None:
    """A token of two letters is hidden, and the words that it is part of can be read."""
    secrets = Redactor()
    secrets.add("ro")
    assert secrets.redact("rows of ro from another group: ro") == "rows of <secret> from another group: <secret>"


def test_a_text_is_redacted_with_what_is_known_now() -> None:
    """A text that was redacted a moment ago is redacted anew when another secret is known, or one is forgotten."""
    secrets = Redactor()
    assert secrets.redact("canary of the session") == "canary of the session"
    secrets.add("canary of the")
    assert secrets.redact("canary of the session") == "<secret> session"
    assert secrets.redact("another text") == "another text"
    secrets.keep_only("the session")
    assert secrets.redact("canary of the session") == "canary of <secret>"


def echo_as_host(received: ReceivedRequest) -> Answer | None:
    """Send us to a host that is called as the secret is."""
    (value,) = re.findall('personalAccessTokenSecret="([^"]*)"', received.body.decode())
    return Answer(status=302, headers={"Location": f"http://{value}/"})


@pytest.mark.attack("secrets")
def test_a_redirect_to_a_host_called_as_the_secret(harness: RestHarness) -> None:
    """A redirect that is not followed is refused without the name of its host, which would be in small letters."""
    harness.tableau.tokens["agent"] = "Canary-of-a-host"
    rest = harness.rest(credentials=lambda: Token("agent", "Canary-of-a-host"))
    with harness.tableau.doing(on("/auth/signin", echo_as_host)):
        with pytest.raises(ExporterError, match="redirect to an address that quotes a secret") as refused:
            harness.poll(rest)
        assert "canary" not in str(refused.value).casefold()


FORMS: dict[str, Callable[[str], str]] = {
    "html": html.escape,
    "percent": lambda text: quote(text, safe=""),
    "percent in lower case": lambda text: quote(text, safe="").lower(),
    "json": lambda text: json.dumps(text)[1:-1],
    "repr": lambda text: repr(text)[1:-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of a pair": lambda text: base64.b64encode(f"me:{text}".encode()).decode(),
    "in a URL": lambda text: f"http://x/{text}",
    "in base64 in a URL": lambda text: f"http://x/?{base64.b64encode(text.encode()).decode()}",
}


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_secret_is_seen_in_another_guise(form: Callable[[str], str]) -> None:
    """A token that is quoted escaped, or in a URL that is cut at a character of the token, is not seen in part."""
    secrets, token = Redactor(), "first-half?\"'\\&#/<é@second-half"
    secrets.add(token)
    line = secrets.redact(f"refused: {form(token)}")
    assert not {part for part in ("first", "second", base64.b64encode(b"first-half").decode()[:12]) if part in line}
