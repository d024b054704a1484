"""Hosts, listening addresses and URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.addresses import (
    Endpoint,
    crosses_network_in_clear,
    parse_host,
    parse_host_name,
    parse_listen_address,
    parse_url,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tableau1:8060", "tableau1", 8060),
        ("tableau1", "tableau1", 8060),
        ("tableau_1.example.com:5432", "tableau_1.example.com", 5432),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:8061", "::1", 8061),
        ("[::1]", "::1", 8060),
        ("fe80::1", "fe80::1", 8060),
        ("/var/run/postgresql:5432", "/var/run/postgresql", 5432),
        ("/var/run/postgresql", "/var/run/postgresql", 8060),
    ],
)
def test_a_host_is_read(text: str, host: str, port: int) -> None:
    """A host has a name, an address or a socket's folder, and Tableau's port unless another is given."""
    assert parse_host(text) == Endpoint(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":8060", "a:", "a:0", "a:65536", "a:b", "a b", "user:hush@db", "https://a", "[::1", "[x]:1", "a,b", "a=b"],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    """A text that libpq could misread never reaches it."""
    with pytest.raises(ValueError, match=r"^must "):
        parse_host(text)


@given(st.text(min_size=1))
def test_a_host_is_read_or_refused_and_never_repeated(text: str) -> None:
    """Any text is a host or a fault that does not repeat it."""
    with pytest.raises(ValueError, match=r"^must ") as error:
        parse_host(f"hunter2@{text}")
    assert "hunter2" not in str(error.value)


@given(st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.integers(1, 65_535))
def test_an_endpoint_prints_as_it_is_written(host: str, port: int) -> None:
    """What an endpoint prints reads back as the same endpoint."""
    for endpoint in (Endpoint(host, port), Endpoint("::1", port), Endpoint(f"/{host}", port)):
        assert parse_host(str(endpoint)) == endpoint


def test_a_socket_is_told_from_a_network() -> None:
    """Only what starts with a slash is a Unix socket."""
    assert parse_host("/run/postgresql:5432").is_socket
    assert not parse_host("run:5432").is_socket


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:10071", "127.0.0.1", 10071),
        (":10071", "", 10071),
        ("[::]:10071", "::", 10071),
        ("localhost:0", "localhost", 0),
    ],
)
def test_a_listening_address_is_read(text: str, host: str, port: int) -> None:
    """An empty host stands for every address, port 0 for any free port."""
    assert parse_listen_address(text) == Endpoint(host, port)


@pytest.mark.parametrize("text", ["", "10071", "localhost", "::1", "[]:1", "localhost:70000", "http://localhost:1"])
def test_what_is_no_listening_address_is_refused(text: str) -> None:
    """A listening address names its port."""
    with pytest.raises(ValueError, match=r"^must "):
        parse_listen_address(text)


def test_a_url_loses_its_closing_slash() -> None:
    """Paths can be added to a URL without doubling the slash."""
    assert parse_url("https://tableau.example.com:8443/proxied/") == "https://tableau.example.com:8443/proxied"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tableau.example.com", "must be a URL such as https://tableau.example.com"),
        ("ftp://tableau.example.com", "must be a URL such as https://tableau.example.com"),
        ("https://", "must be a URL such as https://tableau.example.com"),
        ("https://a:hush", "must be a URL such as https://tableau.example.com"),
        ("https://[::1", "must be a URL such as https://tableau.example.com"),
        ("https://a b", "must be a URL such as https://tableau.example.com"),
        ("https://me:hush@a", "must not carry a user or a password: they have keys of their own"),
        ("https://me:1/hush@a", "must not carry a user or a password: they have keys of their own"),
        ("https://a?x=hush", "must end before the query: no ? and no #"),
    ],
)
def test_what_is_no_url_says_why(text: str, message: str) -> None:
    """A URL is http or https, without a password and without a query."""
    with pytest.raises(ValueError, match=r".") as error:
        parse_url(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("https://tableau", False),
        ("http://tableau", True),
        ("http://localhost:80", False),
        ("http://127.0.0.2", False),
        ("http://[::1]:80", False),
        ("http://10.0.0.1", True),
    ],
)
def test_plain_http_is_safe_on_loopback_alone(url: str, clear: bool) -> None:
    """What stays on the machine cannot be read on the way."""
    assert crosses_network_in_clear(url) is clear


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("monitoring.example.com", "monitoring.example.com"),
        (" Monitoring.Example.com. ", "monitoring.example.com"),
        ("agent_1", "agent_1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
    ],
)
def test_a_host_name_is_read_as_hosts_are_compared(text: str, host: str) -> None:
    """A name or an address is read in one spelling, with any case."""
    assert parse_host_name(text) == host


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.example.com", "http://a", "a/", "a:80", "[::1]:80", "a b", "-a", "a..b", ".a", "u@a", "bücher", "[a]"],
)
def test_what_is_no_host_name_is_refused(text: str) -> None:
    """A scheme, a port, a path and a wildcard are faults."""
    with pytest.raises(ValueError, match=r"^must be host names such as"):
        parse_host_name(text)
    with pytest.raises(ValueError, match=r"^must be host names such as"):
        parse_host_name(".".join(["a" * 50] * 6))
