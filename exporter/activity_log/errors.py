"""Errors of Tableau Cloud Manager and of its object store, as one line each without tokens and signatures."""

import json
import os
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

import httpx

from exporter.errors import SourceError
from exporter.proxies import passwords
from exporter.texts import one_line, safe_text, safe_uri

LONGEST_TEXT = 300
_NOT_TLS = ("WRONG_VERSION_NUMBER", "wrong version number", "record layer failure", "HTTP_REQUEST")


class SessionEnded(SourceError):
    """Tableau Cloud Manager does not know the session any more."""


class Forbidden(SourceError):
    """Tableau Cloud Manager answers that this is not allowed, or not there: another edition, or not our site."""


class BadRequest(SourceError):
    """Tableau Cloud Manager answers that the request is wrong."""


class LinkExpired(SourceError):
    """The object store refuses a presigned address."""


class TransferIncomplete(SourceError):
    """A file did not arrive in full."""


def line(text: object, secrets: Iterable[str]) -> str:
    """Return a foreign text as one printable line of bounded length, without secrets."""
    safe = safe_text(str(text), (*secrets, *passwords()))
    safe = one_line("".join(sign if sign.isprintable() else " " for sign in safe))
    return safe if len(safe) <= LONGEST_TEXT else f"{safe[:LONGEST_TEXT]}..."


def origin(url: str) -> str:
    """Return scheme and host of a URL: a path names files, and a query is a signature."""
    try:
        parts = urlsplit(safe_uri(url))
    except ValueError:
        return "an address that cannot be parsed"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "an address that cannot be parsed"


def message_of(body: bytes, secrets: Iterable[str]) -> str:
    """Return the message of an error's body with a colon before it; empty where it has none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict):
        return ""
    texts = [str(found[key]) for key in ("errorCode", "message") if isinstance(found.get(key), str | int)]
    return f": {line(': '.join(texts), secrets)}" if texts else ""


def connection_error(error: Exception, secrets: Iterable[str], key: str) -> str:
    """Return why a request had no response; ``key`` is the section whose keys are to be checked."""
    if isinstance(error, httpx.TimeoutException):
        return f"no whole answer in time; raise {key}.timeout if Tableau is slow"
    if isinstance(error, httpx.ProxyError):
        return f"{line(error, secrets)}: check the proxy (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"
    reason = _reason(error)
    if isinstance(reason, ssl.SSLError):
        text = line(reason, secrets)
        if any(sign in text for sign in _NOT_TLS):
            return f"{text}: it may speak plain http there; check {key}.url"
        return f"{text}: check {key}.ca_file, the host's name and whether its certificate expired"
    if isinstance(error, httpx.RemoteProtocolError):
        # The text of others has bytes of the answer.
        return "the connection ended before its answer did, or what answers is no HTTP server"
    number = reason.errno if isinstance(reason, OSError) else None
    text = os.strerror(number) if number is not None and number > 0 else str(reason)
    return f"{line(text, secrets) or type(error).__name__}: check {key}.url and that the network allows it"


def _reason(error: BaseException) -> BaseException:
    """Return the innermost error of TLS or of the operating system."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) or (isinstance(cause, OSError) and cause.strerror):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error
