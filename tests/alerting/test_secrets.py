"""No secret is in a line, in a log of any level, or in the repr of an object."""

import base64
import contextlib
import html
import json
import logging
import socket
import urllib.parse
from collections.abc import Callable

import pytest

from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions, Authorization
from exporter.errors import NotificationFailed
from tests.alerting.conftest import PASSWORD, alert
from tests.support.raw_server import Answer, RawServer, ReceivedRequest, raw, reply, reset

TOKEN = "canary-of-the-token/+=~"
GUISED = "s&<canary>\"é'/+ x"
PAIR = base64.b64encode(f"exporter:{PASSWORD}".encode()).decode()


def echo(status: int, quoted: str = "{}") -> Answer:
    """Send back everything that came, as text or inside something."""

    def answer(connection: socket.socket, received: ReceivedRequest) -> None:
        kind, _, proof = received.headers["authorization"].partition(" ")
        known = f"{received.headers} {base64.b64decode(proof).decode() if kind == 'Basic' else proof}"
        reply(status, quoted.format(known))(connection, received)

    return answer


def echo_first(connection: socket.socket, received: ReceivedRequest) -> None:
    """Send back the credentials in the place of the status."""
    connection.sendall(f"{received.headers.get('authorization')}\r\n\r\n".encode())


def echo_location(connection: socket.socket, received: ReceivedRequest) -> None:
    """Send us to a host that is called as the secret is."""
    proof = received.headers["authorization"].rpartition(" ")[2]
    reply(307, Location=f"http://{proof}/")(connection, received)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("authorization", [("exporter", PASSWORD), TOKEN])
@pytest.mark.parametrize(
    "answer",
    [
        reply(401),
        echo(401),
        echo(400),
        echo(413),
        echo(418),
        echo(503),
        echo(200),
        echo(400, '{{"message": "{}"}}'),
        echo(200, '{{"versionInfo": {{"version": "{}"}}}}'),
        echo_first,
        echo_location,
        reset(b"HTTP/1.1"),
        raw(b"nothing of the kind"),
    ],
)
def test_no_secret_is_seen(
    authorization: Authorization,
    answer: Answer,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever is sent back, and however it fails: no password, no token, nothing that they can be read from."""
    caplog.set_level(logging.INFO)
    output = []
    with RawServer(answer) as untrusted:
        login = AlertmanagerOptions(untrusted.url, lambda: authorization)
        alertmanager = Alertmanager(login)
        for act in (alertmanager.version, lambda: alertmanager.send([alert()])):
            try:
                output.append(repr(act()))
            except NotificationFailed as error:
                output += [str(error), repr(error), repr(error.__cause__)]
        assert untrusted.received[0].headers["authorization"].split()[1] in (TOKEN, PAIR)
    output += [repr(login), repr(alertmanager), repr(alertmanager._credentials())]
    output += [record.getMessage() + str(record.exc_text) for record in caplog.records]
    text = "\n".join([*output, *capsys.readouterr()])
    for secret in (PASSWORD, TOKEN, PAIR, "canary-of"):
        assert secret not in text


ESCAPED: dict[str, Callable[[str], str]] = {
    "html": html.escape,
    "html in decimals": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "as Go does": lambda text: text.replace("&", "\\u0026").replace("<", "\\u003c").replace('"', '\\"'),
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent in lower case": lambda text: urllib.parse.quote_plus(text).lower(),
    "capitals": str.upper,
    "bytes": lambda text: repr(text.encode())[2:-1],
    "Latin-1": lambda text: text.encode().decode("latin-1"),
    "percent in html": lambda text: html.escape(urllib.parse.quote(text)),
}


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("escape", ESCAPED.values(), ids=ESCAPED)
@pytest.mark.parametrize("status", [400, 401, 404, 418, 422, 500])
def test_no_secret_is_seen_in_another_guise(status: int, escape: Callable[[str], str]) -> None:
    """An answer that quotes the escaped password is not quoted, be it as text, as JSON, or cut at the limit."""
    output = f"quoted {escape(GUISED)}"
    for body in (output, json.dumps(output), json.dumps({"message": output}), " " * (65_536 - 16) + output):
        with RawServer(reply(status, body)) as untrusted:
            alertmanager = Alertmanager(AlertmanagerOptions(untrusted.url, lambda: ("exporter", GUISED)))
            text = repr(alertmanager.send([alert()]))
            with pytest.raises(NotificationFailed) as caught:
                alertmanager.version()
        text += str(caught.value)
        assert "quoted" not in text
        assert not {piece for piece in ("canary", "CANARY", "99;&#97;&#110;") if piece in text}


@pytest.mark.attack("secrets")
def test_a_proof_that_is_no_http(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes of an invalid answer are not printed: they may be cut and escaped in any way."""
    with RawServer(raw(f"{GUISED}\r\n\r\n".encode())) as untrusted:
        sent = Alertmanager(AlertmanagerOptions(untrusted.url, lambda: ("exporter", GUISED))).send([alert()])
    assert "no HTTP: check alertmanager.urls" in (sent.failure or "")
    assert "canary" not in repr(sent) + caplog.text


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("token", ["canary\nX-Other: y", "canary\r", " canary", "canaryé", "canary\x00", "canary "])
def test_what_cannot_stand_in_a_header_is_not_sent(token: str) -> None:
    """A token with a line too many is a line of ours, without the token."""
    with RawServer(reply()) as untrusted:
        sent = Alertmanager(AlertmanagerOptions(untrusted.url, lambda: token)).send([alert()])
        assert untrusted.received == []
    assert "has characters that no token has" in (sent.failure or "")
    assert "canary" not in repr(sent)


def test_nothing_is_sent_where_nothing_is_configured() -> None:
    """Without a user and without a token there is no header of either."""
    with RawServer(reply()) as untrusted:
        with contextlib.suppress(NotificationFailed):
            Alertmanager(AlertmanagerOptions(untrusted.url)).version()
        assert "authorization" not in untrusted.received[0].headers
