"""What RFC 9112 asks of a server about a request, and h11 leaves to its user."""

import re

from h11 import RemoteProtocolError, Request

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)")


def checked(request: Request) -> Request:
    """Return a request in origin-form. Raises RemoteProtocolError where its framing or its target is ambiguous."""
    names = {name for name, _ in request.headers}
    # Section 6.1: two readings of where a request ends are how one is smuggled past a proxy in front.
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version < b"1.1"):
        raise RemoteProtocolError("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    absolute = _ABSOLUTE.fullmatch(request.target)
    return _in_origin_form(request, *absolute.groups()) if absolute else request


def _in_origin_form(request: Request, authority: bytes, target: bytes) -> Request:
    """Take the host of an absolute target in place of the header Host, as section 3.2.2 asks."""
    if not authority or b"@" in authority:
        raise RemoteProtocolError("the target names no host, or a user")
    headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"host"]
    return Request(
        method=request.method,
        target=target if target.startswith(b"/") else b"/" + target,
        headers=[(b"Host", authority), *headers],
        http_version=request.http_version,
    )
