"""Client of Tableau Cloud Manager: sign in, list sites and files, download files from its object store.

The session token is sent to Tableau Cloud Manager alone, a presigned address to the object store alone, and neither is
in any error or log. Times of files are those when their events were made available.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
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
from exporter.activity_log.files import (
    DEFAULT_SITE,
    CloudSite,
    Download,
    ListedFile,
    Listing,
    Sites,
    described,
    is_plain,
)
from exporter.activity_log.http_client import SECTION, Answer, HTTPClient, Pace
from exporter.activity_log.object_store import Fetched, ObjectStore
from exporter.errors import SourceError, SourceIncomplete, SourceRefused
from exporter.value_count import ValueCount

WINDOW = timedelta(hours=168)
"""The longest window that may be listed at once."""
PAGE_SIZE = 1000
SITES_PAGE_SIZE = 100
PRESIGNED_AT_ONCE = 100
PARALLEL = 6
# What is fetched while files before it are parsed and written.
AHEAD_BYTES = 8_000_000
MOST_AHEAD = 100
MOST_PAGES = 10_000
API_BYTES = 16_000_000
# How many times a file is fetched anew that came without its end, or by an address that had expired.
FETCHES = 3


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


class ActivityLogClient:
    """Reads the Activity Log of one tenant."""

    def __init__(self, options: ActivityLogOptions, pace: Pace | None = None) -> None:
        self._options = options
        self._pace = pace or Pace()
        self._token = self._session = self._tenant = ""
        self._signing_in = threading.Lock()
        self.source_at: datetime | None = None
        """The clock of Tableau Cloud Manager (UTC, naive) at its last answer; None before the first."""
        # Each has connections of its own: what one host sets, such as cookies, never reaches the other.
        self._api, objects = (HTTPClient(options.ca_file, options.timeout, self._pace, self._secrets) for _ in range(2))
        self._objects = ObjectStore(objects, options.folder)

    @property
    def address(self) -> str:
        """The origin of Tableau Cloud Manager."""
        return origin(self._options.url)

    @property
    def _place(self) -> str:
        return self._api.place(self._options.url)

    def begin(self) -> None:
        """Begin a poll."""
        self._pace.waited = 0.0
        self._objects.begin()

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
        suspended = set[str]()
        for site in self._pages("sites", {"maxResults": str(SITES_PAGE_SIZE)}, "sites"):
            luid, name = site.get("siteUUID"), site.get("contentUrl") or DEFAULT_SITE
            if not isinstance(luid, str) or not luid or not isinstance(name, str):
                continue
            found[name.casefold()] = CloudSite(luid, name)
            if str(site.get("status")).casefold() == "suspended":
                suspended.add(name.casefold())
        wanted = [name.casefold() for name in self._options.sites] or list(found)
        notes = [
            f"site {name}: not a site of this tenant; check {SECTION}.sites"
            for name in self._options.sites
            if name.casefold() not in found
        ]
        notes += [f"site {found[name].name}: is suspended" for name in wanted if name in suspended]
        return Sites([found[name] for name in wanted if name in found and name not in suspended], notes)

    def files(self, site: CloudSite, begin: datetime, end: datetime) -> Listing:
        """Return the files that were made available in a window (UTC, naive), each once. Raises SourceError."""
        files: dict[str, ListedFile] = {}
        refused = 0
        for event_type in self._options.event_types or ("",):
            window = {"startTime": _instant(begin), "endTime": _instant(end), "pageSize": str(PAGE_SIZE)}
            window |= {"eventType": event_type} if event_type else {}
            for item in self._pages(self._log_of(site), window, "files"):
                path = item.get("path")
                if isinstance(path, str) and is_plain(path):
                    files[path] = described(path, begin)
                else:
                    refused += 1
        return Listing(sorted(files.values()), refused)

    def download(self, site: CloudSite, files: Sequence[ListedFile]) -> Generator[Download, None, None]:
        """Yield files with their contents, in order; some are fetched ahead. Raises SourceError for all of them."""
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="activity log") as pool:
            running: deque[Future[Download]] = deque()
            try:
                for first in range(0, len(files), PRESIGNED_AT_ONCE):
                    some = files[first : first + PRESIGNED_AT_ONCE]
                    urls = self._presigned(site, [file.path for file in some])
                    for file in some:
                        running.append(pool.submit(self._fetched, site, file, urls.get(file.path)))
                        while _is_enough(running):
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
        self._api.close()
        self._objects.close()
        self._session = ""

    def _fetched(self, site: CloudSite, file: ListedFile, url: str | None) -> Download:
        """Fetch a file; a missing or expired address is requested again."""
        error: SourceError = SourceIncomplete(f"{self._place}: no address for a file that is listed")
        last = Fetched()
        for _ in range(FETCHES):
            try:
                url = url or self._presigned(site, [file.path]).get(file.path)
                if url is None:
                    continue
                self._refuse_unsafe(url)
                if (content := self._objects.fetch(url, last)) is not None:
                    return Download(file, content, last.size)
            except (LinkExpired, TransferIncomplete) as failure:
                error = failure
            except SourceError as failure:
                return Download(file, error=failure)
            else:
                error = TransferIncomplete(
                    f"{SECTION} {origin(url)}: a file arrived without its end, each time another"
                )
            url = None
        return Download(file, error=error)

    def _refuse_unsafe(self, url: str) -> None:
        """Raise SourceRefused for an address without TLS, or one that cannot be parsed: its text is not repeated."""
        unparsable = SourceRefused(f"{self._place}: names a file by an address that cannot be parsed")
        try:
            parts = urlsplit(url)
            is_address = url.isascii() and url.isprintable() and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise unparsable from None
        if not is_address:
            raise unparsable
        if parts.scheme != "https" and self._options.url.startswith("https:"):
            raise SourceRefused(f"{self._place}: names a file at {origin(url)}, without TLS")

    def _presigned(self, site: CloudSite, paths: Sequence[str]) -> Mapping[str, str]:
        body = json.dumps({"files": list(paths)}).encode()
        answer = self._request("POST", self._tenant_path(self._log_of(site)), body)
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
            if not isinstance(answer, dict) or not isinstance(items, list):
                # What has no list says nothing: to believe that it is empty would lose files.
                raise SourceIncomplete(f"{self._place}: an answer without a list of {key}")
            yield from (item for item in items if isinstance(item, dict))
            page = str(answer.get("pageToken") or "")
            if not page:
                return
            if page in seen:
                break
            seen.add(page)
        raise SourceIncomplete(f"{self._place}: a list of {key} that does not end")

    def _log_of(self, site: CloudSite) -> str:
        return f"sites/{quote(site.luid, safe='')}/activitylog"

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
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers |= {} if signing_in else {"x-tableau-session-token": self._session}
        return self._api.fetch(method, self._options.url + path, limit=API_BYTES, content=body, headers=headers)

    def _parsed(self, answer: Answer) -> object:
        self.source_at = instant_of(answer.date) or self.source_at
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

    def _secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self._token, self._session)))


def _is_enough(running: Collection[Future[Download]]) -> bool:
    """Whether so many files are fetched ahead, or so many bytes, as may be."""
    fetched = [future for future in running if future.done()]
    ahead = sum(future.result().size for future in fetched if future.exception() is None)
    return len(running) - len(fetched) > 2 * PARALLEL or ahead > AHEAD_BYTES or len(fetched) > MOST_AHEAD


def _instant(at: datetime) -> str:
    """Return an instant (UTC, naive) as the API has it."""
    return at.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant_of(date: str) -> datetime | None:
    """Return the instant of a Date header (UTC, naive); None where it is none."""
    try:
        return parsedate_to_datetime(date).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
