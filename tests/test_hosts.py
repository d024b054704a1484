"""Hosts in the spelling by which they are compared."""

import pytest

from exporter.hosts import canonical_host, is_loopback


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Agent.Example.COM.", "agent.example.com"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[0:0:0::1]", "::1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ("[agent]", "[agent]"),
        ("127.1", "127.1"),
    ],
)
def test_equal_hosts_are_spelled_alike(text: str, canonical: str) -> None:
    """Case, a last dot, brackets and the ways of writing an address make no difference; nothing is guessed."""
    assert canonical_host(text) == canonical


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_what_stays_on_this_machine(host: str, expected: bool) -> None:
    """localhost, 127.0.0.0/8 and ::1 do, in any spelling; the address that stands for every one does not."""
    assert is_loopback(host) is expected
