"""Families of a backfill, grouped by the table whose rows they are made of; rows are read a slice at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import duckdb

from exporter.history.aggregation import Lookups
from exporter.history.backfill.steps import Steps
from exporter.metrics import Family

# As in counting: what is older has a time that no Tableau wrote.
PLAUSIBLE = "isfinite({0}) AND {0} >= TIMESTAMP '2000-01-01'"


@dataclass(frozen=True)
class HistorySlice:
    """Rows of the history after one step and up to another, or without an end; and where to put what is made of them.

    ``lookups`` name the known sites and users, and when the history was pruned.
    """

    history: duckdb.DuckDBPyConnection
    scratch: duckdb.DuckDBPyConnection
    steps: Steps
    lookups: Lookups
    after: int
    upto: int | None

    def holds(self, column: str, later: timedelta = timedelta()) -> str:
        """Return SQL: whether an instant, so much later, is in this slice; blocks of other slices are not read."""
        since = f"{column} > TIMESTAMP '{self.steps.at(self.after) - later}' AND isfinite({column})"
        return since if self.upto is None else f"{since} AND {column} <= TIMESTAMP '{self.steps.at(self.upto) - later}'"


class FamilyGroup(Protocol):
    """Families that are made of the rows of one table."""

    @property
    def families(self) -> Sequence[Family]:
        """The families, in the order in which they are written."""

    @property
    def table(self) -> str:
        """The table of the history that they are made of."""

    @property
    def at(self) -> str:
        """Its column of instants, by which it is pruned."""

    def begins(self, steps: Steps) -> datetime:
        """Return the instant whose rows, and all later ones, matter."""

    def ends(self, steps: Steps) -> datetime | None:
        """Return the instant after which no row matters; None where all do."""

    def begin(self, first: HistorySlice) -> None:
        """Read what is not in slices, in the opening of the first one, which is the latest."""

    def read(self, rows: HistorySlice) -> None:
        """Read a slice; later ones have been read before."""

    def finish(self, scratch: duckdb.DuckDBPyConnection, steps: Steps) -> None:
        """Make series of what was read."""


def oldest(history: duckdb.DuckDBPyConnection, part: FamilyGroup) -> datetime | None:
    """Return the oldest plausible instant of a part's rows; None where it has none."""
    plausible = PLAUSIBLE.format(part.at)
    found: datetime | None = history.execute(f"SELECT min({part.at}) FROM {part.table} WHERE {plausible}").fetchall()[
        0
    ][0]
    return found
