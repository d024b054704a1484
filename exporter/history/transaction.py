"""A transaction of the history: archive rows with their counts, audit assets, write the poll log.

What needs nothing but the connection is in the module of its table: callers call that with ``connection``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import duckdb
import pyarrow as pa

from exporter.collector import Events, Fold
from exporter.history import archive, usage
from exporter.history.aggregation import USER, Lookups, add
from exporter.history.archive import Appended, Instants
from exporter.history.arrow import registered
from exporter.history.freshness_audit import Auditor
from exporter.history.positions import Position
from exporter.history.pruning import Pruned, prune, pruned_before
from exporter.history.redaction import PARSED_COLUMNS
from exporter.history.sizes import SizeRecorder
from exporter.history.tables import AUDIT
from exporter.history.totals import mark, naive
from exporter.self_metrics import HISTORY_ROWS, INCIDENTS

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class PollLogRow:
    """One line of the poll log."""

    started_at: datetime
    source: str
    mode: str
    seconds: float
    read: int
    new: int
    open: int
    node: str


@dataclass
class Transaction:
    """One open transaction of the history and its operations."""

    connection: duckdb.DuckDBPyConnection
    hidden: Collection[str]
    """Columns of requests whose values are not stored."""
    events: Sequence[Events]
    now: datetime
    auditor: Auditor = field(default_factory=Auditor)
    sizes: SizeRecorder = field(default_factory=SizeRecorder)

    @cached_property
    def pruned_before(self) -> datetime | None:
        """Everything older was removed: read in this transaction, for another process may prune meanwhile."""
        return pruned_before(self.connection)

    @cached_property
    def archived_at(self) -> datetime:
        """The instant (UTC, naive) of what this transaction archives; it never goes back, even if the clock does."""
        last: datetime
        ((last,),) = self.connection.execute("SELECT max(marked_at) FROM marks WHERE name = 'archived'").fetchall()
        return max(naive(self.now), last + _MICROSECOND)

    def append(
        self,
        events: Events,
        ranges: Iterable[pa.Table],
        lookups: Lookups,
        folds: Sequence[Fold],
        *,
        count_people: bool = False,
    ) -> Appended:
        """Archive events that are final as they come."""
        appended = archive.append(
            self.connection,
            events,
            ranges,
            self._obeying(lookups),
            folds,
            at=Instants(naive(self.now), self.archived_at),
            hidden=self.hidden,
            count_people=count_people,
        )
        self.count_rows(events.table, appended.new)
        return appended

    def append_requests(
        self,
        events: Events,
        ranges: Iterable[pa.Table],
        lookups: Lookups,
        folds: Sequence[Fold],
        *,
        count_people: bool,
    ) -> Appended:
        """Archive requests, which the history's cleaner has cleaned."""
        appended = archive.append_requests(
            self.connection,
            events,
            map(_cleaned, ranges),
            self._obeying(lookups),
            folds,
            hidden=self.hidden,
            at=Instants(naive(self.now), self.archived_at),
            count_people=count_people,
        )
        self.count_rows(events.table, appended.new)
        if appended.newest and appended.oldest:
            mark(self.connection, "newest", appended.newest)
            mark(self.connection, "oldest", appended.oldest, keep="least")
        return appended

    def promote(self, table: str, gone: pa.Table, lookups: Lookups, folds: Sequence[Fold]) -> int:
        """Make open requests final that will not complete any more."""
        new = archive.promote(self.connection, table, gone, lookups, folds, Instants(naive(self.now), self.archived_at))
        self.count_rows(table, new)
        return new

    def audit(self, judged: pa.Table) -> int:
        """Write the SLA status of assets where it is new or a day old; return the number of rows."""
        written = self.auditor.audit(self.connection, judged, self.now)
        self.auditor.prune(self.connection, self.now)
        self.count_rows(AUDIT, written)
        return written

    def note_sizes(self, assets: pa.Table) -> pa.Table:
        """Note the sizes of assets that were refreshed; return the last refresh of each as rows of ``sizes.SIZES``."""
        self.sizes.note(self.connection, assets, self.now)
        return self.sizes.last

    def query(self, sql: str, rows: pa.Table, **params: datetime) -> pa.Table:
        """Run a collector's query over the history, with a state's rows as ``state``."""
        return self.query_with(sql, {"state": rows}, **params)

    def query_with(self, sql: str, tables: Mapping[str, pa.Table], **params: datetime) -> pa.Table:
        """Run a collector's query over the history, with tables beside it."""
        with registered(self.connection, **tables):
            return self.connection.sql(sql, params=params or None).to_arrow_table()

    def read_usage(self, *, with_people: bool) -> usage.Use:
        """Return how much the server was used of late, by hour."""
        return usage.read_usage(self.connection, with_people=with_people and USER not in self.hidden)

    def delete_old_usage(self, source_at: datetime | None) -> None:
        """Delete usage that no page displays any more, by our clock and the source's (UTC).

        Where the source has no clock, ours alone decides how long users are kept: a clock that is ahead costs a chart
        its past, one that is ignored would keep them for ever. The rest waits for the source.
        """
        now = naive(self.now)
        if source_at is not None:
            at = naive(source_at)
            usage.forget(self.connection, usage.Clocks(min(now, at), max(now, at)))
        if source_at is None or USER in self.hidden:
            usage.forget_people(self.connection, None if USER in self.hidden else now)

    def prune(self, before: datetime) -> Pruned:
        """Delete some of the events that are older; counters and positions stay."""
        return prune(self.connection, self.events, before, self.pruned_before)

    def log(self, poll: PollLogRow, position: Position | None) -> None:
        """Write a line of the poll log, and when this way of reading last succeeded."""
        self.log_part(poll, position)
        if poll.source == "http_requests":
            # A clock that was ahead and is set right must not make this poll older than the next one.
            mark(self.connection, f"poll:{poll.mode}", self.now, keep="last")
            if position is None:
                mark(self.connection, "viewed", self.now)

    def log_part(self, poll: PollLogRow, position: Position | None = None) -> None:
        """Write what a transaction archived while its poll goes on: every row that is stored has its line."""
        self.connection.execute(
            "INSERT INTO poll_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                naive(poll.started_at),
                poll.source,
                poll.mode,
                poll.seconds,
                poll.read,
                poll.new,
                poll.open,
                position.horizon if position else None,
                position.max_id if position else None,
                poll.node,
            ],
        )

    def incident(self, kind: str, detail: str, count: int = 1) -> None:
        """Count an incident and store its detail."""
        self.connection.execute("INSERT INTO incidents VALUES (?, ?, ?)", [naive(self.now), kind, detail])
        add(self.connection, INCIDENTS.name, [kind], count)

    def _obeying(self, lookups: Lookups) -> Lookups:
        return replace(lookups, pruned_before=self.pruned_before)

    def count_rows(self, table: str, new: int) -> None:
        """Count rows that this transaction has archived."""
        if new:
            add(self.connection, HISTORY_ROWS.name, [table], new)
            mark(self.connection, "archived", self.archived_at)


def _cleaned(rows: pa.Table) -> pa.Table:
    if not set(PARSED_COLUMNS).issubset(rows.column_names):
        message = "requests that were not cleaned would be stored with their secrets"
        raise ValueError(message)
    return rows
