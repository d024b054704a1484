"""Responses of Alertmanager and failed connections: accepted, refused or neither, and an error message with advice."""

import json
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from exporter.texts import WITHHELD, quotes, safe_uris

# A batch of which something cannot be taken: 422 is a newer Alertmanager's word, 413 that of what stands before it.
_REFUSED, _TOO_LARGE, TOO_MANY = frozenset({400, 422}), 413, 429
FOREIGN = (
    "answers with what is not of Alertmanager's API v2: check alertmanager.urls,"
    " and whether a login page stands before it"
)

LONGEST_TEXT = 300
# The connection ended before the answer did.
BROKEN_OFF = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What OpenSSL says of an answer that is not TLS.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "record layer failure", "HTTP_REQUEST", "PACKET_LENGTH")
_ASKS_FOR_CERTIFICATE = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "HANDSHAKE_FAILURE")
_URLS = "check alertmanager.urls"
_RUNS = f"{_URLS} and that it runs"
_ANOTHER = f"{_URLS}: http or https, and whether it is an Alertmanager that answers"
_LOGS = "look at the logs of Alertmanager and of what stands before it"
_BETWEEN = "look at what stands between"
_PROXY = "check the proxy (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"
_PROOF = "check alertmanager.basic_auth or alertmanager.bearer_token"
_NO_API = f"{_URLS}: its API v2 is not there; where Alertmanager has a path prefix, the URL must have it too"
_ADVICE = {
    401: _PROOF,
    403: _PROOF,
    404: _NO_API,
    405: _NO_API,
    407: _PROXY,
    410: _NO_API,
    429: "too many requests: look at what stands before it",
}


@dataclass(frozen=True)
class Answer:
    """An answer; its body has a bound."""

    status: int
    location: str = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def no(self) -> str:
        """What it means, where it is no yes."""
        if self.is_success:
            return FOREIGN
        return answer_error(self.status, line(self.location, self.secrets), self.error_text)

    @property
    def error_text(self) -> str:
        """What it says in Alertmanager's way, as a line; nothing in any other, for that may quote what was sent."""
        try:
            error_text = self.json
        except ValueError:
            return ""
        message = error_text.get("message") if isinstance(error_text, dict) else error_text
        return safe_uris(line(message, self.secrets)) if isinstance(message, str) else ""

    @property
    def json(self) -> object:
        """What it holds; raises ValueError where that is no JSON."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError from None

    @property
    def is_json(self) -> bool:
        """Whether it holds JSON."""
        try:
            _ = self.json
        except ValueError:
            return False
        return True

    @property
    def is_yes(self) -> bool:
        """Whether it is that of an Alertmanager that took everything."""
        return self.is_success and (not self.body.strip() or self.is_json)

    @property
    def is_success(self) -> bool:
        """Whether its status is a success, whoever answers."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether something of the batch cannot be taken, by the word of an Alertmanager, or all of it at once."""
        return self.status == _TOO_LARGE or (self.status in _REFUSED and self.is_json)


def line(text: object, secrets: Iterable[str] = ()) -> str:
    """Return a stranger's text as one printable line of bounded length; nothing of one that quotes a secret."""
    error_text = str(text)
    if quotes(error_text, secrets, str.casefold):
        return WITHHELD
    error_text = " ".join("".join(sign if sign.isprintable() else " " for sign in error_text).split())
    return error_text if len(error_text) <= LONGEST_TEXT else f"{error_text[:LONGEST_TEXT]}..."


def answer_error(status: int, location: str, text: str) -> str:
    """Explain an answer that is no yes; ``text`` is what it says, as a line."""
    if status in REDIRECTS:
        return f"redirects to {_place(location)}, which is not followed: set alertmanager.urls to where it leads"
    advice = _ADVICE.get(status, _LOGS if status >= 500 else _ANOTHER)
    return f"HTTP {status}{f': {text}' if text else ''}: {advice}"


def connection_error(error: Exception, secrets: Iterable[str], *, secure: bool) -> str:
    """Explain why there is no answer; ``secure`` is whether TLS was asked for."""
    text = "no HTTP" if _is_foreign(error) else line(_reason(error), secrets) or type(error).__name__
    advice = _tls_advice(error, text)
    if advice is not None:
        return f"{text}: {advice}"
    if isinstance(error, httpx.ReadError | httpx.WriteError | httpx.CloseError):
        # Whoever sends a long request to somebody who misses a certificate may never read that he does.
        proof = ", and whether it asks for a certificate (alertmanager.tls.cert_file)" if secure else ""
        return f"the connection ended before its answer did ({text}): {_BETWEEN}{proof}"
    if isinstance(error, httpx.ProxyError):
        return f"{text}: {_PROXY}"
    if isinstance(error, httpx.RemoteProtocolError) and "without sending complete" in text:
        return f"the connection ended before its answer did: {_BETWEEN}"
    return f"{text}: {_RUNS if isinstance(error, httpx.ConnectError | OSError) else _ANOTHER}"


def _is_foreign(error: Exception) -> bool:
    """Tell whether the text of an error holds bytes of the answer, cut anywhere and escaped in a way of its own."""
    ended = ("Server disconnected", "peer closed connection")
    return isinstance(error, httpx.RemoteProtocolError) and not str(error).startswith(ended)


def _reason(error: BaseException) -> object:
    """Return the innermost reason that the system gives: it is wrapped several times."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, ssl.SSLError):
            # asyncio has words of its own for a refused connection.
            return os.strerror(inner.errno) if inner.errno and inner.errno > 0 else inner.strerror
        inner = inner.__cause__ or inner.__context__
    return error


def _tls_advice(error: BaseException, text: str) -> str | None:
    """Return what to do about a failure of TLS, None for any other."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    if any(sign in text for sign in _NOT_TLS):
        return f"it may speak plain http there; {_URLS}"
    if any(sign in text for sign in _ASKS_FOR_CERTIFICATE):
        return "it asks for a certificate that it trusts: check alertmanager.tls.cert_file"
    return "check alertmanager.tls.ca_file, the host's name and whether its certificate expired"


def _place(location: str) -> str:
    """Return where a redirect leads, without what may be secret in it."""
    try:
        there = urlsplit(location)
        host, port = there.hostname, there.port
    except ValueError:
        return "what is no URL"
    if not host:
        return "another path"
    return line(f"{there.scheme or 'http'}://{host}{f':{port}' if port else ''}")
