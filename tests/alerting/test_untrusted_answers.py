"""Another server answers in Alertmanager's place, or the way to it fails: one line, and no alert counts as accepted."""

import gzip
import socket
import ssl
from pathlib import Path

import pytest

from exporter.alerting import alertmanager as wire
from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions
from exporter.alerting.notification import Notification
from exporter.errors import NotificationFailed
from tests.alerting.conftest import alert
from tests.support.raw_server import Answer, RawServer, ReceivedRequest, in_turn, raw, reply, reset

HTML = "<!DOCTYPE html><html><body>Sign in to go on</body></html>"
FOREIGN = "the response is not from Alertmanager's API v2"
STATUS = '{"versionInfo": {"version": "0.25.0"}}'
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def failure(untrusted: RawServer, *, timeout: float = 60.0, sends: int = 1) -> str:
    """Return the line with which sending fails."""
    sent = Alertmanager(AlertmanagerOptions(untrusted.url, timeout=timeout)).send(
        [alert(number=str(n)) for n in range(sends)]
    )
    line = sent.failure or ""
    assert line.startswith(f"alertmanager {untrusted.url}: ")
    assert line.isprintable()
    assert len(line) < 600
    assert not sent.accepted
    assert not sent.refused
    return line


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(401, "who are you"), "HTTP 401: check alertmanager.basic_auth or"),
        (reply(403, HTML), "HTTP 403: check alertmanager.basic_auth or"),
        (reply(404, HTML), "HTTP 404: check alertmanager.urls: its API v2 is not there"),
        (reply(405), "HTTP 405: check alertmanager.urls: its API v2 is not there"),
        (reply(407), "HTTP 407: check the proxy"),
        (reply(410, '"gone"'), "HTTP 410: gone: check alertmanager.urls: its API v2 is not there"),
        (reply(418, "tea"), "HTTP 418: check alertmanager.urls"),
        (reply(429, "slow"), "HTTP 429: too many requests"),
        (reply(500, '"disk\\nfull"'), "HTTP 500: disk full: check the logs of Alertmanager"),
        (reply(500, '{"message": "disk full"}'), "HTTP 500: disk full: check the logs of Alertmanager"),
        (reply(500, '"see https://me:canary@a/b?c=canary"'), "HTTP 500: see https://a/b: check the logs"),
        (reply(500, '{"error": "of a stranger"}'), "HTTP 500: check the logs of Alertmanager"),
        (reply(503, HTML), "HTTP 503: check the logs of Alertmanager"),
        (reply(200, HTML), FOREIGN),
        (reply(200, "ok"), FOREIGN),
        (reply(200, gzip.compress(b" " * 1000), Content_Encoding="gzip"), FOREIGN),
        (reply(200, "[" * 60_000), FOREIGN),
        (reply(200, b"\xff\xfe\x00", Content_Type="application/json"), FOREIGN),
    ],
)
def test_what_is_no_yes_is_a_failure(answer: Answer, expected: str) -> None:
    """Only the answer of an Alertmanager that accepted everything counts; the line names any other answer.

    Besides, one empty batch is sent, which reveals whether the alerts are the cause, however many they are.
    """
    with RawServer(answer) as untrusted:
        assert expected in failure(untrusted, sends=100)
        assert [received.body for received in untrusted.received[1:]] == ([] if "HTTP 429" in expected else [b"[]"])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(200, "x", missing=10), "the connection ended before its answer did: check"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "http or https, and whether it is an Alertmanager that answers"),
        (raw(b""), "http or https, and whether it is an Alertmanager that answers"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000), "whether it is an Alertmanager that answers"),
        (reset(b""), "the connection ended before its answer did (Connection reset by peer)"),
        (reset(b"HTTP/1.1 200"), "the connection ended before its answer did (Connection reset by peer)"),
        (reset(OK_HEAD + b"[1, "), "the connection ended before its answer did (Connection reset by peer)"),
    ],
)
def test_what_breaks_off_is_looked_at(answer: Answer, expected: str) -> None:
    """An answer that breaks off is a failure: no batch is sent twice, and a check may find the reason."""
    with RawServer(answer) as untrusted:
        assert expected in failure(untrusted)
        assert [received.method for received in untrusted.received] == ["POST", "GET"]


def test_a_look_tells_why_an_answer_broke_off() -> None:
    """A failure without a reason gets one from a check; where the check succeeds the failure stays."""
    with RawServer(in_turn(reset(b""), reply(400, '"This is TLS"'))) as untrusted:
        assert "HTTP 400: This is TLS" in failure(untrusted)
    with RawServer(in_turn(reset(b""), reply(200, STATUS))) as untrusted:
        assert "the connection ended before its answer did (Connection reset by peer)" in failure(untrusted)


@pytest.mark.parametrize("answer", [reply(200), reply(202), reply(204), reply(200, '{"status": "success"}')])
def test_what_is_a_yes(answer: Answer) -> None:
    """An empty answer is a yes, as is JSON."""
    with RawServer(answer) as untrusted:
        notified = alert()
        assert Alertmanager(AlertmanagerOptions(untrusted.url)).send([notified]).accepted == [notified]


@pytest.mark.attack("peers")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("{there}/api/v2/alerts?token=canary", "{there}"),
        ("http://me:canary@{host}/", "http://{host}"),
        ("/elsewhere", "another path"),
        ("http://[x/", "an invalid URL"),
        ("", "another path"),
    ],
)
def test_no_redirect_is_followed(status: int, location: str, place: str) -> None:
    """A redirect is not followed; the line names the host alone."""
    with RawServer(reply()) as there:
        fill = {"there": there.url, "host": there.url.removeprefix("http://")}
        with RawServer(reply(status, HTML, Location=location.format(**fill))) as untrusted:
            line = failure(untrusted)
        assert f"redirects to {place.format(**fill)}, which is not followed" in line
        assert "canary" not in line
        assert there.received == []


@pytest.mark.attack("peers")
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", OK_HEAD])
def test_an_answer_that_trickles_is_cut_off(begun: bytes) -> None:
    """The deadline is that of the whole request, however regularly a byte arrives."""
    with RawServer(reply()) as untrusted:
        untrusted.answer = untrusted.trickle(begun)
        assert "no whole answer within 0.4 s: check that it runs, or raise alertmanager.timeout" in failure(
            untrusted, timeout=0.4
        )


@pytest.mark.attack("peers")
def test_a_handshake_that_never_ends_is_cut_off() -> None:
    """A port that accepts connections and never answers delays no other, with TLS neither."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(NotificationFailed, match=r"no whole answer within 0\.4 s"):
                Alertmanager(AlertmanagerOptions(url, timeout=0.4)).version()


@pytest.mark.attack("bombs")
def test_values_are_bounded() -> None:
    """A status of millions of empty lists is refused before it is parsed, in a line that names the limit."""
    with (
        RawServer(reply(200, b'{"versionInfo": [' + b"[]," * 2_000_000)) as untrusted,
        pytest.raises(NotificationFailed, match=r": an answer of more than 1,000,000 values was not read to its end$"),
    ):
        Alertmanager(AlertmanagerOptions(untrusted.url)).version()


@pytest.mark.attack("peers")
def test_an_answer_is_bounded() -> None:
    """An endless answer is not read to its end, and no more than a line of it is printed."""
    with RawServer(reply()) as untrusted:

        def endless(connection: socket.socket, _: object) -> None:
            connection.sendall(b"HTTP/1.1 500 No\r\n\r\n")
            while not untrusted.over.is_set():
                connection.sendall(b"word " * 10_000)

        untrusted.answer = endless
        assert "HTTP 500: check the logs" in failure(untrusted)
        with pytest.raises(NotificationFailed, match=r"HTTP 500: check the logs"):
            Alertmanager(AlertmanagerOptions(untrusted.url)).version()
    with RawServer(reply(500, f'"{"word " * 1000}"')) as untrusted:
        assert "HTTP 500: word word" in failure(untrusted)


def in_order(alerts: list[Notification]) -> list[Notification]:
    """Return alerts by their numbers."""
    return sorted(alerts, key=lambda one: int(dict(one.labels)["number"]))


def test_what_is_refused_is_told_in_halves() -> None:
    """A batch that is too large, or partly invalid, is sent in parts; an alert refused alone is named."""
    alerts = [alert(number=str(number)) for number in range(8)]
    for status, answer in ((413, HTML), (400, '"wrong"'), (422, '{"code": 602, "message": "wrong"}')):
        with RawServer(in_turn(reply(status, answer), reply(status, answer), reply())) as untrusted:
            sent = Alertmanager(AlertmanagerOptions(untrusted.url)).send(alerts)
            assert len(untrusted.received) == 5
        assert (in_order(sent.accepted), sent.refused) == (alerts, [])
        with RawServer(reply(status, answer)) as untrusted:
            sent = Alertmanager(AlertmanagerOptions(untrusted.url)).send(alerts)
            assert len(untrusted.received) == 15
        assert sent.refused == [(one, "HTTP 413" if status == 413 else "wrong") for one in alerts]


def test_a_400_of_somebody_else_is_no_refusal() -> None:
    """The same answer to an empty batch proves nothing of an alert."""
    with RawServer(reply(400, "The plain HTTP request was sent to HTTPS port")) as untrusted:
        assert "HTTP 400: check alertmanager.urls: http or https" in failure(untrusted, sends=100)
        assert [received.body for received in untrusted.received[1:]] == [b"[]"]


def picky(status: int, text: str, word: bytes) -> Answer:
    """Answer so to alerts that contain a word, and accept all others."""

    def answer(connection: socket.socket, received: ReceivedRequest) -> None:
        (reply(status, text) if word in received.body else reply())(connection, received)

    return answer


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 406, 413, 500, 503])
def test_a_word_that_a_firewall_blocks_stops_no_other_alert(status: int) -> None:
    """Any answer to one alert leaves all others sent, also those after it, with few requests."""
    alerts = [alert(number=str(number)) for number in range(600)]
    alerts[7] = alert(number="7", asset_name="<script>")
    with RawServer(picky(status, HTML, b"<script>")) as untrusted:
        sent = Alertmanager(AlertmanagerOptions(untrusted.url)).send(alerts)
        assert len(untrusted.received) < 40
    assert sent.failure is None
    assert [one for one, _ in sent.refused] == [alerts[7]]
    assert in_order(sent.accepted) == alerts[:7] + alerts[8:]


def test_who_is_gone_in_between_has_refused_nothing() -> None:
    """A server that ends after it answered is a failure of the whole: no alert is blamed."""
    alerts = [alert(number=str(number)) for number in range(300)]
    with RawServer(in_turn(reply(), reply(503))) as untrusted:
        sent = Alertmanager(AlertmanagerOptions(untrusted.url)).send(alerts)
    assert "HTTP 503" in (sent.failure or "")
    assert (sent.accepted, sent.refused) == (alerts[:256], [])


@pytest.mark.parametrize(
    "answer", ["", HTML, "[]", "{}", '{"versionInfo": []}', '{"versionInfo": {}}', "[" * 60_000, "null", '"x"']
)
def test_whoever_has_no_version_is_no_alertmanager(answer: str) -> None:
    """A page, JSON of something else, JSON of any depth: not an Alertmanager."""
    with RawServer(reply(200, answer)) as untrusted, pytest.raises(NotificationFailed, match=FOREIGN):
        Alertmanager(AlertmanagerOptions(untrusted.url)).version()


def test_a_version_is_one_short_line() -> None:
    """A version from an untrusted server cannot fill a screen or move a cursor."""
    with RawServer(reply(200, '{"versionInfo": {"version": "0\\n\\u001b[31m' + "x" * 5_000 + '"}}')) as untrusted:
        version = Alertmanager(AlertmanagerOptions(untrusted.url)).version()
    assert version.isprintable()
    assert len(version) < 400


def test_a_status_too_large_is_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status of more bytes than any configuration has is not read into memory."""
    monkeypatch.setattr(wire, "STATUS_BYTES", 1000)
    with RawServer(reply(200, STATUS + " " * 2000)) as untrusted:
        assert Alertmanager(AlertmanagerOptions(untrusted.url)).version() == "0.25.0"
    with RawServer(reply(200, " " * 2000 + STATUS)) as untrusted, pytest.raises(NotificationFailed, match=FOREIGN):
        Alertmanager(AlertmanagerOptions(untrusted.url)).version()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://nowhere.invalid", "https://nowhere.invalid:9093/x", f"http://{'a' * 70}.invalid"],
)
def test_nobody_is_there(url: str) -> None:
    """A port that refuses, a name that is unknown, a name that can be none."""
    line = Alertmanager(AlertmanagerOptions(url)).send([alert()]).failure or ""
    assert line.startswith(f"alertmanager {url}: ")
    assert "check alertmanager.urls" in line


def test_whoever_else_has_a_certificate_is_told_as_well(server_context: ssl.SSLContext) -> None:
    """The certificate of an unknown authority is refused before anything is sent."""
    with RawServer(reply(), server_context) as untrusted:
        assert "check alertmanager.tls.ca_file" in failure(untrusted)
        assert untrusted.received == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxies_come_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that the environment names gets the requests, unless the host is one of NO_PROXY."""
    with RawServer(reply()) as proxy, RawServer(reply()) as direct:
        monkeypatch.setenv(name, proxy.url.replace("//", "//me:canary@"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        notified = alert()
        assert Alertmanager(AlertmanagerOptions("http://alertmanager.invalid/x")).send([notified]).accepted == [
            notified
        ]
        assert [received.path for received in proxy.received] == ["http://alertmanager.invalid/x/api/v2/alerts"]
        assert Alertmanager(AlertmanagerOptions(direct.url)).send([notified]).accepted == [notified]
        assert len(proxy.received) == 1


@pytest.mark.attack("proxies")
@pytest.mark.parametrize("entries", ["[::1]", "::1/128", "fe80::/10", "fd00::/8", "[fd00::1]:9093", "[", "127.0.0.0/8"])
def test_no_proxy_is_read_by_entries(entries: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry of NO_PROXY leaves alerts sent; only hosts it covers, and loopback, avoid the proxy."""
    with RawServer(reply()) as proxy, RawServer(reply()) as direct:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", entries)
        notified = alert()
        for url in ("http://alertmanager.invalid", direct.url):
            sent = Alertmanager(AlertmanagerOptions(url, lambda: ("me", "canary"))).send([notified])
            assert (sent.failure, sent.accepted) == (None, [notified])
        assert len(proxy.received) == len(direct.received) == 1


@pytest.mark.parametrize("answer", [None, reply(407), reply(502, HTML), reset(b"")])
def test_a_failure_names_the_proxy(answer: Answer | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure through a proxy is one line that names the proxy, without its credentials."""
    with RawServer(answer or reply()) as proxy:
        place = proxy.url if answer else "http://127.0.0.1:1"
        monkeypatch.setenv("HTTP_PROXY", place.replace("//", "//me:canary@"))
        line = Alertmanager(AlertmanagerOptions("http://alertmanager.invalid")).send([alert()]).failure or ""
    assert line.startswith(f"alertmanager http://alertmanager.invalid: through the proxy {place}: ")
    assert "canary" not in line


@pytest.mark.attack("proxies")
@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:canary@127.0.0.1:1",
        "http://me:can/ary@127.0.0.1:1",
        "http://me:1/canary@x",
        "socks5://me:canary@127.0.0.1:1",
        "ftp://me:canary@x",
        "http://me:canary@[x",
    ],
)
def test_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not answer, or of a kind that cannot be used, is a line without its password."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    line = Alertmanager(AlertmanagerOptions("http://alertmanager.invalid")).send([alert()]).failure
    assert line
    assert "canary" not in line


def test_a_netrc_speaks_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry of a .netrc for this host is not sent."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with RawServer(reply()) as untrusted:
        Alertmanager(AlertmanagerOptions(untrusted.url)).send([alert()])
        assert "authorization" not in untrusted.received[0].headers


def test_a_short_password_withholds_no_other_word() -> None:
    """Only an answer that has a short password as a word is withheld."""
    login = ("me", "ro")
    for quoted, expected in (
        ("from ro", "its words are withheld"),
        ("role readonly", "HTTP 500: role readonly: check"),
    ):
        with RawServer(reply(500, f'"{quoted}"')) as untrusted:
            line = Alertmanager(AlertmanagerOptions(untrusted.url, lambda: login)).send([alert()]).failure or ""
        assert expected in line
