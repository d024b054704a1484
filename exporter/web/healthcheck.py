"""The health check: requests the agent of this machine, at its listen address, through no proxy."""

import http.client
import ssl

from exporter.errors import WebError
from exporter.web.tls import Tls

_PATH = "/-/healthy"
_TIMEOUT_SECONDS = 4.0
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - these are connected to, not listened on
_OK, _UNAUTHORIZED = 200, 401


def check_health(host: str, port: int, tls: Tls | None, route_prefix: str = "/") -> str:
    """Return what the agent answers, over TLS where it has it. Raises WebError where it does not answer.

    No password and no certificate of a client is at hand, and none is needed: that the agent demands one is an answer.
    Its own certificate is not checked, for it names another host, and nothing that is secret is sent.
    """
    host, path = _ANY.get(host, host), route_prefix.rstrip("/") + _PATH
    place = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}{path}"
    connection = _connection(host, port, secure=tls is not None)
    try:
        status = _status(connection, path, requires_certificate=tls is not None and tls.requires_certificate)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        advice = "check that the agent runs, and that web.listen_address and web.config_file are its own"
        raise WebError(f"{place}: {reason}: {advice}") from None
    finally:
        connection.close()
    if status is None:
        return f"{place}: requires a certificate"
    if status not in {_OK, _UNAUTHORIZED}:
        raise WebError(f"{place}: HTTP {status}: check the agent's log, and whether it is the agent that answers")
    return f"{place}: {'healthy' if status == _OK else 'requires a user'}"


def _connection(host: str, port: int, *, secure: bool) -> http.client.HTTPConnection:
    # Neither of the two knows of proxies.
    if not secure:
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=context)


def _status(connection: http.client.HTTPConnection, path: str, *, requires_certificate: bool) -> int | None:
    """Return the status of the answer, None where the agent wants a certificate before it gives any."""
    try:
        connection.connect()
        # The name in web.listen_address need not be one of web.allowed_hosts.
        connection.request("GET", path, headers={"Host": "localhost"})
        return connection.getresponse().status
    except (ssl.SSLEOFError, ConnectionResetError):
        # How asyncio's TLS ends a connection whose client has no certificate, within a handshake or after it.
        if requires_certificate:
            return None
        raise
