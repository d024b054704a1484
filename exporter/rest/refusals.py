"""Endpoints that Tableau refuses to a session that is alive.

Each is left alone for an hour: otherwise it would cost a sign-in at every poll.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from exporter.rest.errors import OutOfScope

KEPT_SECONDS = 3_600.0
# Without these a site has nothing to show: they are asked again at every poll.
ASSETS = frozenset({"workbooks", "datasources", "flows"})
METADATA = "metadata/graphql"
SWITCH = "auth/switchSite"

_PATH = re.compile(r"/api/(?:[0-9.]+/|exp/)?(?:sites/[^/]+/)?(?P<endpoint>.*)$")
_ID = re.compile(r"(?<=^jobs/)[^/]+|(?<=^sites/)[^/]+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def endpoint_of(url: str) -> str:
    """Return what a URL asks of which site nevertheless: ``workbooks``, ``tasks/runFlow``, ``jobs/*``."""
    path = urlsplit(url).path.rstrip("/")
    found = _PATH.search(path)
    return _ID.sub("*", found["endpoint"] if found else path)


class Refusals:
    """What is refused, by site and endpoint, and which endpoint was asked last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], tuple[float, str]] = {}
        self.site = ""
        """The content URL of the site that is asked."""
        self.endpoint = ""
        """The endpoint of the last request."""
        self.status = 0
        """The HTTP status of its answer, 0 before there is one."""

    def sending(self, url: str) -> None:
        """Note a request that is about to be sent. Raises OutOfScope where it is known to be refused."""
        self.endpoint, self.status = endpoint_of(url), 0
        if line := self.line(self.endpoint):
            raise OutOfScope(line)

    def answered(self, status: int) -> None:
        """Note the HTTP status of the answer."""
        self.status = status

    def line(self, endpoint: str) -> str | None:
        """Return the line of a refusal that is remembered, None where there is none or its day is over."""
        until, line = self._until.get(self._key(endpoint), (0.0, ""))
        return line if self._clock() < until else None

    def remember(self, endpoint: str, line: str) -> None:
        """Remember a refusal for an hour, unless it is of a list of assets."""
        if endpoint not in ASSETS:
            self._until[self._key(endpoint)] = self._clock() + KEPT_SECONDS, line

    def forget(self) -> None:
        """Forget all: others may do what these might not."""
        self._until.clear()

    def _key(self, endpoint: str) -> tuple[str, str]:
        """Return the site and the endpoint; to switch the site is a matter of no site."""
        return ("" if endpoint == SWITCH else self.site), endpoint
