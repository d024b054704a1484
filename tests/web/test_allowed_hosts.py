"""DNS rebinding: a name that leads to a loopback address opens nothing there, unless it is allowed."""

import socket
import ssl

import httpx
import pytest
import structlog
import trustme

from exporter.web import middleware
from exporter.web.application import application
from exporter.web.passwords import Passwords
from exporter.web.server import WebServer
from exporter.web.tls import Tls, TlsFiles
from exporter.web.web_config import Access
from tests.web.fake_endpoint import FakeEndpoint, Started
from tests.web.raw_http import exchange, get
from tests.web.test_middleware import HASHED, basic

IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
REFUSED = b"This address answers to localhost only: put the name that you use into web.allowed_hosts.\n"


def port(started: Started, access: Access, host: str = "127.0.0.1", endpoint: FakeEndpoint | None = None) -> int:
    """Return the port of a server at this address."""
    return started(WebServer(application(endpoint or FakeEndpoint(), access), host, 0, access)).port


LOCAL = ["localhost", "LocalHost.:10071", "localhost:", "127.0.0.1", "127.9.8.7:80", "[::1]", "[0:0::1]:1"]
LOCAL += ["[::ffff:127.0.0.1]", "agent.example.com", "AGENT.example.com.:443", "192.0.2.7:10071", "[2001:db8::1]"]
FOREIGN = ["evil.example", "evil.example:10071", "localhost.evil.example", "xlocalhost", "127.0.0.1.evil.example", ""]
FOREIGN += ["0.0.0.0", "[::]", "192.0.2.8", "user@localhost", "localhost:1:2", "localhost/", "[localhost", "2130706433"]
FOREIGN += ["x.agent.example.com", "example.com", "localhost..", "127.1", "0x7f.0.0.1"]


def test_local_and_allowed_hosts_pass(started: Started) -> None:
    """On a loopback address localhost, loopback addresses and web.allowed_hosts are answered, with any port."""
    access = Access(allowed_hosts={"agent.example.com", "192.0.2.7", "2001:db8::1"})
    at = port(started, access)
    answers = {host: exchange(at, get("/metrics", f"Host: {host}")).status for host in LOCAL}
    assert answers == dict.fromkeys(LOCAL, 200)


@pytest.mark.attack("other names")
def test_any_other_host_is_refused(started: Started) -> None:
    """Another host gets 403 and one line that names the key, whatever the path."""
    access = Access(allowed_hosts={"agent.example.com", "192.0.2.7"})
    at = port(started, access)
    for host in FOREIGN:
        answer = exchange(at, get("/metrics", f"Host: {host}"))
        assert (host, answer.status, answer.rest) == (host, 403, REFUSED)
    for path in ("/", "/assets.csv", "/-/healthy", "/static/status.css", "/nowhere"):
        assert exchange(at, get(path, "Host: evil.example")).rest == REFUSED


@pytest.mark.attack("other names")
def test_a_request_without_a_host_is_refused(started: Started) -> None:
    """HTTP/1.0 without a Host is not local either."""
    assert exchange(port(started, Access()), b"GET /metrics HTTP/1.0\r\n\r\n").status == 403


@pytest.mark.attack("other names")
def test_no_foreign_host_reloads(started: Started) -> None:
    """A rebound page is of the same origin as its Host, and still orders no reload."""
    endpoint = FakeEndpoint()
    at = port(started, Access(), endpoint=endpoint)
    post = b"POST /-/reload HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n"
    assert (exchange(at, post).status, endpoint.reloads) == (403, 0)


@pytest.mark.parametrize("host", ["", "0.0.0.0", pytest.param("::", marks=IPV6)])
def test_other_listeners_answer_to_every_host(started: Started, host: str) -> None:
    """A server on every address, as in a container, is reached by any name, over loopback too."""
    assert exchange(port(started, Access(), host), get("/metrics", "Host: agent")).status == 200


@pytest.mark.attack("other names")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", pytest.param("::1", marks=IPV6)])
def test_every_loopback_address_is_guarded(started: Started, host: str) -> None:
    """A name or address that stays on this machine is a loopback listener."""
    at = port(started, Access(), host)
    assert exchange(at, get("/metrics", "Host: evil.example"), host).status == 403
    assert exchange(at, get("/metrics", "Host: localhost"), host).status == 200


def test_the_listener_decides_for_each_connection(started: Started) -> None:
    """Of several addresses the loopback one checks hosts, the other does not, though both are reached over loopback."""
    access = Access()
    server = WebServer(application(FakeEndpoint(), access), "127.0.0.1", 0, access, further=[("0.0.0.0", 0)])
    guarded, open_ = started(server).ports
    request = get("/metrics", "Host: evil.example")
    assert [exchange(at, request).status for at in (guarded, open_)] == [403, 200]


def test_where_users_are_asked_for_any_host_passes(started: Started) -> None:
    """With users a browser at another site's page has no password: every Host needs the user."""
    at = port(started, Access(passwords=Passwords({"prometheus": HASHED})))
    assert exchange(at, get("/metrics", "Host: evil.example")).status == 401
    (name, value), *_ = basic("prometheus:pässword:".encode()).items()
    assert exchange(at, get("/metrics", "Host: evil.example", f"{name}: {value}")).status == 200


@pytest.mark.parametrize(("required", "status"), [(False, 403), (True, 200)])
def test_tls_is_guarded_unless_it_asks_for_certificates(
    started: Started, tmp_path_factory: pytest.TempPathFactory, required: bool, status: int
) -> None:
    """A certificate of the server alone excludes no client; a required client certificate does."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    for name in ("server", "client"):
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    files = TlsFiles(folder / "server.pem", folder / "server.pem", folder / "ca.crt", mode)
    at = port(started, Access(tls=Tls(files)))
    context = httpx.create_ssl_context()
    context.load_verify_locations(folder / "ca.crt")
    context.load_cert_chain(folder / "client.pem")
    with httpx.Client(verify=context) as client:
        url = f"https://localhost:{at}/metrics"
        assert client.get(url, headers={"Host": "evil.example"}).status_code == status


def test_what_a_reload_allows_passes_at_once(started: Started) -> None:
    """Allowed hosts are those of the access in force; with users added by a reload, the Host does not matter."""
    access = Access()
    at = port(started, access)
    request = get("/metrics", "Host: agent.example.com")
    assert exchange(at, request).status == 403
    access.adopt(Access(allowed_hosts={"agent.example.com"}))
    assert exchange(at, request).status == 200
    access.adopt(Access())
    assert exchange(at, request).status == 403
    access.adopt(Access(passwords=Passwords({"prometheus": HASHED})))
    assert exchange(at, request).status == 401


@pytest.mark.attack("other names")
def test_refused_hosts_are_hardly_logged(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are refused, one line a minute names a Host, cut and with nothing that moves a cursor."""
    with structlog.testing.capture_logs() as lines:
        monkeypatch.setattr(middleware, "log", structlog.get_logger())
        at = port(started, Access())
        for _ in range(20):
            exchange(at, get("/metrics", "Host: \x85evil.example" + "x" * 500))
    (line,) = lines
    assert (line["log_level"], line["more_since_last_line"]) == ("warning", 0)
    assert line["host"] == "\\x85evil.example" + "x" * 87
