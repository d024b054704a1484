"""The REST API as a source: at each poll an inventory of each site, or one line with the reason why there is none.

A site whose list was cut, or became empty, has an error and no inventory. Lists that need further rights (jobs, tasks,
the Metadata API) are None where they are not allowed, with a note.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from exporter.errors import SourceError, SourceRefused, SourceUnreachable
from exporter.inventory import Inventory, SystemInfo
from exporter.rest import insights_probe, sites
from exporter.rest.credentials import ConnectedApp, RestOptions, Token, label, spelling
from exporter.rest.empty_list_guard import EmptyListGuard
from exporter.rest.errors import Forbidden, as_poll_error
from exporter.rest.jobs import LookupBudget
from exporter.rest.probe import probe
from exporter.rest.session import RestSession
from exporter.rest.site_reader import KnownRefreshes, SiteReader
from exporter.rest.system_info import read_system_info
from exporter.rest.token_stats import TokenStats, TokenTracker
from exporter.rest.vizql_data import QueryBudget, VizqlData

__all__ = ["ConnectedApp", "RestClient", "RestOptions", "SiteResult", "Token", "TokenStats"]

# A server that went away in mid-poll is not tried for every further site.
UNREACHABLE_SITES = 2


@dataclass(frozen=True)
class SiteResult:
    """One site: its inventory, or one line with the reason why there is none and the remedy.

    ``looked_up`` are rows of Refresh that were fetched and that the caller does not know yet: those of the inventory,
    and also those of a site that failed afterwards.
    """

    site: str
    inventory: Inventory | None
    error: str | None
    looked_up: pa.Table | None = None


class RestClient:
    """One Tableau, polled by one thread at a time."""

    def __init__(
        self,
        options: RestOptions,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        stopping: Callable[[], bool] = lambda: False,
        token: TokenTracker | None = None,
        moved: Callable[[], None] = lambda: None,
        wanted: frozenset[str] = frozenset(),
    ) -> None:
        """Build a client; ``token`` is the tracker of the client that it replaces: counters do not begin anew.

        ``wanted`` are lists of rest.usage_lists that are read too.
        """
        self._clock = clock
        self._session = RestSession(options, clock, sleep, stopping, token, moved)
        self._guard = EmptyListGuard(clock)
        self._sites = sites.Sites(self._session, options.sites)
        self._reader = SiteReader(self._session, clock, wanted)
        self._budget = LookupBudget(0)

    @property
    def address(self) -> str:
        """The URL of Tableau."""
        return self._session.transport.address

    @property
    def server_version(self) -> str | None:
        """Tableau's version, None before its first answer."""
        return self._session.transport.server_version

    @property
    def token_stats(self) -> TokenStats:
        """The sign-ins and lost sessions of the token."""
        return self._session.token_stats

    @property
    def silent(self) -> bool:
        """Whether a request of the last poll had no answer: an outage may have begun or ended in its midst."""
        return self._session.transport.poll.unanswered

    @property
    def looked_up(self) -> int:
        """How many jobs were fetched by their id in the last poll, or in the running one, with any result."""
        return self._budget.spent

    def remember(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Restore the counts of assets from before a restart: ``{(site, asset_type): count}``."""
        self._guard.remember(counts)

    def poll(self, known: pa.Table, budget: int) -> Iterator[SiteResult]:
        """Yield every site. ``known`` are rows of Refresh; at most ``budget`` jobs are fetched by their id.

        A job is fetched once, and its refresh reported until it is ``known``.

        Raises SourceUnreachable or SourceRefused where nothing could be read: no request of this poll had an answer of
        Tableau. Until one has, sites that failed are held back.
        """
        held, first = list[SiteResult](), None
        for result, error in self._results(known, budget):
            held.append(result)
            first = first or error
            if self._session.transport.poll.answered:
                yield from held
                held.clear()
        if held and first is not None:
            raise as_poll_error(first)

    def _results(self, known: pa.Table, budget: int) -> Iterator[tuple[SiteResult, SourceError | None]]:
        memory = KnownRefreshes(known, budget)
        self._budget = memory.budget
        self._session.transport.begin()
        self._reader.begin(memory)
        try:
            found = self._sites.find()
        except SourceError as failure:
            raise as_poll_error(failure) from None
        problem: SourceError | None = None
        unreachable = 0
        for site in found.names:
            error = found.refused.get(site)
            if error is None and unreachable >= UNREACHABLE_SITES:
                error = problem
            error = error or self._session.transport.poll.lost
            if error is None:
                try:
                    inventory = self._inventory(site, memory, found.pop_notes)
                except SourceError as failure:
                    error = problem = failure
                    unreachable = unreachable + 1 if isinstance(failure, SourceUnreachable) else 0
                else:
                    unreachable = 0
                    yield SiteResult(inventory.site, inventory, None, inventory.looked_up), None
                    continue
            name = self._sites.actual(site)
            yield SiteResult(name, None, str(error), self._reader.looked_up(name)), error

    def probe(self) -> Iterator[tuple[bool | None, str]]:
        """Try everything that a poll reads, and yield the results: true for good, false for bad, None for a note.

        Raises SourceUnreachable or SourceRefused where no sign-in succeeds.
        """
        return probe(self._session, self._sites)

    def probe_insights(self) -> Iterator[tuple[bool | None, str]]:
        """Try what is read of Admin Insights after a probe, and yield the results likewise. Raises SourceError."""
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        return insights_probe.probe(self._session, self._sites, QueryBudget(self._clock), today)

    def system_info(self) -> SystemInfo:
        """Read the processes of the cluster after a poll or a probe, on its session. Raises SourceError."""
        return read_system_info(self._session)

    def vizql_data(self, site: str, budget: QueryBudget) -> VizqlData:
        """Enter a site, and return VizQL Data Service of it, which is used before anything else is done."""
        self._session.enter(site)
        return VizqlData(self._session, budget)

    def close(self) -> None:
        """Sign out."""
        self._session.close()

    def _inventory(self, site: str, memory: KnownRefreshes, notes: Callable[[], list[str]]) -> Inventory:
        try:
            self._session.enter(site)
        except Forbidden as error:
            hint = f"there is no site {site} for this token or its user; check rest.sites{spelling(site)}"
            raise SourceRefused(f"{error}: {hint}") from None
        name = label(self._session.site)
        self._sites.learn(site, name)
        lists = self._reader.lists(name)
        self._guard.check(self._session.place, name, lists.counts())
        return self._reader.inventory(name, lists, memory, notes())
