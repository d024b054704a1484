"""The proxy variables: which requests go through a proxy, and the parts of it that a line may print."""

import os

import pytest

from exporter.errors import ProxyUnusable
from exporter.proxies import proxy_for, through

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.attack("proxies")
@pytest.mark.parametrize(
    ("entries", "url", "is_direct"),
    [
        ("10.0.0.0/8", "http://10.1.2.3:9093", True),
        ("10.0.0.1/8", "http://10.1.2.3", True),
        ("10.0.0.0/255.0.0.0", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]", True),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.1.2.3:9093", "http://10.1.2.3:9093", True),
        ("10.1.2.3:9093", "http://10.1.2.3:9094", False),
        ("2.3", "http://10.1.2.3", False),
        ("fd00::1", "http://[fd00::1]", True),
        ("[fd00::1]", "http://[fd00:0::1]", True),
        ("[fd00::1]:9093", "http://[fd00::1]:9093", True),
        ("[fd00::1]:9093", "http://[fd00::1]:9094", False),
        ("[fd00::1]:9093", "http://[fd00::1:9093]", False),
        ("[fd00::1]:443", "https://[fd00::1]", True),
        ("fd00::/8", "http://[fd12::1]:9093", True),
        ("[fd00::]/8", "http://[fd12::1]:9093", True),
        ("fe80::/10", "http://[fe80::1%25eth0]:9093", True),
        ("fe80::/10", "http://[fd00::1]", False),
        ("example.com", "http://example.com", True),
        ("example.com", "http://a.example.com", True),
        ("example.com", "http://notexample.com", False),
        (".example.com", "http://example.com", True),
        (".EXAMPLE.com", "http://A.Example.com.", True),
        ("*.example.com", "http://a.example.com", True),
        ("example.com:80", "http://example.com", True),
        ("example.com:8080", "http://example.com", False),
        ("https://example.com", "https://example.com", True),
        ("https://example.com", "http://example.com", False),
        ("all://example.com", "http://example.com", True),
        ("*", "http://anything.invalid", True),
        ("other.invalid, *", "http://anything.invalid", True),
        ("other.invalid example.com", "http://example.com", True),
        ("[::1", "http://example.com", False),
        ("[]:[],::::,10.0.0.0/99,%,.,*.,:80,http://,x:y:z,[v6]", "http://example.com", False),
        ("[::1],::1/128,fe80::/10,fd00::/8,[fd00::1]:9093", "http://example.com", False),
        ("[::1],::::,example.com", "http://example.com", True),
        ("", "http://example.com", False),
    ],
)
def test_each_entry_of_no_proxy(entries: str, url: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, addresses and networks are covered, with a port where the entry has one; invalid entries are ignored."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", entries)
    assert (proxy_for(url) is None) is is_direct


@pytest.mark.attack("proxies")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]"])
def test_loopback_has_no_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the proxy, a loopback address would be another machine: it is connected to directly."""
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    assert proxy_for(f"http://{host}:10071/") is None


@pytest.mark.parametrize(
    ("variables", "url", "host"),
    [
        ({"HTTP_PROXY": "http://a"}, "http://x.invalid", "a"),
        ({"HTTP_PROXY": "http://a"}, "https://x.invalid", None),
        ({"HTTP_PROXY": "http://a", "http_proxy": "http://b"}, "http://x.invalid", "b"),
        ({"HTTP_PROXY": "http://a", "http_proxy": ""}, "http://x.invalid", None),
        ({"ALL_PROXY": "http://a", "HTTPS_PROXY": "http://b"}, "https://x.invalid", "b"),
        ({"ALL_PROXY": "http://a", "HTTPS_PROXY": "http://b"}, "http://x.invalid", "a"),
        ({"HTTP_PROXY": "a"}, "http://x.invalid", "a"),
        ({"HTTP_PROXY": "http://a", "NO_PROXY": "x.invalid", "no_proxy": "y.invalid"}, "http://x.invalid", "a"),
        ({}, "http://x.invalid", None),
    ],
)
def test_precedence(variables: dict[str, str], url: str, host: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of the scheme precedes ALL_PROXY, small letters precede capitals, also where they are empty."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = proxy_for(url)
    assert (proxy and proxy.url) == (host and f"http://{host}")


@pytest.mark.attack("proxies")
@pytest.mark.parametrize(
    ("text", "url", "place"),
    [
        ("http://me:canary@p:3128", "http://me:canary@p:3128", "http://p:3128"),
        ("me:canary@p:3128", "http://me:canary@p:3128", "http://p:3128"),
        ("http://me:can%2Fary@p", "http://me:can%2Fary@p", "http://p"),
        ("http://me:can@ary@p", "http://me:can%40ary@p", "http://p"),
        ("http://canary@[fd00::1]:1/", "http://canary@[fd00::1]:1", "http://[fd00::1]:1"),
        ("socks5h://me:canary@p", "socks5h://me:canary@p", "socks5h://p"),
    ],
)
def test_a_line_names_the_proxy_without_its_credentials(
    text: str, url: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client gets the credentials, escaped; a line has the proxy's host and port."""
    monkeypatch.setenv("HTTP_PROXY", text)
    proxy = proxy_for("http://x.invalid")
    assert proxy
    assert (proxy.url, proxy.place) == (url, place)
    assert through("http://x.invalid") == f": through the proxy {place}"
    assert "canary" not in repr(proxy)


@pytest.mark.attack("proxies")
@pytest.mark.parametrize(
    "text",
    [
        "http://me:can/ary@p:3128",
        "http://me:1/canary@p:3128",
        "http://me:1#canary@p:3128",
        "http://me:1?canary@p:3128",
        "http://canary/me:x@p:3128",
        "http://me:canary@[x",
        "http://me:canary@p:0",
        "http://me:canary@p:x",
        "http://me:canary@a b",
        "http://me:canary@",
        "ftp://me:canary@p",
        "me:canary://x@p",
        " ",
    ],
)
def test_a_proxy_that_cannot_be_parsed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the variable and a valid form, and repeats nothing of its value."""
    monkeypatch.setenv("HTTP_PROXY", text)
    with pytest.raises(
        ProxyUnusable, match=r"^HTTP_PROXY is no proxy that can be used: give http://host:port"
    ) as caught:
        proxy_for("http://x.invalid")
    assert "canary" not in str(caught.value)
    assert through("http://x.invalid") == ""
