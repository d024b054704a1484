"""Contents of a history, from its bookkeeping alone: the cost does not grow with the number of its requests.

Days come from ``archived_days``, losses from counters, polls from ``poll_log``, the rest from lists that are short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

import duckdb

from exporter import self_metrics as families
from exporter.history.compaction import share_of_free_blocks
from exporter.history.file import HistoryFile
from exporter.history.positions import Position, read_positions
from exporter.history.pruning import DAY
from exporter.history.schema import refuse_other_versions
from exporter.history.tables import quoted

REQUESTS = "http_requests"
# A pause of the agent that is shorter is a restart or an outage that Tableau's cleanup, once a day, hardly meets.
PAUSE = timedelta(hours=1)
LONGEST_LIST = 100
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class TableSize:
    """A table and how many rows it has; of those with a ledger also how many were archived and pruned."""

    name: str
    rows: int
    archived: int | None = None
    pruned: int | None = None


@dataclass(frozen=True)
class Month:
    """The requests of a calendar month (``2025-11``, UTC) that were archived, and of these the pruned."""

    month: str
    archived: int
    pruned: int


@dataclass(frozen=True)
class Gap:
    """Days in a row, the first and the last, of which no request is archived, between others that have some."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1


@dataclass(frozen=True)
class Pause:
    """A time in which requests were not polled: when the poll before it began, and the poll after it."""

    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True)
class Incidents:
    """How often one kind of incident happened, and the last of them."""

    kind: str
    count: int
    last_at: datetime
    last_detail: str


@dataclass(frozen=True)
class TableProgress:
    """How far a table of the repository was archived."""

    source: str
    max_id: int | None
    horizon: int | None
    polled_at: datetime | None
    truncated: bool


@dataclass(frozen=True)
class Info:
    """A history; instants are UTC, naive."""

    path: str
    bytes: int
    free_share: float
    begun: datetime | None
    oldest: datetime | None
    newest: datetime | None
    tables: Sequence[TableSize]
    months: Sequence[Month]
    gaps: Sequence[Gap]
    pauses: Sequence[Pause]
    possibly_lost: int
    incidents: Sequence[Incidents]
    positions: Sequence[TableProgress]
    last_polls: Sequence[tuple[str, datetime]]
    """The mode of polls and when the last of it was."""


def read_info(file: HistoryFile) -> Info:
    """Read a history that is not written. Raises HistoryError."""
    with file.open() as connection:
        refuse_other_versions(connection, file.path)
        marks = dict(connection.execute("SELECT name, marked_at FROM marks").fetchall())
        days = _days(connection)
        return Info(
            str(file.path),
            file.bytes or 0,
            share_of_free_blocks(connection),
            marks.get("begun"),
            marks.get("oldest"),
            marks.get("newest"),
            _tables(connection),
            _months(connection),
            gaps_between(days),
            _pauses(connection),
            _possibly_lost(connection),
            _incidents(connection),
            [_progress(position) for _, position in sorted(read_positions(connection).items())],
            sorted((name.partition(":")[2], at) for name, at in marks.items() if name.startswith("poll:")),
        )


def gaps_between(days: Sequence[date]) -> list[Gap]:
    """Return the days that are missing between others, which are in order."""
    return [
        Gap(day + _ONE_DAY, following - _ONE_DAY) for day, following in pairwise(days) if following - day > _ONE_DAY
    ]


def _possibly_lost(connection: duckdb.DuckDBPyConnection) -> int:
    family = families.POSSIBLY_LOST.name
    rows = connection.execute("SELECT sum(value) FROM counters WHERE family = ?", [family]).fetchall()
    return int(rows[0][0] or 0)


def _days(connection: duckdb.DuckDBPyConnection) -> list[date]:
    rows = connection.execute(
        'SELECT day FROM archived_days WHERE source = ? AND "rows" > 0 AND isfinite(day) ORDER BY day', [REQUESTS]
    ).fetchall()
    return [day for (day,) in rows]


def _tables(connection: duckdb.DuckDBPyConnection) -> list[TableSize]:
    """Count the rows of each table: by the ledger where there is one, for these are the long tables."""
    ledger = {
        source: (int(archived), int(pruned))
        for source, archived, pruned in connection.execute(
            'SELECT source, sum("rows"), sum(pruned) FROM archived_days GROUP BY source'
        ).fetchall()
    }
    names = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY table_name").fetchall()
    tables = []
    for (name,) in names:
        if name in ledger:
            archived, pruned = ledger[name]
            tables.append(TableSize(name, archived - pruned, archived, pruned))
        else:
            ((count,),) = connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchall()
            tables.append(TableSize(name, int(count)))
    return tables


def _months(connection: duckdb.DuckDBPyConnection) -> list[Month]:
    rows = connection.execute(
        """
        SELECT
            strftime(day, '%Y-%m') AS month,
            sum("rows")::BIGINT AS archived,
            sum(pruned)::BIGINT AS pruned
        FROM archived_days
        WHERE source = ? AND isfinite(day)
        GROUP BY month
        ORDER BY month
        """,
        [REQUESTS],
    ).fetchall()
    return [Month(*row) for row in rows]


def _pauses(connection: duckdb.DuckDBPyConnection) -> list[Pause]:
    """Return the newest pauses, in order; of days that were pruned the polls are not known one by one."""
    rows = connection.execute(
        f"""
        SELECT before, started_at
        FROM (
            SELECT started_at, lag(started_at) OVER (ORDER BY started_at) AS before
            FROM poll_log
            WHERE source = ? AND mode <> '{DAY}'
        )
        WHERE started_at - before > ?
        ORDER BY started_at DESC
        LIMIT {LONGEST_LIST}
        """,
        [REQUESTS, PAUSE],
    ).fetchall()
    return [Pause(*row) for row in reversed(rows)]


def _incidents(connection: duckdb.DuckDBPyConnection) -> list[Incidents]:
    rows = connection.execute(
        """
        SELECT
            kind,
            count(*) AS count,
            max(happened_at) AS last_at,
            arg_max(detail, happened_at) AS last_detail
        FROM incidents
        GROUP BY kind
        ORDER BY kind
        """
    ).fetchall()
    return [Incidents(*row) for row in rows]


def _progress(position: Position) -> TableProgress:
    return TableProgress(position.source, position.max_id, position.horizon, position.polled_at, position.truncated)
