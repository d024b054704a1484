"""Texts as a person reads them on a screen."""

import math

import pytest

from exporter.texts import UNSHOWN, safe_uri, safe_uris, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.25, "250 ms"),
        (12.34, "12.3 s"),
        (60, "1 min"),
        (150, "2 min 30 s"),
        (1_500, "25 min"),
        (7_200, "2 h"),
        (8_100, "2 h 15 min"),
        (90_000, "1 d 1 h"),
        (86_400 * 1_200, "1,200 d"),
        (math.inf, "unknown"),
    ],
)
def test_a_span_is_written_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    """A span has one unit, or two where the larger counts less than ten."""
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("s3://bucket/table", "s3://bucket/table"),
        ("s3://KEY:canary@bucket/table", "s3://bucket/table"),
        ("https://canary@[fd00::1]:1/x", "https://[fd00::1]:1/x"),
        ("az://c/t?sv=2025&sig=canary", "az://c/t"),
        ("az://c/t#canary", "az://c/t"),
        ("file:///data/audits", "file:///data/audits"),
        ("/data/audits@home?x", "/data/audits@home?x"),
        ("s3://KEY:can/ary@bucket/table", UNSHOWN),
        ("s3://KEY:1/canary@bucket/table", UNSHOWN),
        ("http://[canary/x", UNSHOWN),
        ("://canary", UNSHOWN),
        ("https://canary@", UNSHOWN),
    ],
)
def test_a_uri_is_shown_without_what_may_be_secret(uri: str, text: str) -> None:
    """User, password, query and fragment are left out; of a URI that cannot be parsed nothing is printed."""
    assert safe_uri(uri) == text


def test_every_uri_in_a_text_is_safe() -> None:
    """A library's quotes are printed without their secrets, too."""
    output = 'GET https://a/b?sig=canary failed: "http://me:can/ary@p:1", s3://k:canary@b'
    assert safe_uris(output) == f'GET https://a/b failed: "{UNSHOWN}", s3://b'
