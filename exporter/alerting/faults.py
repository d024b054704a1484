"""What went wrong with an Alertmanager, as the end of one line of ours: what it is, and what to do about it."""

import os
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

import httpx

from exporter.texts import WITHHELD, quotes

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


def line(text: object, secrets: Iterable[str] = ()) -> str:
    """Return a stranger's text as one printable line of bounded length; nothing of one that quotes a secret."""
    said = str(text)
    if quotes(said, secrets, str.casefold):
        return WITHHELD
    said = " ".join("".join(sign if sign.isprintable() else " " for sign in said).split())
    return said if len(said) <= LONGEST_TEXT else f"{said[:LONGEST_TEXT]}..."


def of_answer(status: int, location: str, text: str) -> str:
    """Explain an answer that is no yes; ``text`` is what it says, as a line."""
    if status in REDIRECTS:
        return f"redirects to {_place(location)}, which is not followed: set alertmanager.urls to where it leads"
    advice = _ADVICE.get(status, _LOGS if status >= 500 else _ANOTHER)
    return f"HTTP {status}{f': {text}' if text else ''}: {advice}"


def of_connection(error: Exception, secrets: Iterable[str], *, secure: bool) -> str:
    """Explain why there is no answer; ``secure`` is whether TLS was asked for."""
    text = "no HTTP" if _is_foreign(error) else line(_reason(error), secrets) or type(error).__name__
    advice = _of_tls(error, text)
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


def _of_tls(error: BaseException, text: str) -> str | None:
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
