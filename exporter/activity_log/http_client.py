"""HTTP with retries in one place: Retry-After and back-off, deadlines, bounded answers, no redirects.

A client sends its headers to no other host than its own: the object store has a client without any.
"""

import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import IO

import httpx

from exporter import __version__
from exporter.activity_log.errors import TransferIncomplete, connection_error, origin
from exporter.errors import (
    PollInterrupted,
    ProxyUnusable,
    SourceError,
    SourceIncomplete,
    SourceRefused,
    SourceUnreachable,
)
from exporter.proxies import proxy_for, through

SECTION = "activity_log"
ATTEMPTS = 5
FIRST_BACK_OFF_SECONDS = 0.5
USUAL_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 120.0
# The waits between two answers in all: a poll that only waits is broken off, and continued by the next.
MOST_WAITED_SECONDS = 300.0
SLICE_SECONDS = 0.5
TOO_MANY_REQUESTS = 429
PASSING = frozenset({TOO_MANY_REQUESTS, 502, 503, 504})
CHUNK_BYTES = 65_536
_CONNECTING_SECONDS = 10.0
_HOSTS = 64


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    etag: str = ""
    date: str = ""


@dataclass
class Pace:
    """What all requests share: when to end, how to wait, and how long they have waited since the last answer."""

    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    moved: Callable[[], None] = lambda: None
    randomness: random.Random = field(default_factory=random.Random)
    waited: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        """Raise PollInterrupted where the agent ends."""
        if self.stopping():
            raise PollInterrupted("the agent ends: the poll of the Activity Log was broken off")

    def answered(self) -> None:
        """Note that an answer came: what was waited for it is over."""
        self.moved()
        with self._lock:
            self.waited = 0.0

    def wait(self, seconds: float, place: str) -> None:
        """Wait before a request is repeated. Raises SourceUnreachable where that would be too long."""
        with self._lock:
            self.waited += seconds
            too_long = seconds > LONGEST_WAIT_SECONDS or self.waited > MOST_WAITED_SECONDS
        if too_long:
            raise SourceUnreachable(
                f"{place}: wants to be left alone for {seconds:.0f} s: continued at the next poll; raise"
                f" {SECTION}.poll_interval if this goes on"
            )
        while seconds > 0:
            self.check()
            self.moved()
            self.sleep(min(seconds, SLICE_SECONDS))
            seconds -= SLICE_SECONDS
        self.check()


class HTTPClient:
    """Requests to one kind of host; each is repeated as long as its failure may pass by itself."""

    def __init__(
        self, ca_file: Path | None, timeout: float, pace: Pace, secrets: Callable[[], tuple[str, ...]]
    ) -> None:
        self._ca_file = ca_file
        self._timeout = timeout
        self._pace = pace
        self._secrets = secrets
        self._clients: dict[str, httpx.Client] = {}
        self._lock = threading.Lock()
        # To read the proxy variables takes as long as a request.
        self._place_of = lru_cache(_HOSTS)(_place)
        self._proxy_of = lru_cache(_HOSTS)(proxy_for)

    def place(self, url: str) -> str:
        """Return how a line about a URL begins."""
        return self._place_of(_host(url))

    def fetch(
        self,
        method: str,
        url: str,
        *,
        limit: int,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        into: IO[bytes] | None = None,
    ) -> Answer:
        """Make a request, and return the whole answer, whose body is written ``into`` a file where one is given.

        Raises SourceError.
        """
        place = self.place(url)
        for attempt in range(1, ATTEMPTS + 1):
            self._pace.check()
            try:
                answer, seconds = self._attempt(method, url, place, limit, content, headers or {}, into)
            except (SourceUnreachable, TransferIncomplete):
                if attempt == ATTEMPTS:
                    raise
                seconds = None
            else:
                if answer.status not in PASSING or attempt == ATTEMPTS:
                    self._pace.answered()
                    return answer
            self._pace.wait(seconds if seconds is not None else self._back_off(attempt), place)
        raise AssertionError  # the last attempt returns or raises

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _attempt(
        self,
        method: str,
        url: str,
        place: str,
        limit: int,
        content: bytes | None,
        headers: Mapping[str, str],
        into: IO[bytes] | None,
    ) -> tuple[Answer, float | None]:
        """Make a request once; return the answer, and the seconds of its Retry-After."""
        try:
            with self._client(url).stream(method, url, content=content, headers=dict(headers)) as response:
                if response.has_redirect_location:
                    target = origin(str(response.url.join(response.headers["Location"])))
                    raise SourceRefused(f"{place}: redirects to {target}, which is not followed; check {SECTION}.url")
                good = response.status_code == httpx.codes.OK
                body = self._read(response, place, limit, into if good else None)
        except (httpx.HTTPError, OSError) as error:
            self._pace.check()
            kind: type[SourceError] = SourceUnreachable
            if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
                kind = TransferIncomplete if into is not None else SourceUnreachable
            raise kind(f"{place}: {connection_error(error, self._secrets(), SECTION)}") from None
        except ProxyUnusable as error:
            raise SourceRefused(f"{place}: {error}") from None
        except (httpx.InvalidURL, ValueError, UnicodeError):
            # Without its text, which may have a signature or the password of a proxy.
            raise SourceRefused(f"{place}: no request was possible: check {SECTION}.url and the proxy") from None
        etag, date = (response.headers.get(name, "") for name in ("ETag", "Date"))
        answer = Answer(response.status_code, body, etag, date)
        return answer, _retry_after(response.headers.get("Retry-After"))

    def _read(self, response: httpx.Response, place: str, limit: int, into: IO[bytes] | None) -> bytes:
        """Read a body to its end, within its limit and its time."""
        deadline = self._pace.clock() + self._timeout
        chunks, size = [], 0
        if into is not None:
            into.seek(0)
            into.truncate()
        for chunk in response.iter_raw(CHUNK_BYTES):
            size += len(chunk)
            if size > limit:
                raise SourceIncomplete(
                    f"{place}: an answer of more than {limit // 1_000_000} MB was not read to its end"
                )
            if self._pace.clock() > deadline:
                raise SourceUnreachable(
                    f"{place}: no whole answer within {self._timeout:g} s; raise {SECTION}.timeout if Tableau is slow"
                )
            self._pace.check()
            if into is not None:
                into.write(chunk)
            else:
                chunks.append(chunk)
        self._pace.moved()
        if (told := response.headers.get("Content-Length")) is not None and told.isdigit() and int(told) != size:
            raise TransferIncomplete(f"{place}: {size:,} bytes of {int(told):,} arrived")
        return b"".join(chunks)

    def _client(self, url: str) -> httpx.Client:
        """Return the client for a host by the proxy that it is reached through."""
        proxy = self._proxy_of(_host(url))
        name = proxy.url if proxy else ""
        with self._lock:
            if name not in self._clients:
                timeout = httpx.Timeout(self._timeout, connect=min(self._timeout, _CONNECTING_SECONDS))
                self._clients[name] = httpx.Client(
                    verify=ssl_context(self._ca_file),
                    timeout=timeout,
                    proxy=name or None,
                    trust_env=False,
                    follow_redirects=False,
                    headers={"User-Agent": f"tableau-exporter/{__version__}", "Accept-Encoding": "identity"},
                )
            return self._clients[name]

    def _back_off(self, attempt: int) -> float:
        return FIRST_BACK_OFF_SECONDS * 2.0 ** (attempt - 1) * self._pace.randomness.uniform(0.5, 1.0)


def _host(url: str) -> str:
    """Return a URL up to its path."""
    return "/".join(url.split("/", 3)[:3])


def _place(url: str) -> str:
    return f"{SECTION} {origin(url)}{through(url)}"


def _retry_after(text: str | None) -> float | None:
    """Return the seconds of a Retry-After, which are a number or a date; None without one."""
    if text is None:
        return None
    try:
        seconds = float(text) if text.strip().isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return USUAL_WAIT_SECONDS
    return max(seconds, 0.0)


def ssl_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the operating system's authorities, and those of a file."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            message = f"{SECTION}.ca_file {ca_file}: {error}: give a file with PEM certificates"
            raise SourceRefused(message) from None
    return context
