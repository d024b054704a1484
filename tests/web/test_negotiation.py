"""Content negotiation of formats and compression."""

import pytest

from exporter.web.negotiation import wants_gzip, wants_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + PROMETHEUS_3
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        (BROWSER, False),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (PROMETHEUS_PROTOBUF_FIRST, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/*", True),
        ("application/openmetrics-text, */*", True),
        ("text/plain", False),
        ("text/*, application/*;q=0.5", False),
        ("text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0", False),
        ("application/openmetrics-text;version=1.0.0, text/plain;version=0.0.4", True),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0.9, text/plain;q=0.2", True),
        ("application/openmetrics-text;q=0, */*", False),
        ("application/openmetrics-text;q=0", False),
        ("text/plain;q=0, */*;q=0.1", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0, text/plain;q=0.1", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=2", False),
        ("application/openmetrics-text;q=", False),
        ("image/png", False),
        (",;=,,;q=1,", False),
    ],
)
def test_the_format_with_the_best_quality_is_chosen(accept: str, openmetrics: bool) -> None:
    """OpenMetrics is served to clients that prefer it and can read 1.0.0, text to all others."""
    assert wants_openmetrics(accept) is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("deflate;q=0.5, gzip;q=1.0", True),
        ("gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("identity;q=0, gzip;q=0.1", True),
        ("br", False),
        ("gzip;q=high", False),
    ],
)
def test_gzip_is_used_where_it_is_allowed_and_not_liked_less(accept_encoding: str, gzip: bool) -> None:
    """Gzip is served to clients that allow it with a quality above zero and no lower than that of plain bytes."""
    assert wants_gzip(accept_encoding) is gzip
