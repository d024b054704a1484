"""Events: rows that no longer change, and the counters, histograms and gauges that are aggregated from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.collector.relations import Relation, columns_of
from exporter.metrics import Family

DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
JOB_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0)


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
class Elsewhere:
    """How rows are recognised that another source has brought into another table.

    ``join`` is a table and its condition as of ``keys``, which has the ``columns`` of the arriving rows.
    """

    columns: tuple[str, ...]
    join: str


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
    elsewhere: Elsewhere | None = None
    """Rows that are in another table already: they are neither archived nor counted again."""
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
