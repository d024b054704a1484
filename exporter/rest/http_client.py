"""HTTP with deadlines, bounded answers, retries of reads, Retry-After, and secrets for one host only."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests import PreparedRequest, Response
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from exporter import __version__
from exporter.errors import PollInterrupted, ProxyUnusable, SourceRefused, SourceUnreachable
from exporter.proxies import proxy_for, through
from exporter.rest.abort import AbortableConnections, Adapter
from exporter.rest.errors import AnswerTooLarge, Redactor
from exporter.rest.refusals import Refusals
from exporter.value_count import ValueCount

ATTEMPTS = 4
FIRST_BACK_OFF_SECONDS = 0.5
CHUNK_BYTES = 65_536
# Of an answer once it is decompressed: 64 kB for each of the 1,000 items of a page, of which one takes half a kB.
ANSWER_BYTES = 64_000_000
WAITS = 5
LONGEST_WAIT_SECONDS = 120.0
# The waits of a poll in all.
MOST_WAITED_SECONDS = 300.0
USUAL_WAIT_SECONDS = 5.0
REDIRECTS = 3
SLICE_SECONDS = 0.5

VIZQL_DATA_PATH = "/api/v1/vizql-data-service/"
METADATA_PATH = "/api/metadata/graphql"
SYSTEM_INFO_PATH = "/admin/systeminfo.xml"
TOO_MANY_REQUESTS = 429
UNAVAILABLE = 503
SERVER_FAULTS = frozenset({500, 502, UNAVAILABLE, 504})
# A query that was too much for the server is repeated for less, not the same again.
FAULTS_OF_QUERIES = frozenset({UNAVAILABLE})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class RequestLimits:
    """The limits of a request: seconds in all, and bytes of its answer."""

    seconds: float
    answer_bytes: int = ANSWER_BYTES


class HTTPSession(requests.Session):
    """A session of requests. It raises a SourceError, or requests' own error for a connection that failed."""

    def __init__(
        self,
        url: str,
        limits: RequestLimits,
        sockets: AbortableConnections,
        sleep: Callable[[float], None],
        context: ssl.SSLContext,
        refusals: Refusals,
        redactor: Redactor,
    ) -> None:
        super().__init__()
        self._url = url
        self._origin = urlsplit(url)
        self._limits = limits
        self._sockets = sockets
        self._sleep = sleep
        self._refusals = refusals
        self._redactor = redactor
        self.max_redirects = REDIRECTS
        # Without this the credentials of a .netrc would be sent.
        self.auth = _no_auth
        adapter = Adapter(sockets, context)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def send(self, request: PreparedRequest, **options: Any) -> Response:
        """Send a request, with retries if it only reads, and read the whole answer before the deadline."""
        self._refusals.sending(request.url or "")
        request.headers["User-Agent"] = f"tableau-exporter/{__version__}"
        reads, faults = _repeatable(request)
        deadline = min(time.monotonic() + self._limits.seconds, self._sockets.ends_at)
        attempt = waits = 0
        while True:
            attempt += 1
            last = not reads or attempt >= ATTEMPTS
            try:
                response = self._send_once(request, deadline, options)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                self._raise_if_aborted(deadline)
                if last or isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError):
                    raise
            else:
                if response.status_code == TOO_MANY_REQUESTS and waits < WAITS and self._may_wait(request):
                    waits += 1
                    attempt -= 1
                    deadline += self._wait_retry_after(response)
                    continue
                if last or response.status_code not in faults:
                    self._refusals.answered(response.status_code)
                    return response
            pause = FIRST_BACK_OFF_SECONDS * 2 ** (attempt - 1)
            if time.monotonic() + pause >= deadline:
                raise SourceUnreachable(self._too_slow())
            self._pause(pause)

    def get_redirect_target(self, resp: Response) -> str | None:
        """Return nothing: requests prepares a request that is not sent, and fails on an invalid URL."""
        del resp
        return None

    def _send_once(self, request: PreparedRequest, deadline: float, options: dict[str, Any]) -> Response:
        left = deadline - time.monotonic()
        if left <= 0:
            raise SourceUnreachable(self._too_slow())
        self._check_stopping()
        options |= {"stream": True, "timeout": (left, left), "allow_redirects": False}
        options["proxies"] = self._proxies(request.url or "")
        try:
            with self._sockets.until(deadline):
                response = super().send(request, **options)
                self._read(response)
                self._sockets.moved()
        except requests.Timeout:
            self._check_stopping()
            raise SourceUnreachable(self._too_slow()) from None
        if response.is_redirect:
            # Before tableauserverclient logs the target.
            self._check_redirect(request.url or "", response.headers["Location"])
        # An answer without a length looks whole after an abort.
        self._raise_if_aborted(deadline)
        return response

    def _proxies(self, url: str) -> dict[str, str]:
        """Return the proxy of a URL in the form of requests, which reads the variables in a way of its own."""
        try:
            proxy = proxy_for(url)
        except ProxyUnusable as error:
            raise SourceRefused(f"{self._place()}: {error}") from None
        return {urlsplit(url).scheme: proxy.url} if proxy else {}

    def _read(self, response: Response) -> None:
        """Read the answer within its limit: neither requests nor the parsers have one."""
        chunks, size, values = [], 0, ValueCount()
        for chunk in response.iter_content(CHUNK_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            values.add(chunk)
            if size > self._limits.answer_bytes:
                excess: str | None = f"{self._limits.answer_bytes // 1_000_000} MB"
            else:
                excess = values.excess
            if excess:
                response.close()
                raise AnswerTooLarge(f"{self._place()}: an answer of more than {excess} was not read to its end")
        response._content = b"".join(chunks)  # noqa: SLF001 - as requests itself does
        # tableauserverclient would decode and parse every answer once more, for a log event that is off.
        response.encoding = None

    def _may_wait(self, request: PreparedRequest) -> bool:
        """Whether a 429 is waited for.

        A limit of so many queries an hour passes later than any poll, and the next poll of the assets does not wait for
        systeminfo.xml.
        """
        path = urlsplit(request.url or "").path
        is_optional = path.startswith(VIZQL_DATA_PATH) or path.endswith(SYSTEM_INFO_PATH)
        return not is_optional and not self._sockets.is_last_request

    def _wait_retry_after(self, response: Response) -> float:
        """Wait as long as a 429 demands; return the seconds."""
        seconds = _retry_after(response.headers.get("Retry-After"))
        self._sockets.waited += seconds
        if seconds > LONGEST_WAIT_SECONDS or self._sockets.waited > MOST_WAITED_SECONDS:
            raise SourceUnreachable(
                f"{self._place()}: too many requests, Retry-After is {seconds:.0f} s: retried at the next poll;"
                " raise rest.poll_interval if this goes on"
            )
        self._pause(seconds)
        return seconds

    def _pause(self, seconds: float) -> None:
        while seconds > 0:
            self._check_stopping()
            self._sockets.moved()
            self._sleep(min(seconds, SLICE_SECONDS))
            seconds -= SLICE_SECONDS
        self._check_stopping()

    def _raise_if_aborted(self, deadline: float) -> None:
        """Raise the reason where we aborted the connection ourselves."""
        self._check_stopping()
        if time.monotonic() >= deadline:
            raise SourceUnreachable(self._too_slow())

    def _check_stopping(self) -> None:
        if self._sockets.stopping():
            raise PollInterrupted("the agent ends: the poll of Tableau's REST API was broken off")

    def _check_redirect(self, url: str, location: str) -> None:
        """Refuse to follow a redirect with a token to another host, or from https to http."""
        try:
            there = urlsplit(urljoin(url, location))
            _port(there)
        except ValueError:
            raise SourceRefused(f"{self._place()}: answers with a redirect to an invalid URL; check rest.url") from None
        if (there.scheme, there.hostname, _port(there)) == (
            self._origin.scheme,
            self._origin.hostname,
            _port(self._origin),
        ):
            return
        if (self._origin.scheme, there.scheme) == ("http", "https") and there.hostname == self._origin.hostname:
            return
        quoting = self._redactor.found_in(location)
        where = "an address that quotes a secret" if quoting else f"{there.scheme}://{there.hostname}"
        raise SourceRefused(
            f"{self._place()}: answers with a redirect to {where}, which is not followed because it would receive"
            " the token; set rest.url to where Tableau itself answers"
        )

    def _place(self) -> str:
        return f"rest {self._origin.scheme}://{self._origin.netloc.rpartition('@')[2]}{through(self._url)}"

    def _too_slow(self) -> str:
        return (
            f"{self._place()}: no whole answer within {self._limits.seconds:g} s; raise rest.timeout if Tableau is slow"
        )


def _no_auth(request: PreparedRequest) -> PreparedRequest:
    return request


def _repeatable(request: PreparedRequest) -> tuple[bool, frozenset[int]]:
    """Return whether a request only reads, and the HTTP statuses after which it is repeated."""
    if request.method == "GET":
        return True, SERVER_FAULTS
    if urlsplit(request.url or "").path == METADATA_PATH:
        return True, FAULTS_OF_QUERIES
    return False, frozenset()


def _retry_after(text: str | None) -> float:
    """Return the seconds of a Retry-After, which are a number or a date."""
    try:
        return float(Retry().parse_retry_after(text or ""))
    except (InvalidHeader, ValueError, OverflowError):
        return USUAL_WAIT_SECONDS


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)


def ssl_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the operating system's authorities, and those of a file."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SourceRefused(f"rest.ca_file {ca_file}: {error}: give a file with PEM certificates") from None
    return context
