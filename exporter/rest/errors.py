"""Errors of requests and tableauserverclient, translated into ours: one line each, without secrets."""

import re
from collections.abc import Iterable
from urllib.parse import quote
from xml.etree.ElementTree import ParseError

import requests
from tableauserverclient.namespace import UnknownNamespaceError
from tableauserverclient.server.endpoint.exceptions import (
    FailedSignInError,
    InternalServerError,
    NonXMLResponseError,
    RedirectError,
    ServerResponseError,
    TableauError,
)
from tableauserverclient.server.exceptions import EndpointUnavailableError

from exporter.errors import SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.proxies import passwords
from exporter.texts import quotes, safe_text

LONGEST_TEXT = 300
RAISED = (
    requests.RequestException,
    TableauError,
    UnknownNamespaceError,
    EndpointUnavailableError,
    ParseError,
    OSError,
    RecursionError,
    # XML that defusedxml refuses, unknown encodings, numbers of thousands of digits.
    ValueError,
    LookupError,
    OverflowError,
)
_BAD_REQUEST, _NOT_FOUND = "400", "404"
_FORBIDDEN = ("403", "405")
_NOT_TABLEAU = "the response is not from Tableau's REST API; check rest.url"
# OpenSSL's texts for an answer that is not TLS.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "wrong version number",
    "record layer failure",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
)
# How urllib3 prints a connection of ours.
_CONNECTION = re.compile(r"^\w+\(host=.*?\): ")


class SessionLost(SourceError):
    """Tableau no longer knows the session."""


class Forbidden(SourceError):
    """Tableau answers that this is not allowed, or not there."""


class OutOfScope(Forbidden):
    """Tableau refuses one endpoint to a live session: for example the scopes of a connected app do not cover it."""


class NotFound(Forbidden):
    """Tableau answers that there is no such thing."""


class NotTableau(SourceError):
    """Another program answers in Tableau's place."""


class AnswerTooLarge(SourceIncomplete):
    """An answer would be, or is, larger than its limit."""


class BadRequest(SourceError):
    """Tableau answers that the request is wrong: a page beyond the last, an order that it does not know."""


class Redactor:
    """Replaces secrets in texts."""

    def __init__(self) -> None:
        self._known = _forms(*passwords())
        self._last: tuple[frozenset[str], str, str] | None = None

    def add(self, *secrets: str | None) -> None:
        """Redact these from now on."""
        self._known |= _forms(*secrets)

    def keep_only(self, *secrets: str | None) -> None:
        """Forget all others: the store must not grow with every session."""
        self._known = _forms(*secrets, *passwords())

    def found_in(self, text: str) -> bool:
        """Return whether a text quotes any of them; the name of a host may do so in lower case."""
        return quotes(text, self._known, str.casefold)

    def redact(self, text: object) -> str:
        """Return a text as one printable line without secrets.

        The last one is remembered: every request names Tableau's address, and redacting that takes most of its time.
        """
        known, text, last = self._known, str(text), self._last
        if last is not None and last[:2] == (known, text):
            return last[2]
        line = safe_text(text, known)
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in line).split())
        redacted = line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}..."
        self._last = known, text, redacted
        return redacted


def _forms(*secrets: str | None) -> frozenset[str]:
    return frozenset(form for secret in secrets if secret for form in (secret, quote(secret, safe="")))


def translated(error: Exception, place: str, redactor: Redactor) -> SourceError:  # noqa: PLR0911 - a table of cases
    """Turn what requests or tableauserverclient raised into one of our errors."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, requests.RequestException):
        return _of_connection(error, place, redactor)
    if isinstance(error, FailedSignInError):
        return SessionLost(f"{place}: {redactor.redact(_text_of(error))}")
    if isinstance(error, ServerResponseError):
        if not str(error.code).isdecimal():
            return NotTableau(f"{place}: {_NOT_TABLEAU}")
        text = f"{place}: {redactor.redact(_text_of(error))}"
        kinds = {_BAD_REQUEST: BadRequest, _NOT_FOUND: NotFound, **dict.fromkeys(_FORBIDDEN, Forbidden)}
        return kinds.get(str(error.code)[:3], SourceError)(text)
    if isinstance(error, InternalServerError):
        return SourceUnreachable(f"{place}: answers with HTTP {error.code}; check Tableau's own state and logs")
    if isinstance(error, RedirectError):
        return SourceRefused(f"{place}: {redactor.redact(error)}; set rest.url to where Tableau itself answers")
    if isinstance(error, EndpointUnavailableError):
        return Forbidden(f"{place}: {redactor.redact(error)}")
    if isinstance(error, NonXMLResponseError):
        return NotTableau(f"{place}: {_NOT_TABLEAU}")
    return SourceIncomplete(f"{place}: an answer that cannot be read ({type(error).__name__}); check rest.url")


def is_answer(error: Exception) -> bool:
    """Return whether Tableau itself answered and knew the session: to refuse a list is no fault of Tableau."""
    return isinstance(error, ServerResponseError) and str(error.code)[:1] == "4" and str(error.code)[:3] != "401"


def as_poll_error(error: SourceError) -> SourceError:
    """Return the error of a whole poll that read nothing."""
    return error if isinstance(error, SourceUnreachable | SourceRefused) else SourceUnreachable(str(error))


def _of_connection(  # noqa: PLR0911 - a table of cases
    error: requests.RequestException, place: str, redactor: Redactor
) -> SourceError:
    text = redactor.redact(_reason(error))
    if isinstance(error, requests.exceptions.SSLError) and any(sign in text for sign in _NOT_TLS):
        return SourceRefused(f"{place}: {text}: it may speak plain http there; check rest.url")
    if isinstance(error, requests.exceptions.SSLError):
        return SourceRefused(
            f"{place}: {text}: check rest.ca_file, the host's name and whether its certificate expired"
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return SourceUnreachable(f"{place}: {text}: check the proxy (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)")
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return SourceIncomplete(f"{place}: an answer that cannot be unpacked")
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return SourceIncomplete(f"{place}: an answer that is no JSON; check whether a login page stands in between")
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return SourceUnreachable(f"{place}: the connection ended in the middle of an answer; check what stands between")
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return SourceUnreachable(f"{place}: {text}: check rest.url and that Tableau runs")
    return SourceRefused(f"{place}: {text}: check rest.url")


def _reason(error: BaseException) -> str:
    """Return the innermost reason: urllib3 wraps it several times."""
    inner = error
    for _ in range(6):
        inside: Iterable[object] = (getattr(inner, "reason", None), *inner.args)
        nested = next((item for item in inside if isinstance(item, BaseException)), None)
        if nested is None:
            break
        inner = nested
    text = _CONNECTION.sub("", str(inner)) or type(inner).__name__
    return text.rpartition(">: ")[2] if ">: " in text else text


def _text_of(error: ServerResponseError | FailedSignInError) -> str:
    return f"{error.code}: {error.summary}: {error.detail}"
