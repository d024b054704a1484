"""States: rows that each poll replaces, their samples, and what the history and the REST API do for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from exporter.collector.relations import Relation
from exporter.freshness import Dues, SlaLookup
from exporter.metrics import Block, Family

if TYPE_CHECKING:
    import pyarrow as pa

    from exporter.inventory import Inventory

StateKey = tuple[str, int]
"""A state: its collector's name and its index among the collector's states."""


@dataclass(frozen=True)
class Context:
    """Inputs of a state's samples beside its rows.

    The label of each site id, the SLAs, the history's answer to ``StateHistory.context_sql``, the instants until which
    scheduled refreshes are waited for, and when the rows were read (Unix seconds).
    """

    sites: Mapping[int, str]
    sla: SlaLookup
    learned: "pa.Table | None" = None
    dues: Dues = field(default_factory=Dues)
    now: float = 0.0
    usage: "pa.Table | None" = None
    """What ``StateHistory.learn_usage`` returned."""
    usual: "pa.Table | None" = None
    """What the history has of the sizes of the rows (``exporter.history.sizes``)."""

    def site(self, site_id: int | None) -> str:
        """Return the label of a site; empty (absent) when it is unknown."""
        return self.sites.get(site_id, "") if site_id is not None else ""


Expose = Callable[["pa.Table", Context], Sequence[Block]]
FromInventory = Callable[["Inventory"], "pa.Table"]
Merge = Callable[[Sequence["pa.Table"]], "pa.Table"]
Audit = Callable[["pa.Table", SlaLookup, float], "pa.Table"]


class Query(Protocol):
    """Runs a query over the history, with tables beside it and instants as parameters."""

    def __call__(self, sql: str, tables: "Mapping[str, pa.Table]", **params: datetime) -> "pa.Table":
        """Return the answer."""


LearnUsage = Callable[[Query, "pa.Table", str, datetime], "pa.Table"]
"""From the rows of all sources, the default time zone (IANA) and an instant (UTC, naive)."""


@dataclass(frozen=True)
class StateHistory:
    """What the history does for a state: a table that keeps its rows, and queries about them (``state`` in SQL)."""

    table: str | None = None
    """The table that keeps the rows by day."""
    context_sql: str | None = None
    """A query whose answer is ``Context.learned``."""
    page: str | None = None
    """The name of the web page that shows the answer to ``page_sql``."""
    page_sql: str | None = None
    """A query for the page; ``$now`` is the instant, where it has that."""
    cloud_sql: str | None = None
    """The query where no repository has the rows, but usage of Tableau Cloud is archived; its ``state`` are assets."""
    page_seconds: float = 0.0
    """How long that answer is reused: an expensive query runs seldom."""
    learn_usage: LearnUsage | None = None
    """How the use of the rows is learned, once an hour: ``Context.usage``."""


@dataclass(frozen=True)
class StateFromRest:
    """How a state is made of the REST and Metadata APIs too: another source of the same rows."""

    rows: FromInventory
    """The rows of a site's inventory."""
    known: FromInventory
    """Rows of AssetFreshness to store until the next poll."""
    merge: Merge
    """How rows of several sources become one table."""


@dataclass(frozen=True)
class State:
    """Rows that are true now: each successful poll replaces the last, whole."""

    row: type
    reads: tuple[Relation, ...]
    sql: str
    families: tuple[Family, ...] = ()
    expose: Expose = lambda _rows, _context: ()
    every: Literal["poll", "exact"] = "poll"
    history: StateHistory = StateHistory()
    rest: StateFromRest | None = None
    audit: Audit | None = None
    """The rows as the audit of freshness keeps them, at an instant (Unix seconds); only the state of assets has it."""
    seconds: float = 0.0
    """How long the rows of an exact read are reused: an expensive statement runs seldom."""
