"""Hooks: what a collector makes of the sources beside the repository, and of what the history has of users."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exporter.collector.events import Events
from exporter.metrics import Block

if TYPE_CHECKING:
    import pyarrow as pa

    from exporter.inventory import Inventory, SystemInfo


@dataclass(frozen=True)
class RestHooks:
    """What a collector makes of a site's inventory, as long as none of the sources ``beside`` is configured."""

    expose: Callable[["Inventory"], Sequence[Block]] = lambda _inventory: ()
    """The samples of the site; those of the last poll that read what they are made of stand until they are too old."""
    events: Callable[["Inventory"], "pa.Table | None"] | None = None
    """Rows of the collector's events, without ``site_id``; None where they could not be read."""
    totals: Callable[["Inventory"], "pa.Table | None"] | None = None
    """Columns id, workbook, view and total: what its family counts from one poll to the next."""
    wants: frozenset[str] = frozenset()
    """The lists of rest.usage_lists that it is made of."""
    beside: frozenset[str] = frozenset({"repository"})


ExposeRows = Callable[[str, "pa.Table", float], Sequence[Block]]
"""From a site's label, rows of a data source and the instant at which they were true (Unix seconds)."""


@dataclass(frozen=True)
class InsightsHooks:
    """What a collector makes of Admin Insights, as long as none of the sources ``beside`` is configured.

    It is refreshed once a day: nothing of it may stand for less than a day.
    """

    events: tuple[Events, ...] = ()
    """Events whose SQL reads the relation ``insights``, rows of InsightsEvent."""
    jobs: Callable[["pa.Table"], "pa.Table"] | None = None
    """Rows of the collector's events, without ``site_id``, of rows of Job Performance."""
    expose_users: ExposeRows | None = None
    expose_tokens: ExposeRows | None = None
    expose_seen: "Callable[[Any, Mapping[str, float]], Sequence[Block]] | None" = None
    """From the last request of each person, and when the events of each site were published (Unix seconds)."""
    expose_refreshed: Callable[[Mapping[str, float]], Sequence[Block]] | None = None
    """From the newest refresh of each site that is archived as a whole (Unix seconds); it stands until the next."""
    beside: frozenset[str] = frozenset({"repository", "activity_log"})

    @property
    def counts_alone(self) -> bool:
        """Whether no other source counts the same."""
        return not self.beside


ExposeLastSeen = Callable[[Any, Sequence[str], Mapping[str, float]], Sequence[Block]]
"""From the last request of each person (columns ``sites``, ``people``, ``seen_at``) and the labels of all sites.

The last are the instants (Unix seconds) until which the requests of a site are archived; a site without one is current.
"""

ExposeSystemInfo = Callable[["SystemInfo"], Sequence[Block]]
"""From the processes of the cluster that systeminfo.xml of the REST API's server lists."""
