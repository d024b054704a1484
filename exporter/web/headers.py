"""The headers that keep a browser harmless, on every answer."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

RawHeaders = list[tuple[bytes, bytes]]


def with_security_headers(headers: RawHeaders, configured: Mapping[str, str]) -> RawHeaders:
    """Return the headers of an answer with those above where it lacks them, and with those of the configuration.

    The names of ``headers`` are in small letters.
    """
    found = MutableHeaders(raw=list(headers))
    for name, value in SECURITY_HEADERS.items():
        found.setdefault(name, value)
    found.update(configured)
    return found.raw
