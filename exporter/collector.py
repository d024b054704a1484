"""What a collector is: rows, the statement that fills them, and the families made of them.

Each module of :mod:`exporter.collectors` holds one ``COLLECTOR``. A collector may archive events (rows that can no
longer change), know states (what is true now), or both. Nothing here reads or writes anything.
"""

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from exporter.freshness import Dues
from exporter.metrics import Block, Family

if typing.TYPE_CHECKING:
    from exporter.inventory import Inventory

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
    """A field of a row; ``volatile`` and ``personal`` as declared below.

    ``pseudonymous`` is whether a keyed hash may stand for a personal text.
    """

    name: str
    type: Type
    volatile: bool
    personal: bool
    pseudonymous: bool


def volatile() -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a field whose change alone makes no new version of the row in the history."""
    return field(metadata={"volatile": True})


def personal(*, pseudonymous: bool = True) -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a text that names a person: the privacy options replace it before anything else sees it.

    What is of use only as it is, such as an address to write to, is not ``pseudonymous``: pseudonyms leave it out.
    """
    return field(metadata={"personal": True, "pseudonymous": pseudonymous})


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
    every = {**needed, **more, **spare}
    for columns in added.values():
        every |= columns
    return Relation(name, every, frozenset(needed), optional, frozenset(spare), reported, since)


def _columns(text: str) -> dict[str, str]:
    pairs = (part.strip().split(" ", 1) for part in text.split(",") if part.strip())
    return {name: kind for name, kind in pairs}  # noqa: C416 - dict(pairs) would not name the parts


Promises = Callable[[Mapping[str, Any]], tuple[float | None, float | None]]
"""From what is known of an asset to the hours of its warning and its critical promise; None where there is none."""


@dataclass(frozen=True)
class Context:
    """What a state's samples may depend on beside its rows.

    The site of each id, the promises, what was learned, what schedules announced, and when the rows were true (Unix
    seconds).
    """

    sites: Mapping[int, str]
    promises: Promises
    learned: "pa.Table | None" = None
    dues: Dues = field(default_factory=Dues)
    now: float = 0.0

    def site(self, site_id: int | None) -> str:
        """Return the label of a site; empty (absent) when it is not known."""
        return self.sites.get(site_id, "") if site_id is not None else ""


Expose = Callable[[pa.Table, Context], Sequence[Block]]
FromInventory = Callable[["Inventory"], pa.Table]
Merge = Callable[[Sequence[pa.Table]], pa.Table]
Judge = Callable[[pa.Table, Promises, float], pa.Table]


@dataclass(frozen=True)
class State:
    """What is true now: each successful poll replaces the last, whole."""

    row: type
    reads: tuple[Relation, ...]
    sql: str
    families: tuple[Family, ...] = ()
    expose: Expose = lambda _rows, _context: ()
    every: Literal["poll", "exact"] = "poll"
    kept_in: str | None = None
    """The history table that keeps the rows by day."""
    learns: str | None = None
    """A question to the history, with the rows at hand as ``state``; its answer is ``Context.learned``."""
    recalls: str | None = None
    """Another, that knows the instant as ``$now``; its answer is what the pages show beside the rows."""
    recalls_seconds: float = 0.0
    """How long that answer is good: one that is dear is asked for seldom."""
    inventoried: "FromInventory | None" = None
    """How its rows are made of what the REST and Metadata APIs say of a site."""
    remembers: "FromInventory | None" = None
    """What is to be kept of an inventory until the next: rows of AssetFreshness."""
    merge: "Merge | None" = None
    """How rows of several sources become one table; needed with ``inventoried``."""
    judge: "Judge | None" = None
    """The rows as the audit of the history keeps them, at an instant (Unix seconds)."""


@dataclass(frozen=True)
class Count:
    """A counter folded from events: its labels as expressions over ``rows``."""

    family: Family
    by: Mapping[str, str]
    where: str = "true"
    busiest: int | None = None
    """How many series are shown, those that count most; all are counted."""


@dataclass(frozen=True)
class Distribution:
    """A histogram folded from events: its labels and the observed seconds as expressions over ``rows``."""

    family: Family
    by: Mapping[str, str]
    seconds: str
    where: str = "true"
    busiest: int | None = None
    """How many series are shown, those that count most; all are counted."""


Fold = Count | Distribution


@dataclass(frozen=True)
class Events:
    """Rows that can no longer change: archived once by key, folded once into counters.

    ``row`` lists the columns that are read; ``None`` takes every column the source has. Without ``sql`` the table is
    read by snapshots (docs/decisions/0003-exactly-once.md); with it, the statement is run whole at every poll and what
    is new is kept. A row without ``completed_at`` is open: it may still change, and is not archived or folded yet.
    """

    table: str
    reads: tuple[Relation, ...]
    row: type | None
    folds: tuple[Fold, ...]
    key: tuple[str, str] = ("id", "created_at")
    sql: str | None = None
    keeps_open: bool = False
    """Whether open rows are kept apart in the history until they are final."""


@dataclass(frozen=True)
class Collector:
    """One collector: its module's name is its name everywhere."""

    name: str
    help: str
    events: Events | None = None
    states: tuple[State, ...] = ()
    folds: tuple[Fold, ...] = ()
    """Counters folded from the requests that another collector archives."""
    families: tuple[Family, ...] = ()
    """Families whose samples come from elsewhere in the agent."""
    enabled: bool = True

    @property
    def from_requests(self) -> bool:
        """Whether it lives by the requests that another collector archives, and reads nothing itself."""
        return self.events is None and not self.states

    def all_families(self) -> tuple[Family, ...]:
        """Return every family that this collector declares, each once: several states may feed one."""
        own = self.events.folds if self.events else ()
        folded = tuple(fold.family for fold in (*own, *self.folds))
        stated = (family for state in self.states for family in state.families)
        return tuple(dict.fromkeys((*folded, *stated, *self.families)))
