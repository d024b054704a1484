"""Archives what Admin Insights reports: the events of whole days, and jobs, each with its position at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Events, Fold, InsightsHooks, columns_of
from exporter.collectors import admin_insights, counts_people
from exporter.collectors._arrow import number_of
from exporter.collectors.activity_log import NEWEST
from exporter.collectors.content.sites_projects import Site, site_rows
from exporter.history import activity, insights
from exporter.history.aggregation import Lookups, mark_span
from exporter.history.dimensions import keep
from exporter.history.insights import QUERIES, SOURCE
from exporter.history.positions import Position, move
from exporter.history.privacy import apply_privacy, person_ids
from exporter.history.totals import instant, naive
from exporter.history.transaction import PollLogRow, Transaction
from exporter.poller.context import PollContext
from exporter.poller.rest_usage import NO_PEOPLE
from exporter.rest.vizql_data import QueryBudget

DAY = timedelta(days=1)
NEXT = "next"
"""The first day that is not read, in the position of a site."""


@dataclass(frozen=True)
class InsightsSite:
    """A site, and the LUIDs of its data sources of Admin Insights by name."""

    name: str
    luid: str
    datasources: Mapping[str, str]

    @property
    def position(self) -> str:
        """The name of its position."""
        return insights.position_name(self.luid)


class InsightsArchiver:
    """Writes to the history; the queries that were sent are recorded with what they brought."""

    def __init__(self, context: PollContext, hooks: Mapping[str, InsightsHooks], budget: QueryBudget) -> None:
        self._context = context
        self._history = context.history
        self._hooks = hooks
        self._budget = budget
        self._of_requests = [fold for collector in context.collectors.values() for fold in collector.activity_folds]

    def identity(self, site: InsightsSite) -> dict[str, str]:
        """Return what the position of a site keeps."""
        position = self._history.positions.get(site.position)
        return {key: str(value) for key, value in position.identity.items()} if position else {}

    def restore(self, now: float, seconds: float) -> None:
        """Read which queries were sent within the last seconds, before a restart."""
        with self._history.transaction(instant(now)) as transaction:
            since = naive(instant(now - seconds))
            self._budget.restore(insights.queries_since(transaction.connection, since))

    def archive_days(
        self, site: InsightsSite, rows: pa.Table, first: date, end: date, published: datetime, now: float
    ) -> int:
        """Write the events of days that are whole, and move the position; return how many came under a new number."""
        moved = {NEXT: end.isoformat(), **self._counted(site, rows, end, published)}
        begin, until = (datetime.combine(day, time()) for day in (first, end))
        arriving = self._events(site, rows)
        with self._history.transaction(instant(now)) as transaction:
            sites = site_rows({site.luid: site.name})
            keep(transaction.connection, "sites", columns_of(Site), sites, naive(transaction.now).date())
            number = number_of(site.luid)
            new = insights.without_renumbered(transaction.connection, arriving, number, begin, until)
            if new.num_rows:
                lookups = Lookups({number: site.name}, self._people(new))
                unlogged = self._unlogged(transaction, site, new)
                for hooks in self._hooks.values():
                    of_hooks = new if hooks.counts_alone else unlogged
                    for events in hooks.events if of_hooks.num_rows else ():
                        made = insights.rows_for(transaction.connection, events, of_hooks)
                        self._append(transaction, events, made, lookups)
                mark_span(transaction.connection, new.column("event_date"), naive(transaction.now))
            position = self._move(transaction, site, moved)
        self._keep(position)
        return int(arriving.num_rows - new.num_rows)

    def _counted(self, site: InsightsSite, rows: pa.Table, end: date, published: datetime) -> dict[str, str]:
        """Return the span in which usage is counted once these days are: an Activity Log does not count it again.

        It begins with the hour of the first event: days that were queried before may be older than the source.
        """
        if not any(hooks.events and not hooks.counts_alone for hooks in self._hooks.values()):
            return {}
        known = self._history.positions.get(site.position)
        oldest = pc.min(rows.column("event_date")).as_py() if rows.num_rows else None
        if oldest is None and insights.counted_span(known) is None:
            return {}
        until = min(datetime.combine(end, time()), published)
        begin = until if oldest is None else oldest.replace(minute=0, second=0, microsecond=0, tzinfo=None)
        return insights.longer_span(known, begin, until)

    def _unlogged(self, transaction: Transaction, site: InsightsSite, rows: pa.Table) -> pa.Table:
        """Return the events after the newest that an Activity Log has reported while there was one."""
        newest = activity.newest_event(transaction.connection, NEWEST.name, site.name)
        if newest is None:
            return rows
        return rows.filter(pc.greater(rows.column("event_date"), pa.scalar(newest, pa.timestamp("us"))))

    def archive_jobs(self, site: InsightsSite, rows: pa.Table, now: float) -> None:
        """Write the jobs of Job Performance that no other source has brought."""
        number = number_of(site.luid)
        with self._history.transaction(instant(now)) as transaction:
            for name, hooks in self._hooks.items():
                events = self._context.collectors[name].events
                if hooks.jobs is not None and events is not None:
                    jobs = hooks.jobs(rows)
                    jobs = _with(jobs, "site_id", pa.array([number] * jobs.num_rows, pa.int64()))
                    self._append(transaction, events, jobs, Lookups({number: site.name}, NO_PEOPLE))
            self._record(transaction)

    def move(self, site: InsightsSite, moved: Mapping[str, str], now: float) -> None:
        """Move the position of a site."""
        with self._history.transaction(instant(now)) as transaction:
            position = self._move(transaction, site, moved)
        self._keep(position)

    def finish(self, now: float) -> None:
        """Record the queries that no other transaction has recorded."""
        if self._budget.unrecorded:
            with self._history.transaction(instant(now)) as transaction:
                self._record(transaction)

    def _append(self, transaction: Transaction, events: Events, rows: pa.Table, lookups: Lookups) -> None:
        counting = counts_people(self._context.collectors)
        appended = transaction.append(events, [rows], lookups, self._folds(events), count_people=counting)
        if appended.new:
            name = next(iter(lookups.sites.values()))
            line = PollLogRow(transaction.now, events.table, SOURCE, 0.0, appended.read, appended.new, 0, name)
            transaction.log_part(line)

    def _folds(self, events: Events) -> Sequence[Fold]:
        return (*events.folds, *self._of_requests) if events.counts_usage else events.folds

    def _move(self, transaction: Transaction, site: InsightsSite, moved: Mapping[str, str]) -> Position:
        """Move the position of a site; return it as it stands when the transaction is committed."""
        old = self._history.positions.get(site.position, Position(site.position))
        new = replace(old, identity={**old.identity, **moved}, polled_at=naive(transaction.now))
        move(transaction.connection, old, new)
        self._record(transaction)
        return replace(new, version=old.version + 1)

    def _keep(self, position: Position) -> None:
        """Remember where a site stands: within a batch of the Activity Log the history is not read again."""
        self._history.positions[position.source] = position

    def _record(self, transaction: Transaction) -> None:
        if count := self._budget.unrecorded:
            transaction.log_part(PollLogRow(transaction.now, SOURCE, QUERIES, 0.0, count, 0, 0, ""))
            self._budget.unrecorded = 0

    def _events(self, site: InsightsSite, rows: pa.Table) -> pa.Table:
        """Return events with their numbers, under the privacy options; ``user_id`` and ``person`` only count people."""
        rows = rows.filter(pc.and_(rows.column("event_id").is_valid(), rows.column("event_date").is_valid()))
        users, names = rows.column("actor_user_id"), rows.column("actor_user_name").to_pylist()
        rows = self._private(rows)
        count = rows.num_rows
        ids = [number_of(f"{site.luid}|{number}") for number in rows.column("event_id").to_pylist()]
        rows = _with(rows, "site_luid", pa.array([site.luid] * count, pa.string()))
        rows = _with(rows, "id", pa.array(ids, pa.int64()))
        rows = _with(rows, "site_id", pa.array([number_of(site.luid)] * count, pa.int64()))
        rows = _with(rows, "user_id", users)
        return _with(rows, "person", pa.array([name and number_of(name) for name in names], pa.int64()))

    def _private(self, rows: pa.Table) -> pa.Table:
        users = self._history.privacy.users
        rows = apply_privacy(rows, columns_of(admin_insights.Event), self._history.privacy, self._history.pseudonyms)
        if users != "name":
            is_content = pc.is_in(rows.column("item_type"), pa.array(admin_insights.CONTENT_TYPES, pa.string()))
            named = pc.if_else(is_content, rows.column("item_name"), pa.scalar(None, pa.string()))
            rows = _with(rows, "item_name", named)
        return _with(rows, "actor_user_id", pa.nulls(rows.num_rows, pa.int64())) if users == "none" else rows

    def _people(self, rows: pa.Table) -> pa.Table:
        """Return the person of each user: by the name, which is the same on every site."""
        named = rows.select(["user_id", "person"]).group_by(["user_id"], use_threads=False)
        people = named.aggregate([("person", "min")]).rename_columns(["id", "system_user_id"])
        return person_ids(people, self._history.pseudonyms)


def _with(rows: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    if name in rows.column_names:
        return rows.set_column(rows.column_names.index(name), name, column)
    return rows.append_column(name, column)
