"""Endpoints that Tableau refuses to a live session; requested again after an hour, as each attempt costs a sign-in."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from exporter.rest.errors import OutOfScope

KEPT_SECONDS = 3_600.0
# Without these a site has no inventory: they are requested again at every poll.
ASSETS = frozenset({"workbooks", "datasources", "flows"})
METADATA = "metadata/graphql"
SWITCH = "auth/switchSite"

_PATH = re.compile(r"/api/(?:[0-9.]+/|exp/)?(?:sites/[^/]+/)?(?P<endpoint>.*)$")
_ID = re.compile(r"(?<=^jobs/)[^/]+|(?<=^sites/)[^/]+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def endpoint_of(url: str) -> str:
    """Return the endpoint of a URL, without its site: ``workbooks``, ``tasks/runFlow``, ``jobs/*``."""
    path = urlsplit(url).path.rstrip("/")
    found = _PATH.search(path)
    return _ID.sub("*", found["endpoint"] if found else path)


class Refusals:
    """The refused endpoints of each site, and the endpoint and status of the last request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], tuple[float, str]] = {}
        self.site = ""
        """The content URL of the current site."""
        self.endpoint = ""
        """The endpoint of the last request."""
        self.status = 0
        """The HTTP status of its answer, 0 before there is one."""

    def sending(self, url: str) -> None:
        """Record a request that is about to be sent. Raises OutOfScope where it is known to be refused."""
        self.endpoint, self.status = endpoint_of(url), 0
        if line := self.reason(self.endpoint):
            raise OutOfScope(line)

    def answered(self, status: int) -> None:
        """Record the HTTP status of the answer."""
        self.status = status

    def reason(self, endpoint: str) -> str | None:
        """Return the line of a refusal, None where there is none or its hour is over."""
        until, line = self._until.get(self._key(endpoint), (0.0, ""))
        return line if self._clock() < until else None

    def remember(self, endpoint: str, line: str) -> None:
        """Remember a refusal for an hour, unless it is of a list of assets."""
        if endpoint not in ASSETS:
            self._until[self._key(endpoint)] = self._clock() + KEPT_SECONDS, line

    def forget(self) -> None:
        """Forget all: other credentials may have other rights."""
        self._until.clear()

    def _key(self, endpoint: str) -> tuple[str, str]:
        """Return the site and the endpoint; switching the site belongs to no site."""
        return ("" if endpoint == SWITCH else self.site), endpoint
