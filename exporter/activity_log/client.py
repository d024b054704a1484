"""Client of Tableau Cloud Manager: sign in, list sites and files, download files from its object store.

The session token is sent to Tableau Cloud Manager alone, a presigned address to the object store alone, and neither is
in any error or log. Times of files are those when their events were made available.
"""

import json
import re
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from exporter.activity_log.errors import (
    BadRequest,
    Forbidden,
    LinkExpired,
    SessionEnded,
    TransferIncomplete,
    message_of,
    origin,
)
from exporter.activity_log.http_client import SECTION, Answer, HTTPClient, Pace, ssl_context
from exporter.errors import SourceError, SourceIncomplete, SourceRefused
from exporter.proxies import through
from exporter.value_count import ValueCount

WINDOW = timedelta(hours=168)
"""The longest window that may be listed at once."""
PAGE_SIZE = 1000
SITES_PAGE_SIZE = 100
PRESIGNED_AT_ONCE = 100
PARALLEL = 6
MOST_PAGES = 10_000
API_BYTES = 16_000_000
FILE_BYTES = 1_000_000_000
# What is larger waits on disk, without a name, until it is parsed.
SPOOLED_BYTES = 4_000_000
# How many times a file is fetched anew that came without its end, or by an address that had expired.
FETCHES = 3
DEFAULT_SITE = "default"

_PATH = re.compile(r"[\w.=@:+,~ -]+(/[\w.=@:+,~ -]+)*")
_HOUR = re.compile(r"(?:^|/)y=(\d{4})/m=(\d{1,2})/d=(\d{1,2})/h=(\d{1,2})(?:/|$)")
_EVENT_TYPE = re.compile(r"(?:^|/)eventType=([^/]+)(?:/|$)")


@dataclass(frozen=True)
class ActivityLogOptions:
    """How to reach Tableau Cloud Manager. ``token`` is called for each sign-in, and may raise ExporterError.

    Without ``sites`` every site is read, without ``event_types`` every type. ``folder`` is for files that are too large
    for the memory.
    """

    url: str
    token: Callable[[], str]
    sites: Sequence[str] = ()
    event_types: Sequence[str] = ()
    ca_file: Path | None = None
    timeout: float = 60.0
    folder: Path | None = None


@dataclass(frozen=True)
class CloudSite:
    """A site of the tenant; ``name`` is its content URL, as in labels."""

    luid: str
    name: str


@dataclass(frozen=True)
class Sites:
    """The sites that are read, and a line for each that is not."""

    sites: Sequence[CloudSite]
    notes: Sequence[str] = ()


@dataclass(frozen=True, order=True)
class ListedFile:
    """A file of events: its path, the hour in which it was made available (UTC, naive), and the type of its events."""

    hour: datetime
    path: str
    event_type: str = ""


@dataclass
class Download:
    """What became of a file: its bytes, or the error. ``content`` is to be closed."""

    file: ListedFile
    content: IO[bytes] | None = None
    size: int = 0
    error: SourceError | None = None


class ActivityLogClient:
    """Reads the Activity Log of one tenant."""

    def __init__(self, options: ActivityLogOptions, pace: Pace | None = None) -> None:
        self._options = options
        self._pace = pace or Pace()
        self._folder = str(options.folder) if options.folder else None
        self._token = self._session = self._tenant = ""
        self._signing_in = threading.Lock()
        self._api: HTTPClient | None = None
        self._objects: HTTPClient | None = None

    @property
    def address(self) -> str:
        """The origin of Tableau Cloud Manager."""
        return origin(self._options.url)

    @property
    def _place(self) -> str:
        return f"{SECTION} {self.address}{through(self._options.url)}"

    def sign_in(self) -> None:
        """Sign in anew. Raises SourceError."""
        self._token = self._options.token()
        body = json.dumps({"token": self._token}).encode()
        try:
            answer = self._parsed(self._send("POST", "/api/v1/pat/login", body, signing_in=True))
        except SessionEnded as error:
            raise SourceRefused(f"{error}: check {SECTION}.token_value, and whether it has expired") from None
        fields = answer if isinstance(answer, dict) else {}
        session, tenant = fields.get("sessionToken"), fields.get("tenantId")
        if not (isinstance(session, str) and session.isascii() and session.isprintable() and isinstance(tenant, str)):
            raise SourceIncomplete(f"{self._place}: signed in without a session; check {SECTION}.url")
        self._session, self._tenant = session, tenant

    def sites(self) -> Sites:
        """Return the sites that are to be read. Raises SourceError."""
        found: dict[str, CloudSite] = {}
        inactive: dict[str, str] = {}
        for site in self._pages("sites", {"maxResults": str(SITES_PAGE_SIZE)}, "sites"):
            luid, name = site.get("siteUUID"), site.get("contentUrl")
            if not isinstance(luid, str) or not luid:
                continue
            name = name if isinstance(name, str) and name else DEFAULT_SITE
            found[name.casefold()] = CloudSite(luid, name)
            if isinstance(state := site.get("status"), str) and state.casefold() != "active":
                inactive[name.casefold()] = state
        wanted = [name.casefold() for name in self._options.sites] or list(found)
        notes = [
            f"site {name}: not a site of this tenant; check {SECTION}.sites"
            for name in self._options.sites
            if name.casefold() not in found
        ]
        notes += [f"site {found[name].name}: {inactive[name]}" for name in wanted if name in inactive]
        return Sites([found[name] for name in wanted if name in found], notes)

    def files(self, site: CloudSite, begin: datetime, end: datetime) -> list[ListedFile]:
        """Return the files that were made available in a window (UTC, naive), each once. Raises SourceError."""
        files: dict[str, ListedFile] = {}
        for event_type in self._options.event_types or ("",):
            window = {"startTime": _instant(begin), "endTime": _instant(end), "pageSize": str(PAGE_SIZE)}
            window |= {"eventType": event_type} if event_type else {}
            for item in self._pages(f"sites/{quote(site.luid, safe='')}/activitylog", window, "files"):
                path = item.get("path")
                if not isinstance(path, str) or not is_plain(path):
                    raise SourceIncomplete(f"{self._place}: site {site.name}: lists a file by a path that is none")
                files[path] = described(path, begin)
        return sorted(files.values())

    def download(self, site: CloudSite, files: Sequence[ListedFile]) -> Iterator[Download]:
        """Yield files with their contents, in order; some are fetched ahead. Raises SourceError for all of them."""
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="activity log") as pool:
            running: deque[Future[Download]] = deque()
            try:
                for first in range(0, len(files), PRESIGNED_AT_ONCE):
                    some = files[first : first + PRESIGNED_AT_ONCE]
                    urls = self._presigned(site, [file.path for file in some])
                    for file in some:
                        running.append(pool.submit(self._fetched, site, file, urls.get(file.path)))
                        if len(running) > 2 * PARALLEL:
                            yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                for future in running:
                    if not future.cancelled() and future.exception() is None and future.result().content:
                        future.result().content.close()  # type: ignore[union-attr] # it was asked for

    def close(self) -> None:
        """Close the connections, and forget the session."""
        for client in (self._api, self._objects):
            if client is not None:
                client.close()
        self._api = self._objects = None
        self._session = ""

    def _fetched(self, site: CloudSite, file: ListedFile, url: str | None) -> Download:
        """Fetch a file; an address that has expired is asked for anew."""
        error: SourceError = SourceIncomplete(f"{self._place}: site {site.name}: no address for a file that is listed")
        for _ in range(FETCHES):
            if url is None:
                break
            content = tempfile.SpooledTemporaryFile(SPOOLED_BYTES, dir=self._folder)  # noqa: SIM115 - the caller's
            try:
                size = self._fetch(url, content)
            except (LinkExpired, TransferIncomplete) as failure:
                content.close()
                error = failure
            except SourceError as failure:
                content.close()
                return Download(file, error=failure)
            except BaseException:
                content.close()
                raise
            else:
                return Download(file, content, size)
            try:
                url = self._presigned(site, [file.path]).get(file.path)
            except SourceError as failure:
                return Download(file, error=failure)
        return Download(file, error=error)

    def _fetch(self, url: str, content: IO[bytes]) -> int:
        if urlsplit(url).scheme != "https" and self._options.url.startswith("https:"):
            raise SourceRefused(f"{self._place}: names a file at {origin(url)}, without TLS")
        if self._objects is None:
            self._open()
        assert self._objects is not None  # noqa: S101 - opened
        answer = self._objects.fetch("GET", url, limit=FILE_BYTES, into=content)
        place = f"{SECTION} {origin(url)}{through(url)}"
        if answer.status in {401, 403, 404, 410}:
            raise LinkExpired(
                f"{place}: HTTP {answer.status}: the address of a file has expired, or is not let through"
            )
        if answer.status != 200:
            raise SourceRefused(f"{place}: HTTP {answer.status} for a file")
        size = content.tell()
        content.seek(0)
        return size

    def _presigned(self, site: CloudSite, paths: Sequence[str]) -> Mapping[str, str]:
        body = json.dumps({"files": list(paths)}).encode()
        answer = self._request("POST", self._tenant_path(f"sites/{quote(site.luid, safe='')}/activitylog"), body)
        items = answer.get("files") if isinstance(answer, dict) else None
        if not isinstance(items, list):
            raise SourceIncomplete(f"{self._place}: an answer without the addresses of files")
        pairs = [(item.get("path"), item.get("url")) for item in items if isinstance(item, dict)]
        return {path: url for path, url in pairs if isinstance(path, str) and isinstance(url, str)}

    def _pages(self, what: str, query: Mapping[str, str], key: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page by page."""
        page, seen = "", set[str]()
        for _ in range(MOST_PAGES):
            parameters = {**query, **({"pageToken": page} if page else {})}
            answer = self._request("GET", f"{self._tenant_path(what)}?{urlencode(parameters)}")
            items = answer.get(key) if isinstance(answer, dict) else None
            if items is not None and not isinstance(items, list):
                raise SourceIncomplete(f"{self._place}: a list of {key} that is none")
            yield from (item for item in items or () if isinstance(item, dict))
            page = str(answer.get("pageToken") or "") if isinstance(answer, dict) else ""
            if not page:
                return
            if page in seen:
                break
            seen.add(page)
        raise SourceIncomplete(f"{self._place}: a list of {key} that does not end")

    def _tenant_path(self, rest: str) -> str:
        if not self._session:
            self.sign_in()
        return f"/api/v1/tenants/{quote(self._tenant, safe='')}/{rest}"

    def _request(self, method: str, path: str, body: bytes | None = None) -> object:
        """Return the JSON of an answer; a session that has ended is begun anew, once."""
        session = self._session
        try:
            return self._parsed(self._send(method, path, body))
        except SessionEnded:
            with self._signing_in:
                # Another thread may have done so meanwhile.
                if self._session == session:
                    self.sign_in()
        try:
            return self._parsed(self._send(method, path, body))
        except SessionEnded as error:
            raise SourceRefused(f"{error}: a new session was refused at once") from None

    def _send(self, method: str, path: str, body: bytes | None, *, signing_in: bool = False) -> Answer:
        if self._api is None:
            self._open()
        assert self._api is not None  # noqa: S101 - opened
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers |= {} if signing_in else {"x-tableau-session-token": self._session}
        return self._api.fetch(method, self._options.url + path, limit=API_BYTES, content=body, headers=headers)

    def _parsed(self, answer: Answer) -> object:
        if answer.status != 200:
            text = message_of(answer.body, self._secrets())
            kinds = {400: BadRequest, 401: SessionEnded, 403: Forbidden, 404: Forbidden}
            raise kinds.get(answer.status, SourceRefused)(f"{self._place}: HTTP {answer.status}{text}")
        values = ValueCount()
        values.add(answer.body)
        if values.excess:
            raise SourceIncomplete(f"{self._place}: an answer of more than {values.excess}")
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            message = "an answer that is no JSON; check whether a login page or a proxy stands in between"
            raise SourceIncomplete(f"{self._place}: {message}") from None

    def _open(self) -> None:
        context = ssl_context(self._options.ca_file)
        self._api, self._objects = (
            HTTPClient(context, self._options.timeout, self._pace, self._secrets) for _ in range(2)
        )

    def _secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self._token, self._session)))


def is_plain(path: str) -> bool:
    """Whether a path is relative, and leads nowhere else."""
    return bool(_PATH.fullmatch(path)) and not set(path.split("/")) & {"", ".", ".."}


def described(path: str, begin: datetime) -> ListedFile:
    """Return what a path says of its file; ``begin`` stands for an hour that it does not name."""
    hour, kind = begin, _EVENT_TYPE.search(path)
    if found := _HOUR.search(path):
        try:
            hour = datetime(*map(int, found.groups()))  # type: ignore[arg-type] # noqa: DTZ001 - four numbers, naive
        except ValueError:
            hour = begin
    return ListedFile(hour, path, kind[1] if kind else "")


def _instant(at: datetime) -> str:
    """Return an instant (UTC, naive) as the API has it."""
    return at.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
