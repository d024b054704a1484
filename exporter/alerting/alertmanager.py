"""Client of one Alertmanager's API v2. Every failure is one line without secrets.

Each request has a connection and a deadline of its own, however slow its response; no redirect is followed.
"""

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from exporter import __version__
from exporter.alerting.batches import Sent, batches, deliver
from exporter.alerting.notification import Notification, line
from exporter.alerting.response import BROKEN_OFF, FOREIGN, TOO_MANY, Response, connection_error
from exporter.errors import ExporterError, NotificationFailed, ProxyUnusable
from exporter.proxies import passwords, proxy_for, through
from exporter.value_count import ValueCount

__all__ = ["Alertmanager", "AlertmanagerOptions", "Authorization", "Sent"]

# The response to an alert is empty or a reason, the status has the whole configuration.
REASON_BYTES, STATUS_BYTES = 65_536, 8_000_000
ALERTS_PATH, STATUS_PATH = "/api/v2/alerts", "/api/v2/status"

# Share of the timeout of a request for the connection, and again for TLS: httpcore does not close what is cancelled in
# the middle of a handshake.
_CONNECTING = 0.45
_HEADERS = {
    "User-Agent": f"tableau-exporter/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}

Authorization = tuple[str, str] | str | None
"""User and password, a bearer token, or nothing."""


@dataclass(frozen=True)
class AlertmanagerOptions:
    """URL, credentials and TLS. ``authorization`` is called for each request, and may raise ExporterError.

    ``timeout`` bounds a whole request in seconds.
    """

    url: str
    authorization: Callable[[], Authorization] = lambda: None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    timeout: float = 10.0
    labels: Mapping[str, str] = field(default_factory=dict)
    """Added to every alert that is sent; none of them has such a name."""


@dataclass(frozen=True)
class _Credentials:
    """The authorization header, and the secrets in it."""

    headers: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class _ConnectionClosed(NotificationFailed):
    """The connection ended before its answer did."""


class HostResolver(ThreadPoolExecutor):
    """An executor with a thread for each call, which is left alone when it takes too long; one at a time."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._last: Future[Any] | None = None

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Call it in a thread of its own. Raises OSError while the last one has not come back."""
        if self._last is not None and not self._last.done():
            raise socket.gaierror(socket.EAI_AGAIN, "the name server has not answered since the last request")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._last = future
        threading.Thread(target=_run, args=(future, call, args, named), name="lookup", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - inherited
        """Do not wait for lookups; the executor can be used again."""


def _run(future: Future[Any], call: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> None:
    try:
        found = call(*args, **named)
    except BaseException as error:  # noqa: BLE001 - set on the future, as any executor does
        future.set_exception(error)
    else:
        future.set_result(found)


class Alertmanager:
    """A client that sends alerts."""

    def __init__(self, options: AlertmanagerOptions) -> None:
        self.url = options.url
        self._options = options
        self._context: ssl.SSLContext | None = None
        self._lookups = HostResolver()

    def send(self, alerts: Sequence[Notification]) -> Sent:
        """Send notifications, each of them once, until a request fails."""
        sent = Sent()
        try:
            for batch in batches(alerts, self._options.labels):
                deliver(batch, self._post, sent)
        except NotificationFailed as error:
            sent.failure = str(error)
        return sent

    def version(self) -> str:
        """Return its version. Raises NotificationFailed."""
        response = self._request("GET", STATUS_PATH, None, STATUS_BYTES)
        if response.status != httpx.codes.OK:
            raise self._failed(response.error)
        try:
            version = response.json["versionInfo"]["version"]  # type: ignore[index] # what it is not is caught
        except (ValueError, TypeError, LookupError):
            raise self._failed(FOREIGN) from None
        return line(version, response.secrets)

    def close(self) -> None:
        """Release the certificates: there are no connections between requests."""
        self._context = None

    def _post(self, body: bytes) -> str | None:
        """Post a batch; return why it is refused."""
        response = self._post_batch(body)
        if response.is_accepted:
            return None
        # A proxy may refuse a word in this batch, or everything: an empty batch distinguishes the two.
        if not response.is_refusal and (response.status == TOO_MANY or not self._post_batch(b"[]").is_accepted):
            raise self._failed(response.error)
        return response.error_text or f"HTTP {response.status}"

    def _post_batch(self, body: bytes) -> Response:
        try:
            return self._request("POST", ALERTS_PATH, body, REASON_BYTES)
        except _ConnectionClosed:
            # A server that refuses before it has read the body may close before its reason is read: a GET has no body.
            self.version()
            raise

    def _request(self, method: str, path: str, body: bytes | None, bound: int) -> Response:
        """Make one request. After a failure the certificates are read again; credentials are read each time."""
        credentials, kind = self._credentials(), NotificationFailed
        try:
            if self._context is None:
                self._context = self._tls_context()
            return asyncio.run(self._send_request(method, path, body, bound, credentials))
        except (TimeoutError, httpx.TimeoutException):
            limit = f"{self._options.timeout:g} s"
            reason = f"no whole answer within {limit}: check that it runs, or raise alertmanager.timeout"
        except (httpx.HTTPError, OSError) as error:
            reason = connection_error(error, credentials.secrets, secure=self.url.startswith("https:"))
            kind = _ConnectionClosed if isinstance(error, BROKEN_OFF) else NotificationFailed
        except ProxyUnusable as error:
            reason = str(error)
        except (httpx.InvalidURL, ImportError, ValueError):
            # Without their text, which may have the password of a proxy. Some kinds of proxies cannot be imported.
            reason = (
                "no request was possible: check alertmanager.urls and the proxy (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)"
            )
        self._context = None
        raise self._failed(reason, kind)

    async def _send_request(
        self, method: str, path: str, body: bytes | None, bound: int, credentials: _Credentials
    ) -> Response:
        context = self._context or ssl.create_default_context()
        seconds, proxy = self._options.timeout, proxy_for(self.url)
        asyncio.get_running_loop().set_default_executor(self._lookups)
        async with asyncio.timeout(seconds):
            bounds = httpx.Timeout(None, connect=seconds * _CONNECTING)
            async with httpx.AsyncClient(
                verify=context, timeout=bounds, proxy=proxy.url if proxy else None, trust_env=False
            ) as client:
                headers = {**_HEADERS, **credentials.headers}
                async with client.stream(method, self.url + path, content=body, headers=headers) as response:
                    text = await self._read(response, bound)
                    return Response(
                        response.status_code, response.headers.get("Location", ""), text, credentials.secrets
                    )

    async def _read(self, response: httpx.Response, bound: int) -> bytes:
        """Read a response without decoding it, no further than its bound."""
        text, values = b"", ValueCount()
        async for chunk in response.aiter_raw():
            text += chunk
            values.add(chunk)
            if values.excess:
                raise self._failed(f"an answer of more than {values.excess} was not read to its end")
            if len(text) > bound:
                break
        return text[:bound]

    def _credentials(self) -> _Credentials:
        try:
            authorization = self._options.authorization()
        except ExporterError as error:
            raise self._failed(str(error)) from None
        if authorization is None:
            return _Credentials({}, passwords())
        if isinstance(authorization, tuple):
            user, password = authorization
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            return _Credentials({"Authorization": f"Basic {pair}"}, (password, pair, *passwords()))
        if not authorization.isascii() or not authorization.isprintable() or authorization != authorization.strip():
            raise self._failed("alertmanager.bearer_token has characters that no token has; remove extra lines")
        return _Credentials({"Authorization": f"Bearer {authorization}"}, (authorization, *passwords()))

    def _tls_context(self) -> ssl.SSLContext:
        """Return a context with the system's and the configured CAs, and the agent's client certificate."""
        options = self._options
        context = ssl.create_default_context()
        try:
            if options.ca_file is not None:
                context.load_verify_locations(options.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise self._failed(f"alertmanager.tls.ca_file {options.ca_file}: {error}: give PEM certificates") from None
        try:
            if options.cert_file is not None:
                context.load_cert_chain(options.cert_file, options.key_file, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            path = f"alertmanager.tls.cert_file {options.cert_file}"
            raise self._failed(f"{path}: {error}: give a PEM certificate and its key, not encrypted") from None
        return context

    def _failed(self, reason: str, kind: type[NotificationFailed] = NotificationFailed) -> NotificationFailed:
        return kind(f"alertmanager {self.url}{through(self.url)}: {reason}")
