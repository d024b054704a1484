"""A transaction of the history: archive rows, store dimensions, move positions, count, prune."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import duckdb
import pyarrow as pa

from exporter.collector import Events, Fold, columns_of
from exporter.history import archive, refreshes, usage, view_totals
from exporter.history.aggregation import USER, Lookups, add
from exporter.history.archive import Appended, Instants
from exporter.history.arrow import registered
from exporter.history.dimensions import keep
from exporter.history.freshness_audit import Auditor
from exporter.history.positions import Position, move
from exporter.history.pruning import Pruned, prune, pruned_before
from exporter.history.redaction import PARSED_COLUMNS
from exporter.history.tables import AUDIT
from exporter.history.totals import mark, naive
from exporter.self_metrics import HISTORY_ROWS, INCIDENTS, POSSIBLY_LOST

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Poll:
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

    @cached_property
    def pruned_before(self) -> datetime | None:
        """Everything older was removed: read in this transaction, for another process may prune meanwhile."""
        return pruned_before(self.connection)

    @cached_property
    def archived_at(self) -> datetime:
        """The instant (UTC, naive) of what this transaction archives; a clock that went back is not believed."""
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

    def keep(self, collector_state: "type", table: str, rows: pa.Table, at: datetime) -> int:
        """Keep the names of a state's rows by day."""
        return keep(self.connection, table, columns_of(collector_state), rows, naive(at).date())

    def audit(self, judged: pa.Table) -> int:
        """Write what assets were found to be, as ``judge`` has it, where that is new or a day old; return how many."""
        written = self.auditor.audit(self.connection, judged, self.now)
        self.auditor.prune(self.connection, self.now)
        self.count_rows(AUDIT, written)
        return written

    def audited(self) -> dict[tuple[str, str], int]:
        """Return how many assets of each type each site had of late: ``{(site, asset_type): count}``."""
        return self.auditor.counts(self.connection)

    def learn(self, question: str, rows: pa.Table) -> pa.Table:
        """Run a collector's query over the history, with its rows as ``state``."""
        with registered(self.connection, state=rows):
            return self.connection.sql(question).to_arrow_table()

    def recall(self, question: str, rows: pa.Table) -> pa.Table:
        """Run a query for the pages over a state's rows (``state``); ``$now`` is this transaction's instant."""
        with registered(self.connection, state=rows):
            return self.connection.sql(question, params={"now": naive(self.now)}).to_arrow_table()

    def use(self, *, with_people: bool) -> usage.Use:
        """Return how much the server was used of late, by hour."""
        return usage.read(self.connection, with_people=with_people and USER not in self.hidden)

    def forget_use(self, source_at: datetime | None) -> None:
        """Delete usage that no page displays any more, by our clock and the source's (UTC).

        Where the source has no clock, ours alone decides how long people are kept: one that is ahead costs a chart
        its past, one that is not believed would keep them for ever. The rest waits for the source.
        """
        now = naive(self.now)
        if source_at is not None:
            at = naive(source_at)
            usage.forget(self.connection, usage.Clocks(min(now, at), max(now, at)))
        if source_at is None or USER in self.hidden:
            usage.forget_people(self.connection, None if USER in self.hidden else now)

    def count_totals(self, family: str, site: str, rows: pa.Table) -> None:
        """Count what total counts of views have grown by since they were read last."""
        view_totals.count(self.connection, family, site, rows)

    def sum_up_views(self) -> bool:
        """Sum up the next loads that wait; return whether others wait still."""
        return usage.sum_up(self.connection)

    def note_refreshes(self, rows: pa.Table) -> int:
        """Store the refreshes (asset_type, asset_id, refreshed_at, job_id) that are not known yet."""
        return refreshes.note(self.connection, rows, naive(self.now))

    def store_freshness(
        self, sites: Mapping[str, refreshes.Remembered], read_at: refreshes.Read
    ) -> dict[str, pa.Table]:
        """Store what is known of the assets of some sites, and when sources were read; return what is known of all."""
        for site, found in sites.items():
            refreshes.store_freshness(self.connection, site, found.known, found.listed, naive(self.now))
        if sites:
            refreshes.forget_unlisted(self.connection, naive(self.now))
        refreshes.store_sources(self.connection, read_at)
        return refreshes.freshness(self.connection)

    def looked_up(self) -> pa.Table:
        """Return the jobs whose assets are known (job_id, asset_type, asset_id, completed_at)."""
        return refreshes.looked_up(self.connection)

    def look_ups_since(self, since: datetime) -> int:
        """Return how many jobs were queried since an instant."""
        return refreshes.look_ups_since(self.connection, naive(since))

    def move(self, old: Position, new: Position) -> None:
        """Move a position (compare and set)."""
        move(self.connection, old, replace(new, polled_at=naive(self.now)))

    def prune(self, before: datetime) -> Pruned:
        """Delete some of the events that are older; counters and positions stay."""
        return prune(self.connection, self.events, before, self.pruned_before)

    def log(self, poll: Poll, position: Position | None) -> None:
        """Write a line of the poll log, and when this way of reading last succeeded."""
        self.log_part(poll, position)
        if poll.source == "http_requests":
            # A clock that was ahead and is set right must not make this poll older than the next one.
            mark(self.connection, f"poll:{poll.mode}", self.now, keep="last")
            if position is None:
                mark(self.connection, "viewed", self.now)

    def log_part(self, poll: Poll, position: Position | None = None) -> None:
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

    def lost(self, possibly: int) -> None:
        """Count ids of requests that may have been made and removed unseen."""
        add(self.connection, POSSIBLY_LOST.name, [], possibly)

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
