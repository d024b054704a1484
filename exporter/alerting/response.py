"""Responses of Alertmanager and failed connections: accepted, refused or neither, and an error message with advice."""

import json
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from exporter.alerting.notification import line
from exporter.texts import safe_uris

# A batch that is refused in part or whole: 422 is from a newer Alertmanager, 413 from a proxy.
_REFUSED, _TOO_LARGE, TOO_MANY = frozenset({400, 422}), 413, 429
FOREIGN = (
    "the response is not from Alertmanager's API v2: check alertmanager.urls, and whether a login page stands before it"
)

# The connection ended before the answer did.
BROKEN_OFF = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# OpenSSL's reasons for a response that is not TLS.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "record layer failure", "HTTP_REQUEST", "PACKET_LENGTH")
_ASKS_FOR_CERTIFICATE = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "HANDSHAKE_FAILURE")
_URLS = "check alertmanager.urls"
_RUNS = f"{_URLS} and that it runs"
_ANOTHER = f"{_URLS}: http or https, and whether it is an Alertmanager that answers"
_LOGS = "check the logs of Alertmanager and of a proxy before it"
_BETWEEN = "check the network and proxies between"
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
    429: "too many requests: check the proxy before it",
}


@dataclass(frozen=True)
class Response:
    """A response with a bounded body."""

    status: int
    location: str = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def error(self) -> str:
        """The error, where it was not accepted."""
        if self.is_success:
            return FOREIGN
        return response_error(self.status, line(self.location, self.secrets), self.error_text)

    @property
    def error_text(self) -> str:
        """Alertmanager's error message as a line; empty for any other body, which may quote the request."""
        try:
            body = self.json
        except ValueError:
            return ""
        message = body.get("message") if isinstance(body, dict) else body
        return safe_uris(line(message, self.secrets)) if isinstance(message, str) else ""

    @property
    def json(self) -> object:
        """The parsed body; raises ValueError where it is no JSON."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError from None

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        try:
            _ = self.json
        except ValueError:
            return False
        return True

    @property
    def is_accepted(self) -> bool:
        """Whether an Alertmanager accepted everything."""
        return self.is_success and (not self.body.strip() or self.is_json)

    @property
    def is_success(self) -> bool:
        """Whether its status is a success, of Alertmanager or not."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether Alertmanager refuses some alerts of the batch, or the batch is too large."""
        return self.status == _TOO_LARGE or (self.status in _REFUSED and self.is_json)


def response_error(status: int, location: str, text: str) -> str:
    """Return the error of a response; ``text`` is its message, as a line."""
    if status in REDIRECTS:
        return f"redirects to {_place(location)}, which is not followed: set alertmanager.urls to where it leads"
    advice = _ADVICE.get(status, _LOGS if status >= 500 else _ANOTHER)
    return f"HTTP {status}{f': {text}' if text else ''}: {advice}"


def connection_error(error: Exception, secrets: Iterable[str], *, secure: bool) -> str:
    """Return the error of a request without response; ``secure`` is whether it was HTTPS."""
    text = "no HTTP" if _is_foreign(error) else line(_reason(error), secrets) or type(error).__name__
    advice = _tls_advice(error, text)
    if advice is not None:
        return f"{text}: {advice}"
    if isinstance(error, httpx.ReadError | httpx.WriteError | httpx.CloseError):
        # A server that requires a client certificate may close before that error is read.
        proof = ", and whether it requires a certificate (alertmanager.tls.cert_file)" if secure else ""
        return f"the connection ended before its answer did ({text}): {_BETWEEN}{proof}"
    if isinstance(error, httpx.ProxyError):
        return f"{text}: {_PROXY}"
    if isinstance(error, httpx.RemoteProtocolError) and "without sending complete" in text:
        return f"the connection ended before its answer did: {_BETWEEN}"
    return f"{text}: {_RUNS if isinstance(error, httpx.ConnectError | OSError) else _ANOTHER}"


def _is_foreign(error: Exception) -> bool:
    """Whether the text of an error has bytes of the response."""
    ended = ("Server disconnected", "peer closed connection")
    return isinstance(error, httpx.RemoteProtocolError) and not str(error).startswith(ended)


def _reason(error: BaseException) -> object:
    """Return the innermost error of the operating system: it is wrapped several times."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, ssl.SSLError):
            # asyncio has its own text for a refused connection.
            return os.strerror(inner.errno) if inner.errno and inner.errno > 0 else inner.strerror
        inner = inner.__cause__ or inner.__context__
    return error


def _tls_advice(error: BaseException, text: str) -> str | None:
    """Return advice for a TLS error, None for any other."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    if any(sign in text for sign in _NOT_TLS):
        return f"it may speak plain http there; {_URLS}"
    if any(sign in text for sign in _ASKS_FOR_CERTIFICATE):
        return "it requires a certificate that it trusts: check alertmanager.tls.cert_file"
    return "check alertmanager.tls.ca_file, the host's name and whether its certificate expired"


def _place(location: str) -> str:
    """Return the origin of a redirect, without path and credentials."""
    try:
        there = urlsplit(location)
        host, port = there.hostname, there.port
    except ValueError:
        return "an invalid URL"
    if not host:
        return "another path"
    return line(f"{there.scheme or 'http'}://{host}{f':{port}' if port else ''}")
