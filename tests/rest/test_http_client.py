"""HTTP requests: retries, deadlines, size limits, and the receivers of the token."""

import gzip
import http.server
import ssl
import threading
import time
from pathlib import Path
from typing import Self

import pytest
import trustme

from exporter.errors import PollInterrupted, SourceError, SourceRefused, SourceUnreachable
from exporter.rest import http_client, transport
from tests.rest.conftest import RestHarness
from tests.rest.tableau import HTML, Answer, ReceivedRequest, Tableau, asset, at, element, error


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_is_tried_again(harness: RestHarness, status: int) -> None:
    """A server that fails twice and then answers costs two pauses, each twice the one before, and nothing else."""
    with harness.tableau.doing(at("/workbooks", Answer("busy", status), times=2)):
        assert harness.inventory().content.num_rows == 3
    assert harness.slept == [0.5, 0.5, 0.5]
    assert harness.tableau.count("/workbooks") == 3


def test_a_read_is_tried_four_times(harness: RestHarness) -> None:
    """A server that goes on failing is reported, after four attempts."""
    with harness.tableau.doing(at("/workbooks", Answer("busy", 503))):
        assert "answers with HTTP 503" in harness.failure()
    assert harness.tableau.count("/workbooks") == 4


def test_a_sign_in_is_not_tried_again(harness: RestHarness) -> None:
    """A sign-in that fails is not repeated: it may have happened, and the account may be locked."""
    with harness.tableau.doing(at("/auth/signin", Answer("busy", 503))), pytest.raises(SourceUnreachable, match="503"):
        harness.poll(harness.rest())
    assert harness.tableau.count("/auth/signin") == 1


def test_a_switch_of_site_is_not_tried_again(three: RestHarness) -> None:
    """A switch makes a new session: it is not repeated."""
    with three.tableau.doing(at("/auth/switchSite", Answer("busy", 503), times=1)):
        results = three.poll(three.rest("default", "marketing"))
    assert results["default"].inventory is not None
    assert three.tableau.count("/auth/switchSite") == 1
    assert "503" in (results["marketing"].error or "")


def test_a_cut_answer_is_asked_for_again(harness: RestHarness) -> None:
    """A connection that ends in the middle of an answer is a fault of the connection."""
    with harness.tableau.doing(at("/workbooks", Answer("<tsResponse", missing=100), times=1)):
        assert harness.inventory().content.num_rows == 3
    assert harness.tableau.count("/workbooks") == 2


def test_nobody_listens() -> None:
    """A refused connection is one line with the address."""
    with Tableau() as tableau:
        url = tableau.url
    harness = RestHarness(tableau)
    with pytest.raises(SourceUnreachable, match=rf"^rest {url}: Failed to .*refused: check rest\.url and") as caught:
        harness.poll(harness.rest(url=url))
    assert "\n" not in str(caught.value)
    assert harness.slept == [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("reported", "seconds"), [("7", 7.0), ("0", 0.0), (None, http_client.USUAL_WAIT_SECONDS), ("x", 5.0)]
)
def test_a_429_is_waited_for(harness: RestHarness, reported: str | None, seconds: float) -> None:
    """The agent waits for Retry-After, or briefly without it, and retries."""
    headers = {"Retry-After": reported} if reported is not None else {}
    with harness.tableau.doing(at("/workbooks", Answer("slow down", 429, headers), times=2)):
        assert harness.inventory().content.num_rows == 3
    assert sum(harness.slept) == 2 * seconds


def test_a_429_may_name_a_date(harness: RestHarness) -> None:
    """A date in the past is no wait."""
    answer = Answer("slow down", 429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    with harness.tableau.doing(at("/workbooks", answer, times=1)):
        assert harness.inventory().content.num_rows == 3
    assert harness.slept == []


def test_a_429_is_waited_for_within_bounds(harness: RestHarness) -> None:
    """A Retry-After of an hour ends the poll, and so do endless ones."""
    with harness.tableau.doing(at("/workbooks", Answer("", 429, {"Retry-After": "3600"}))):
        assert "Retry-After is 3600 s: retried at the next poll" in harness.failure()
    assert harness.slept == []
    with harness.tableau.doing(at("/workbooks", Answer("", 429, {"Retry-After": "1"}))):
        harness.failure()
    assert sum(harness.slept) == http_client.WAITS


def test_a_sign_in_waits_for_a_429(harness: RestHarness) -> None:
    """A sign-in that was answered with 429 did not take place."""
    with harness.tableau.doing(at("/auth/signin", Answer("", 429, {"Retry-After": "2"}), times=1)):
        assert harness.inventory().content.num_rows == 3
    assert sum(harness.slept) == 2


@pytest.mark.parametrize("part", ["/workbooks", "/auth/signin", "/serverInfo"])
def test_an_answer_that_trickles_is_cut_off(harness: RestHarness, part: str) -> None:
    """The deadline is that of the whole answer, however regularly a byte of it arrives."""
    begun = time.monotonic()
    with harness.tableau.doing(at(part, Answer(b"<tsResponse>" + b" " * 100_000, pause=0.05))):
        try:
            (result,) = harness.poll(harness.rest(timeout=0.4)).values()
            line = result.error or ""
        except SourceUnreachable as error:
            line = str(error)
    assert "no whole answer within 0.4 s; raise rest.timeout" in line
    assert time.monotonic() - begun < 60


def test_headers_that_trickle_are_cut_off(harness: RestHarness) -> None:
    """Nor does it help to send the head of the answer slowly."""
    with TricklingHead() as slow, pytest.raises(SourceUnreachable, match=r"no whole answer within 0\.4 s"):
        harness.poll(harness.rest(url=slow.url, timeout=0.4))


def test_an_answer_is_bounded(harness: RestHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of more bytes than any list has is not read into memory, packed or not."""
    monkeypatch.setattr(transport, "RequestLimits", lambda seconds, _: http_client.RequestLimits(seconds, 1_000_000))
    bomb = Answer(gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"})
    with harness.tableau.doing(at("/workbooks", bomb)):
        assert "more than 1 MB" in harness.failure()
    with harness.tableau.doing(at("/workbooks", Answer(b" " * 2_000_000))):
        assert "more than 1 MB" in harness.failure()


def test_items_with_many_tags_are_read(harness: RestHarness) -> None:
    """A page of 1,000 workbooks with 200 tags each is well within every bound."""
    tags = "<tags>" + "".join(element("tag", label=f"a tag, {number} = {number}") for number in range(200)) + "</tags>"
    harness.tableau.sites[""].entries["workbooks"] = [asset("workbook", f"w{at}", tags) for at in range(1000)]
    assert harness.inventory().content.num_rows == 1002


def test_packed_answers_are_read(harness: RestHarness) -> None:
    """A compressed answer is decompressed; one that only claims it is a line."""
    with harness.tableau.doing(at("/workbooks", Answer(b"not packed", headers={"Content-Encoding": "gzip"}))):
        assert "cannot be unpacked" in harness.failure()


def test_the_token_goes_nowhere_else(harness: RestHarness) -> None:
    """A redirect to another host is not followed, whatever the request; the line names the host."""
    with Tableau() as untrusted:
        there = untrusted.url.replace("127.0.0.1", "localhost")
        for part in ("/workbooks", "/graphql", "/auth/signin", "/serverInfo"):
            rest = harness.rest()
            with harness.tableau.doing(at(part, Answer(status=302, headers={"Location": f"{there}/elsewhere"}))):
                try:
                    (result,) = harness.poll(rest).values()
                    output = result.error or " ".join(result.inventory.notes if result.inventory else ())
                except SourceRefused as error:
                    output = str(error)
            assert "redirect to http://localhost" in output
            assert "set rest.url to where Tableau itself answers" in output
        assert untrusted.received == []


def test_another_port_is_another_host(harness: RestHarness) -> None:
    """Another port of the same machine is another server."""
    with Tableau() as untrusted:
        with harness.tableau.doing(at("/workbooks", Answer(status=307, headers={"Location": f"{untrusted.url}/x"}))):
            harness.failure()
        assert untrusted.received == []


@pytest.mark.parametrize("location", ["http://127.0.0.1:port/", "http://[x/", "//", "javascript:alert(1)", "\x7f"])
def test_a_redirect_to_nonsense(harness: RestHarness, location: str) -> None:
    """A place that cannot be one is a line, too."""
    with harness.tableau.doing(at("/workbooks", Answer(status=302, headers={"Location": location}))):
        harness.failure()


def test_a_redirect_on_the_same_host_is_followed(harness: RestHarness) -> None:
    """A path may move; the request is made again there."""
    moved = Answer(status=302, headers={"Location": "/api/3.26/sites/site-default/workbooks?pageSize=1000"})
    with harness.tableau.doing(at("/workbooks", moved, times=1)):
        assert harness.inventory().content.num_rows == 3
    assert harness.tableau.count("/workbooks") == 2


def test_a_netrc_speaks_for_nobody(harness: RestHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry of a .netrc for this host is not sent."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    harness.inventory()
    assert not [received for received in harness.tableau.received if "authorization" in received.headers]


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that the environment names gets the requests, and its password stays out of the lines."""
    with Tableau() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:canary@"))
        monkeypatch.setenv("NO_PROXY", "")
        harness = RestHarness(proxy)
        with proxy.doing(at("", Answer("no", 500))), pytest.raises(SourceError) as caught:
            harness.poll(harness.rest(url="http://tableau.invalid"))
        assert len(proxy.received) == 4
        monkeypatch.setenv("HTTP_PROXY", "http://me:canary@127.0.0.1:1")
        with pytest.raises(SourceUnreachable, match="check the proxy") as caught:
            harness.poll(harness.rest(url="http://tableau.invalid"))
        assert str(caught.value).startswith("rest http://tableau.invalid: through the proxy http://127.0.0.1:1: ")
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("entries", ["[::1]", "fd00::/8", "[fd00::1]:9093", "127.0.0.0/8", "["])
def test_no_proxy_is_read_by_entries(harness: RestHarness, entries: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry of NO_PROXY leaves requests sent; only hosts it covers, and loopback, avoid the proxy."""
    with Tableau() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", entries)
        assert harness.inventory().content.num_rows == 3
        assert not proxy.received
        harness.poll(harness.rest(url="http://tableau.invalid"))
        assert proxy.received


def test_an_ipv6_network_has_no_proxy(harness: RestHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 network in NO_PROXY is understood: its addresses are connected to directly."""
    with Tableau() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "fd00::/8")
        with pytest.raises(SourceUnreachable) as caught:
            harness.poll(harness.rest(url="http://[fd00::1]:1", timeout=1.0))
        assert not proxy.received
    assert "proxy" not in str(caught.value)


def test_a_proxy_that_cannot_be_parsed(harness: RestHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password with an unescaped slash: the line names the variable, and no part of the password."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:1/canary@proxy.invalid:3128")
    with pytest.raises(SourceRefused, match=r"^rest http://tableau\.invalid: HTTP_PROXY is no proxy") as caught:
        harness.poll(harness.rest(url="http://tableau.invalid"))
    assert "canary" not in str(caught.value)


def test_no_request_is_made_any_more_when_the_agent_ends(harness: RestHarness) -> None:
    """A poll is broken off between two requests."""
    rest = harness.rest()

    def stop(received: ReceivedRequest) -> None:
        harness.stopping = "/datasources" in received.path or harness.stopping

    with harness.tableau.doing(stop), pytest.raises(PollInterrupted):
        harness.poll(rest)
    assert harness.tableau.received[-1].path.endswith("/datasources")


def test_a_request_is_broken_off_when_the_agent_ends(harness: RestHarness) -> None:
    """A trickling answer blocks no other request."""
    rest = harness.rest(timeout=600)

    def stop(received: ReceivedRequest) -> Answer | None:
        if "/datasources" not in received.path:
            return None
        harness.stopping = True
        return Answer(b" " * 100_000, pause=0.05)

    with harness.tableau.doing(stop), pytest.raises(PollInterrupted):
        harness.poll(rest)


def test_https_where_plain_http_is_spoken(harness: RestHarness) -> None:
    """The certificate is not the cause."""
    with pytest.raises(SourceRefused, match=r"it may speak plain http there; check rest\.url"):
        harness.poll(harness.rest(url=harness.tableau.url.replace("http:", "https:")))


@pytest.mark.parametrize("answer", [error(401, "401000"), error(404, "404003"), Answer(HTML, 404), Answer("", 403)])
def test_a_url_that_goes_too_far(harness: RestHarness, answer: Answer) -> None:
    """Where Tableau, or a server before it, answers the first request with 404, the line names the URL."""
    with (
        harness.tableau.doing(at("/serverInfo", answer)),
        pytest.raises(SourceUnreachable, match=r"check rest\.url$") as caught,
    ):
        harness.poll(harness.rest(url=f"{harness.tableau.url}/api/3.26"))
    assert "<" not in str(caught.value)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that certifies hosts."""
    return trustme.CA()


def test_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    """A certificate must be of an authority that is trusted: the system's, or that of rest.ca_file."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "broken.pem").write_text("nothing\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Tableau() as tableau:
        tableau._server.socket = context.wrap_socket(tableau._server.socket, server_side=True)
        harness = RestHarness(tableau)
        url = f"https://localhost:{tableau._server.server_address[1]}"
        rest = harness.rest(url=url, ca_file=tmp_path / "ca.pem")
        assert harness.poll(rest)["default"].inventory is not None
        rest.close()
        with pytest.raises(SourceRefused, match=r"certificate verify failed.*check rest\.ca_file"):
            harness.poll(harness.rest(url=url))
        with pytest.raises(SourceRefused, match=r"check rest\.ca_file"):
            harness.poll(harness.rest(url=url.replace("localhost", "127.0.0.1"), ca_file=tmp_path / "ca.pem"))
        with pytest.raises(SourceRefused, match="give a file with PEM certificates"):
            harness.poll(harness.rest(url=url, ca_file=tmp_path / "broken.pem"))


class TricklingHead:
    """A server that sends one byte of its head at a time, for ever."""

    def __enter__(self) -> Self:
        self._over = threading.Event()
        over = self._over

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                    while not over.wait(0.05):
                        self.wfile.write(b"x")
                except OSError:
                    return

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
