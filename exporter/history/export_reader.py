"""A table of the history read for an export: slice by slice, each in an opening of its own.

Between two slices the file is closed, however slowly they are read, and no more than one is in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa

from exporter.errors import HistoryError, HistoryReplaced
from exporter.history import views
from exporter.history.arrow import registered
from exporter.history.file import HistoryFile
from exporter.history.schema import refuse_other_versions
from exporter.history.tables import ARCHIVED_AT, quoted

SLICE_ROWS = 100_000
_TIMES = {"TIMESTAMP", "DATE"}


class Slice(NamedTuple):
    """Some rows, all up to the position ``end`` that no slice before had."""

    end: datetime
    rows: pa.Table


@dataclass(frozen=True)
class ExportSource:
    """A table or view, the column of its order, that of its rows' own time, and the table that has a view's rows.

    Without an order it is read whole. Rows whose own time is before ``since`` are not in a first export, those from
    ``until`` on in none.
    """

    table: str
    order: str | None = None
    at: str | None = None
    base: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    archived_again: bool = False
    """Whether rows that a history has lost are read from their source again."""
    query: str | None = None
    """What is read instead of the table; its order and time are columns of ``base``."""

    @property
    def relation(self) -> str:
        """What rows are selected from."""
        return f"({self.query})" if self.query else quoted(self.table)


class Slices:
    """The rows of one table up to the newest of now, in an order whose instants never go back."""

    def __init__(
        self, file: HistoryFile, source: ExportSource, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> None:
        """Read the tables of the file. Raises HistoryError where its tables are not this program's.

        ``progress`` is called with the rows that have been read and those that there are.
        """
        self._file, self._source, self._progress = file, source, progress
        self._base = quoted(source.base or source.table)
        self._names: Mapping[str, pa.Table] | None = None
        with file.open() as connection:
            refuse_other_versions(connection, file.path)
            described = connection.sql(f"SELECT * FROM {source.relation} LIMIT 0")
            self.schema: pa.Schema = described.to_arrow_table().schema
            self._columns = ", ".join(
                _selected(name, str(kind)) for name, kind in zip(described.columns, described.types, strict=True)
            )
            newest = f"SELECT max({source.order}) FROM {self._base}" if source.order else "SELECT NULL"
            self.newest: datetime | None = connection.execute(newest).fetchall()[0][0]
            """The last position; None where there is no row, or no order."""
            begun = connection.execute("SELECT marked_at FROM marks WHERE name = 'begun'").fetchall()
        if not begun:
            message = f"{file.path}: the instant when it was begun is missing; it was changed by hand"
            raise HistoryError(message)
        self.history: str = begun[0][0].isoformat()
        """The identity of this history."""

    def slices(
        self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
    ) -> Iterator[Slice]:
        """Yield the rows after a position, all for None; with ``until`` those up to it, in one slice.

        ``first``: whether ``since`` bounds them; without it, where ``after`` is None.
        """
        first = after is None if first is None else first
        if self.newest is None:
            return
        if after is not None and until is None:
            self._refuse_lost(after)
        ends = self._ends(after, self.newest, first=first) if until is None else [(until, 0)]
        done, total = 0, sum(count for _, count in ends)
        self._progress(0, total)
        begin = after
        for end, count in ends:
            condition, parameters = self._between(begin, end, first=first)
            yield Slice(end, self._read(condition, parameters))
            begin, done = end, done + count
            self._progress(done, total)

    def whole(self) -> pa.Table:
        """Return all rows of a table without an order."""
        rows = self._read(*self._bounds(first=True))
        self._progress(rows.num_rows, rows.num_rows)
        return rows

    def _refuse_lost(self, after: datetime) -> None:
        """Raise HistoryReplaced where what was exported last was lost, and is archived again in another place.

        Once rows were pruned this cannot be known: the missing ones may be among them. Imported rows may have been
        replaced by those of the repository.
        """
        if not self._source.archived_again:
            return
        known = (
            f"EXISTS (FROM {self._base} WHERE {self._source.order} = $1) OR EXISTS (FROM marks WHERE name = 'pruned')"
            f" OR EXISTS (FROM imports WHERE {ARCHIVED_AT} = $1)"
        )
        with self._file.open() as connection:
            if connection.execute(f"SELECT {known}", [after]).fetchall()[0][0]:
                return
        message = (
            f"{self._file.path}: lacks what was exported last, of {after} UTC: a backup was put back, and rows"
            " that are archived again would be exported twice; --rewrite begins the output anew"
        )
        raise HistoryReplaced(message)

    def _read(self, condition: str, parameters: Sequence[datetime]) -> pa.Table:
        names = self._found_names()
        relation = f"({views.named(self._base)})" if names else self._source.relation
        query = f"SELECT {self._columns} FROM {relation} WHERE {condition}"
        with self._file.open() as connection, registered(connection, **names):
            rows = connection.sql(query, params=list(parameters)).to_arrow_table()
        return rows.cast(self.schema)

    def _found_names(self) -> Mapping[str, pa.Table]:
        """Return what the view joins requests with, found once for all slices; nothing for every other table."""
        if self._source.query or self._source.table != views.VIEW:
            return {}
        if self._names is None:
            self._names = {name: self._queried(query) for name, query in views.NAMES.items()}
        return self._names

    def _queried(self, query: str) -> pa.Table:
        with self._file.open() as connection:
            return connection.sql(query).to_arrow_table()

    def _ends(self, after: datetime | None, newest: datetime, *, first: bool) -> list[tuple[datetime, int]]:
        """Return the last position of each slice, and how many rows it has; all rows of a position are in one.

        The last is the newest of all, even with bounds: what is not in a first export is in none.
        """
        bounds, parameters = self._bounds(first=first)
        order = self._source.order
        since = f"{order} > ? AND" if after else ""
        with self._file.open() as connection:
            return connection.execute(
                f"""
                SELECT max(instant), sum(count)::BIGINT
                FROM (
                    SELECT instant, count, sum(count) OVER (ORDER BY instant) AS upto
                    FROM (
                        SELECT {order} AS instant, count(*) FILTER ({bounds}) AS count
                        FROM {self._base}
                        WHERE {since} {order} <= ?
                        GROUP BY instant
                    )
                )
                GROUP BY upto // {SLICE_ROWS}
                ORDER BY ALL
                """,
                [*parameters, *([after] if after else []), newest],
            ).fetchall()

    def _between(self, after: datetime | None, end: datetime, *, first: bool) -> tuple[str, list[datetime]]:
        order = self._source.order
        bounds, parameters = self._bounds(first=first)
        if after is None:
            return f"{order} <= ? AND {bounds}", [end, *parameters]
        return f"{order} > ? AND {order} <= ? AND {bounds}", [after, end, *parameters]

    def _bounds(self, *, first: bool) -> tuple[str, list[datetime]]:
        since = self._source.since if first else None
        bounds = [(f"{self._source.at} >= ?", since), (f"{self._source.at} < ?", self._source.until)]
        given = [(condition, value) for condition, value in bounds if value is not None]
        return " AND ".join(["true", *(condition for condition, _ in given)]), [value for _, value in given]


def _selected(name: str, kind: str) -> str:
    """Return a column as it is exported: the world outside PostgreSQL and DuckDB has no infinite time."""
    column = quoted(name)
    return f"CASE WHEN isfinite({column}) THEN {column} END AS {column}" if kind in _TIMES else column
