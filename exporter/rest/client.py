"""The REST API as a source: at each poll an inventory of each site, or the line that says why not.

What is not whole is not shown: a site whose list was cut, or is empty where there was something, has an error. What
only some may see (jobs, tasks, the Metadata API) is None, and a note says so.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from exporter.errors import SourceError, SourceRefused, SourceUnreachable
from exporter.inventory import Inventory
from exporter.rest import sites
from exporter.rest.credentials import ConnectedApp, Login, Token, label, spelling
from exporter.rest.empty_list_guard import Counts
from exporter.rest.errors import Forbidden, as_whole
from exporter.rest.jobs import Budget
from exporter.rest.probe import look
from exporter.rest.session import Session
from exporter.rest.site_reader import Known, Reading
from exporter.rest.token_stats import TokenLife

__all__ = ["ConnectedApp", "Login", "Rest", "SiteResult", "Token", "TokenLife"]

# A server that went away in mid-poll is not asked for every further site.
UNREACHABLE_SITES = 2


@dataclass(frozen=True)
class SiteResult:
    """One site: its inventory, or one line that says why there is none and what to do.

    ``looked_up`` are rows of Refresh that were looked up and that the caller does not know yet: those of the inventory,
    and also those of a site that failed afterwards.
    """

    site: str
    inventory: Inventory | None
    error: str | None
    looked_up: pa.Table | None = None


class Rest:
    """One Tableau, polled by one thread at a time."""

    def __init__(
        self,
        login: Login,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        stopping: Callable[[], bool] = lambda: False,
        life: TokenLife | None = None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a source; ``life`` is that of the source whose place it takes."""
        self._login = login
        self._clock = clock
        self._session = Session(login, clock, sleep, stopping, life, moved)
        self._counts = Counts(clock)
        self._sites = sites.Sites(self._session, login.sites)
        self._reading = Reading(self._session, clock)
        self._budget = Budget(0)

    @property
    def address(self) -> str:
        """Where it is."""
        return self._session.address

    @property
    def server_version(self) -> str | None:
        """Tableau's version, None before its first answer."""
        return self._session.server_version

    @property
    def token(self) -> TokenLife:
        """What is known of the token."""
        return self._session.life

    @property
    def life(self) -> TokenLife:
        """What is to be passed on to the source that takes the place of this one: its counters do not begin anew."""
        return self._session.life

    @property
    def silent(self) -> bool:
        """Whether a request of the last poll had no answer: an outage may have begun or ended in its midst."""
        return self._session.silent

    @property
    def looked_up(self) -> int:
        """How many jobs were asked for by their id in the last poll, or in the one that runs, however it ends."""
        return self._budget.spent

    def remember(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Learn how many assets of a type a site had before a restart: ``{(site, asset_type): count}``."""
        self._counts.remember(counts)

    def poll(self, known: pa.Table, budget: int) -> Iterator[SiteResult]:
        """Yield every site. ``known`` are rows of Refresh; at most ``budget`` jobs are looked up by their id.

        What this process looked up is not asked for again: it is told of until it is ``known``.

        Raises SourceUnreachable or SourceRefused where nothing could be had at all: no request of this poll was
        answered as Tableau answers. Until one is, sites that failed are held back.
        """
        held, first = list[SiteResult](), None
        for result, error in self._results(known, budget):
            held.append(result)
            first = first or error
            if self._session.answered:
                yield from held
                held.clear()
        if held and first is not None:
            raise as_whole(first)

    def _results(self, known: pa.Table, budget: int) -> Iterator[tuple[SiteResult, SourceError | None]]:
        memory = Known(known, budget)
        self._budget = memory.budget
        self._session.begin()
        self._reading.begin(memory)
        try:
            found = self._sites.find()
        except SourceError as failure:
            raise as_whole(failure) from None
        problem: SourceError | None = None
        unreachable = 0
        for site in found.names:
            error = found.refused.get(site)
            if error is None and unreachable >= UNREACHABLE_SITES:
                error = problem
            error = error or self._session.lost
            if error is None:
                try:
                    inventory = self._inventory(site, memory, found.take_notes)
                except SourceError as failure:
                    error = problem = failure
                    unreachable = unreachable + 1 if isinstance(failure, SourceUnreachable) else 0
                else:
                    unreachable = 0
                    yield SiteResult(inventory.site, inventory, None, inventory.looked_up), None
                    continue
            name = self._sites.actual(site)
            yield SiteResult(name, None, str(error), self._reading.looked_up(name)), error

    def look(self) -> Iterator[tuple[bool | None, str]]:
        """Try what a poll reads, and yield what is to be known of it: well, not well, or a note (None).

        Raises SourceUnreachable or SourceRefused where nothing lets us in.
        """
        return look(self._session, self._sites)

    def close(self) -> None:
        """Sign out."""
        self._session.close()

    def _inventory(self, site: str, memory: Known, notes: Callable[[], list[str]]) -> Inventory:
        try:
            self._session.enter(site)
        except Forbidden as error:
            hint = f"there is no site {site} for this token or its user; check rest.sites{spelling(site)}"
            raise SourceRefused(f"{error}: {hint}") from None
        name = label(self._session.site)
        self._sites.learn(site, name)
        lists = self._reading.lists(name)
        self._counts.check(self._session.place, name, lists.counts())
        return self._reading.inventory(name, lists, memory, notes())
