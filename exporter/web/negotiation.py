"""Content negotiation of ``/metrics`` by RFC 9110: quality first, then the more exact range, then the order.

Every request is answered: where nothing matches, in the text format and uncompressed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

TEXT = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS = CONTENT_TYPE_LATEST

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_UNACCEPTABLE = (0.0, 0, 0)


@dataclass(frozen=True)
class _Range:
    """One element of an Accept header; missing parts are empty."""

    position: int
    value: str
    version: str
    quality: float


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept header prefers OpenMetrics 1.0.0 to the text format 0.0.4; a tie goes to text."""
    ranges = tuple(_ranges(accept))
    return _rank(ranges, "application/openmetrics-text", "1.0.0") > _rank(ranges, "text/plain", "0.0.4")


def wants_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip and does not prefer the plain bytes."""
    qualities: dict[str, float] = {}
    for coding in _ranges(accept_encoding):
        qualities.setdefault(coding.value.removeprefix("x-"), coding.quality)
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _ranges(header: str) -> Iterator[_Range]:
    """Yield the well-formed elements of a header; a malformed quality makes an element void."""
    for position, element in enumerate(header.lower().split(",")):
        value, *parameters = (part.strip() for part in element.split(";"))
        named = dict(_parameter(parameter) for parameter in parameters)
        quality = named.get("q", "1")
        if value and _QUALITY.fullmatch(quality):
            yield _Range(position, value, named.get("version", ""), float(quality))


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _rank(ranges: tuple[_Range, ...], media_type: str, version: str) -> tuple[float, int, int]:
    """Rank a media type by the most exact range that covers it."""
    covering = [
        (exactness, -element.position, element.quality)
        for element in ranges
        if (exactness := _exactness(element, media_type, version)) is not None
    ]
    if not covering:
        return _UNACCEPTABLE
    exactness, order, quality = max(covering)
    return (quality, exactness, order) if quality > 0 else _UNACCEPTABLE


def _exactness(element: _Range, media_type: str, version: str) -> int | None:
    """Grade how exactly a range names a media type, or None where it means another."""
    if element.value == media_type:
        return {"": 3, version: 4}.get(element.version)
    if element.value == media_type.partition("/")[0] + "/*":
        return 2
    return 1 if element.value == "*/*" else None
