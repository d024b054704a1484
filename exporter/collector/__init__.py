"""The declaration of a collector: rows, the SQL that fills them, and the metric families made of them.

Each module of :mod:`exporter.collectors` holds one ``COLLECTOR``. A collector may archive events (rows that no longer
change), publish states (rows that each poll replaces), or both. Nothing here reads or writes anything.
"""

from dataclasses import dataclass

from exporter.collector.events import (
    DURATION_BUCKETS,
    JOB_BUCKETS,
    Count,
    Distribution,
    Elsewhere,
    Events,
    FirstValues,
    Fold,
    Latest,
    LookedUp,
)
from exporter.collector.hooks import ExposeLastSeen, ExposeSystemInfo, InsightsHooks, RestHooks
from exporter.collector.relations import (
    DUCKDB_TYPES,
    POSTGRES_TYPES,
    Column,
    Relation,
    Type,
    columns_of,
    free_text,
    personal,
    relation,
    volatile,
)
from exporter.collector.states import (
    Context,
    Expose,
    LearnUsage,
    Query,
    State,
    StateFromRest,
    StateHistory,
    StateKey,
)
from exporter.metrics import Family

__all__ = [
    "DUCKDB_TYPES",
    "DURATION_BUCKETS",
    "JOB_BUCKETS",
    "POSTGRES_TYPES",
    "Collector",
    "Column",
    "Context",
    "Count",
    "Distribution",
    "Elsewhere",
    "Events",
    "Expose",
    "FirstValues",
    "Fold",
    "InsightsHooks",
    "Latest",
    "LearnUsage",
    "LookedUp",
    "Query",
    "Relation",
    "RestHooks",
    "State",
    "StateFromRest",
    "StateHistory",
    "StateKey",
    "Type",
    "columns_of",
    "free_text",
    "personal",
    "relation",
    "volatile",
]


@dataclass(frozen=True)
class Collector:
    """One collector: its module's name is its name everywhere."""

    name: str
    help: str
    events: Events | None = None
    states: tuple[State, ...] = ()
    folds: tuple[Fold, ...] = ()
    """Counters aggregated from the requests that another collector archives."""
    activity: tuple[Events, ...] = ()
    """Events of Tableau Cloud's Activity Log, whose SQL reads the relation ``activity`` (docs/collectors.md)."""
    activity_folds: tuple[Fold, ...] = ()
    """Like ``folds``, from the requests to Tableau Cloud, whichever source has them."""
    rest: RestHooks | None = None
    """What it makes of the REST API where no better source is configured."""
    insights: InsightsHooks | None = None
    """What it makes of Admin Insights of Tableau Cloud where no better source is configured."""
    expose_last_seen: ExposeLastSeen | None = None
    """Makes blocks of the last request of each user; active users are counted where a collector has it."""
    expose_system_info: ExposeSystemInfo | None = None
    """Makes blocks of the processes of the cluster."""
    families: tuple[Family, ...] = ()
    """Families whose samples are made of neither states nor events."""
    enabled: bool = True

    @property
    def archives_requests(self) -> bool:
        """Whether its events are the requests."""
        return self.events is not None and self.events.keeps_open

    @property
    def from_requests(self) -> bool:
        """Whether it is made of the requests that another collector archives, and reads nothing itself."""
        return not (self.archived or self.states or self.rest or self.from_system_info)

    @property
    def from_repository(self) -> bool:
        """Whether the repository is a source of its rows, or of the requests that it is made of."""
        return self.events is not None or bool(self.states) or self.from_requests

    @property
    def from_rest(self) -> bool:
        """Whether the REST and Metadata APIs are a source of it."""
        return self.rest is not None or any(state.rest for state in self.states)

    @property
    def from_system_info(self) -> bool:
        """Whether systeminfo.xml is its source."""
        return self.expose_system_info is not None

    @property
    def from_activity_log(self) -> bool:
        """Whether the Activity Log is a source of its events, or of the requests that it is made of."""
        return bool(self.activity) or self.from_requests

    @property
    def from_admin_insights(self) -> bool:
        """Whether Admin Insights is a source of it, or of the requests that it is made of."""
        return self.insights is not None or self.from_requests

    @property
    def archived(self) -> tuple[Events, ...]:
        """Every kind of events that it archives, from whichever source."""
        insights = self.insights.events if self.insights else ()
        return (*((self.events,) if self.events else ()), *self.activity, *insights)

    @property
    def relations(self) -> tuple[Relation, ...]:
        """Every relation that it reads."""
        events = self.events.reads if self.events else ()
        return (*events, *(relation for state in self.states for relation in state.reads))

    def all_families(self) -> tuple[Family, ...]:
        """Return every family that it declares, each once: several states may feed one."""
        own = (fold for events in self.archived for fold in events.folds)
        folded = tuple(fold.family for fold in (*own, *self.folds, *self.activity_folds))
        stated = (family for state in self.states for family in state.families)
        return tuple(dict.fromkeys((*folded, *stated, *self.families)))
