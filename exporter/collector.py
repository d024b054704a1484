"""The declaration of a collector: rows, the SQL that fills them, and the metric families made of them.

Each module of :mod:`exporter.collectors` holds one ``COLLECTOR``. A collector may archive events (rows that no longer
change), publish states (rows that each poll replaces), or both. Nothing here reads or writes anything.
"""

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from exporter.freshness import Dues, SlaLookup
from exporter.metrics import Block, Family

if typing.TYPE_CHECKING:
    from exporter.inventory import Inventory
    from exporter.system_info import SystemInfo

DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
JOB_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0)


@dataclass(frozen=True)
class Type:
    """One type of values: its name in PostgreSQL, in DuckDB and in Arrow."""

    postgres: str
    duckdb: str
    arrow: pa.DataType


TYPES: Mapping[type, Type] = {
    int: Type("bigint", "BIGINT", pa.int64()),
    str: Type("text", "VARCHAR", pa.string()),
    bool: Type("boolean", "BOOLEAN", pa.bool_()),
    float: Type("double precision", "DOUBLE", pa.float64()),
    datetime: Type("timestamp", "TIMESTAMP", pa.timestamp("us")),
}
POSTGRES_TYPES: Mapping[str, Type] = {kind.postgres: kind for kind in TYPES.values()}
DUCKDB_TYPES: Mapping[str, Type] = {kind.duckdb: kind for kind in TYPES.values()}


@dataclass(frozen=True)
class Column:
    """A field of a row; ``volatile``, ``personal`` and ``free_text`` as declared below.

    ``pseudonymous`` is whether a keyed hash may stand for a personal text.
    """

    name: str
    type: Type
    volatile: bool
    personal: bool
    pseudonymous: bool
    free_text: bool = False


def volatile() -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a field whose change alone makes no new version of the row in the history."""
    return field(metadata={"volatile": True})


def personal(*, pseudonymous: bool = True) -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a text that names a person, which the privacy options replace; an address is not ``pseudonymous``.

    A number that stands for a person is kept beside pseudonyms, and is NULL where users are not stored at all.
    """
    return field(metadata={"personal": True, "pseudonymous": pseudonymous})


def free_text() -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a text of events in which anything may stand: it is redacted as a URI is, and kept with names only."""
    return field(metadata={"personal": True, "pseudonymous": False, "free_text": True})


def columns_of(row: type) -> tuple[Column, ...]:
    """Return the columns of a row dataclass, in order."""
    hints = typing.get_type_hints(row)
    return tuple(
        Column(
            item.name,
            TYPES[_plain(hints[item.name])],
            volatile=bool(item.metadata.get("volatile")),
            personal=bool(item.metadata.get("personal")),
            pseudonymous=bool(item.metadata.get("pseudonymous")),
            free_text=bool(item.metadata.get("free_text")),
        )
        for item in fields(row)
    )


def _plain(hint: Any) -> type:  # noqa: ANN401 - a type hint is anything
    """Strip ``| None`` from a hint."""
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return typing.cast("type", hint)


@dataclass(frozen=True)
class Relation:
    """A table of the repository as a statement reads it.

    ``columns`` maps a column to the PostgreSQL type it is read as; those in ``required`` must exist, others are NULL
    where the repository's version lacks them. An ``optional`` relation that is missing or unreadable is empty; its
    absence is reported unless it belongs to something that not every server has (``reported`` is false). Columns
    ``only_in_view`` exist in the view that may stand in for the table: nobody misses them in the table. ``newer`` maps
    a column that older versions of Tableau never had to the first version known to have it.
    """

    name: str
    columns: Mapping[str, str]
    required: frozenset[str]
    optional: bool = False
    only_in_view: frozenset[str] = frozenset()
    reported: bool = True
    newer: Mapping[str, str] = field(default_factory=dict)


def relation(
    name: str,
    required: str,
    others: str = "",
    *,
    optional: bool = False,
    only_in_view: str = "",
    reported: bool = True,
    newer: Mapping[str, str] | None = None,
) -> Relation:
    """Declare a relation: ``relation("sites", "id bigint", "name text", newer={"2023.3": "mfa_enabled boolean"})``."""
    needed, more, spare = _columns(required), _columns(others), _columns(only_in_view)
    added = {version: _columns(text) for version, text in (newer or {}).items()}
    since = {column: version for version, columns in added.items() for column in columns}
    every = {**needed, **more, **spare, **{name: kind for columns in added.values() for name, kind in columns.items()}}
    return Relation(name, every, frozenset(needed), optional, frozenset(spare), reported, since)


def _columns(text: str) -> dict[str, str]:
    pairs = (part.strip().split(" ", 1) for part in text.split(",") if part.strip())
    return {name: kind for name, kind in pairs}  # noqa: C416 - dict(pairs) would not name the parts


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

    def site(self, site_id: int | None) -> str:
        """Return the label of a site; empty (absent) when it is unknown."""
        return self.sites.get(site_id, "") if site_id is not None else ""


Expose = Callable[["pa.Table", Context], Sequence[Block]]
FromInventory = Callable[["Inventory"], "pa.Table"]
Merge = Callable[[Sequence["pa.Table"]], "pa.Table"]
Audit = Callable[["pa.Table", SlaLookup, float], "pa.Table"]


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
    """A query for the page; ``$now`` is the instant."""
    page_seconds: float = 0.0
    """How long that answer is reused: an expensive query runs seldom."""


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


@dataclass(frozen=True)
class Count:
    """A counter aggregated from events: its labels as expressions over ``rows``."""

    family: Family
    by: Mapping[str, str]
    where: str = "true"
    busiest: int | None = None
    """How many series are published, those with the highest counts; all are counted."""


@dataclass(frozen=True)
class Distribution:
    """A histogram aggregated from events: its labels and the observed seconds as expressions; ``busiest`` as above."""

    family: Family
    by: Mapping[str, str]
    seconds: str
    where: str = "true"
    busiest: int | None = None
    needs_unit: bool = False
    """Whether the configuration names the unit of ``seconds``; without one nothing is observed."""
    verifiable: bool = True
    """Whether ``where`` can be evaluated on the stored rows alone, as ``history verify`` does."""


@dataclass(frozen=True)
class Latest:
    """A gauge: the latest instant of the events with the same labels, ``at`` as an expression over ``rows``."""

    family: Family
    by: Mapping[str, str]
    at: str
    where: str = "true"


Fold = Count | Distribution | Latest


@dataclass(frozen=True)
class FirstValues:
    """A column whose first values become values of a label, kept in the history; all others are ``other`` there."""

    column: str
    most: int

    def label(self, table: str) -> str:
        """Return the expression of the label."""
        known = f"SELECT value FROM label_values WHERE source = '{table}'"
        return f"CASE WHEN {self.column} IN ({known}) THEN {self.column} WHEN {self.column} <> '' THEN 'other' END"


@dataclass(frozen=True)
class LookedUp:
    """A column of events that stands in another relation, in the row with the number that the first of ``by`` has.

    A relation with few rows is ``small``: it is read once for each statement, and needs no index on ``key``.
    """

    relation: str
    column: str
    by: tuple[str, ...]
    key: str = "id"
    small: bool = False


@dataclass(frozen=True)
class Events:
    """Rows that no longer change: archived once by key, aggregated once into counters.

    ``row`` lists the columns that are read; ``None`` takes every column the source has. Without ``sql`` the table is
    read by snapshots (docs/decisions/0003-exactly-once.md); with it, the statement is run whole at every poll and what
    is new is archived. Where ``row`` has ``completed_at``, a row without it is open: it may still change, and is not
    archived or counted yet.
    """

    table: str
    reads: tuple[Relation, ...]
    row: type | None
    folds: tuple[Fold, ...]
    key: tuple[str, str] = ("id", "created_at")
    sql: str | None = None
    alias: str | None = None
    """A column that identifies a row whatever source it comes from, and whatever its key is there."""
    keeps_open: bool = False
    """Whether open rows are kept apart in the history until they are final: only those of http_requests are."""
    counts_usage: bool = False
    """Whether its rows are requests of people, which are counted by hour, view and person too.

    Such rows have the columns of http_requests that this needs; those of http_requests are counted anyway.
    """
    first_values: FirstValues | None = None
    """A column that is a label of one of ``folds``, whatever values come."""
    joined: str | None = None
    """A query that adds columns to new rows (``{rows}``) for ``folds``, from rows that are archived already."""
    looked_up: Mapping[str, LookedUp] = field(default_factory=dict)
    """Columns of ``row`` that are read from other relations of ``reads``, which may be missing."""

    @property
    def source(self) -> str:
        """The repository's table that is read by snapshots; only its name may differ from the history's."""
        return self.reads[0].name if self.reads else self.table

    @property
    def have_ends(self) -> bool:
        """Whether rows are open until they have a ``completed_at``."""
        return self.row is None or any(column.name == "completed_at" for column in columns_of(self.row))


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
    beside: frozenset[str] = frozenset({"repository", "activity_log"})


ExposeLastSeen = Callable[[Any, Sequence[str], Mapping[str, float]], Sequence[Block]]
"""From the last request of each person (columns ``sites``, ``people``, ``seen_at``) and the labels of all sites.

The last are the instants (Unix seconds) until which the requests of a site are archived; a site without one is current.
"""


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
    expose_system_info: "Callable[[SystemInfo], Sequence[Block]] | None" = None
    """Makes blocks of the processes of the cluster that systeminfo.xml of the REST API's server lists."""
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


StateKey = tuple[str, int]
"""A state: its collector's name and its index among the collector's states."""
