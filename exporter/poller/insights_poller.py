"""Reads Admin Insights of Tableau Cloud with the REST API's session, once a day after its refresh.

The first read takes the events day by day, as far as 100 queries an hour and the poll's time allow; each day is
stored with the position, so that the next poll goes on where this one ended. Afterwards the last days are read again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from exporter.collectors import admin_insights, insights_hooks
from exporter.collectors._arrow import number_of
from exporter.errors import HistoryError, SourceError
from exporter.exposition.state_store import TimedBlocks
from exporter.inventory import Inventory
from exporter.poller.context import PollContext
from exporter.poller.insights_archiver import DAY, NEXT, InsightsArchiver, InsightsSite
from exporter.poller.insights_publisher import InsightsPublisher
from exporter.poller.rest_usage import SiteBlocks
from exporter.rest.client import RestClient
from exporter.rest.insights import ABSENT, EMPTY, InsightsReader, Span, datasources_of
from exporter.rest.vizql_data import HOUR_SECONDS, QUERIES_PER_HOUR, QueryBudget, ReadLater

DAY_SECONDS = 86_400.0
RETAINED = timedelta(days=90)
# With Advanced Management; a week before the other editions' retention shows whether there is more.
LONG_RETAINED = timedelta(days=365)
# A refresh comes a day after the last, and may be late.
AFTER_REFRESH_SECONDS = DAY_SECONDS + 1800.0
RETRY_SECONDS = 3600.0
# The next poll of the assets waits meanwhile.
POLL_SECONDS = 60.0
# So much of what was read is written in one transaction.
WRITTEN_DAYS, WRITTEN_ROWS = 10 * DAY, 50_000
LIFETIME_SECONDS = 3 * DAY_SECONDS
PUBLISHED = "published"
_ONLY_IDS = {name: admin_insights.EVENTS.captions[name] for name in ("event_id", "event_date")}


def insights_site(inventory: Inventory) -> InsightsSite:
    """Return what an inventory has of Admin Insights."""
    return InsightsSite(inventory.site, inventory.site_luid, datasources_of(inventory.content))


@dataclass
class _Result:
    """What a poll does not have, by site: for now, and because of an error; and the sites that answered."""

    notes: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)


@dataclass
class _SiteRead:
    """A read of a site; ``published`` is its last refresh (UTC, naive), ``known`` what its position keeps."""

    site: InsightsSite
    published: datetime
    known: Mapping[str, str]
    is_done: bool = False

    @property
    def published_at(self) -> float:
        """The refresh as Unix seconds."""
        return self.published.replace(tzinfo=UTC).timestamp()

    @property
    def before(self) -> datetime | None:
        """The refresh that was read last."""
        return datetime.fromisoformat(self.known[PUBLISHED]) if self.known.get(PUBLISHED) else None


class InsightsPoller:
    """Reads, archives and publishes Admin Insights of each site; a part of the poll of the REST API."""

    def __init__(self, context: PollContext, rest: RestClient) -> None:
        self._context = context
        self._rest = rest
        sources = {status.name for status in context.store.status.sources()}
        self.hooks = insights_hooks(context.collectors, sources)
        self._budget = QueryBudget(context.clock, QUERIES_PER_HOUR)
        self._archiver = InsightsArchiver(context, self.hooks, self._budget)
        self._publisher = InsightsPublisher(context)
        self._captions: dict[str, frozenset[str]] = {}
        self._captions_at = 0.0
        self._due: dict[str, float] = {}
        self._blocks: dict[tuple[str, str], dict[str, TimedBlocks]] = {}
        self._published: dict[str, float] = {}
        self._sites: dict[str, InsightsSite] = {}
        self._names: dict[str, str] = {}
        self._others_at: dict[str, datetime] = {}
        self._restored = False

    def add(self, inventory: Inventory) -> None:
        """Note the data sources of a site that was read in this poll."""
        self._sites[inventory.site] = insights_site(inventory)
        self._names[inventory.site_luid] = inventory.site

    @property
    def sites(self) -> Mapping[int, str]:
        """The labels of the sites that were read, by their numbers."""
        return {number_of(luid): name for luid, name in self._names.items()}

    @property
    def published_at(self) -> float | None:
        """When the newest refresh that is archived was made (Unix seconds)."""
        return max(self._published.values(), default=None)

    def poll(self, now: float, refusal: SourceError | None) -> None:
        """Read what is due of the sites; ``refusal`` is why the REST API was not read."""
        result, failed = _Result(), False
        try:
            if not self._restored:
                self._archiver.restore(now, HOUR_SECONDS)
                self._restored = True
            self._poll_sites(now, result)
            failed = bool(result.errors)
            self._archiver.finish(now)
            self._expose()
        except HistoryError as failure:
            result.errors["history"] = str(failure)
        errors = "; ".join(f"{name}: {text}" for name, text in result.errors.items())
        error = str(refusal) if refusal else errors or None
        note = "; ".join(f"site {name}: {text}" for name, text in result.notes.items()) or None
        # A poll that queries nothing, and an outage of the REST API, say nothing of Admin Insights until its next read.
        state = True if result.answered else False if failed else None
        self._publisher.publish(self.hooks, now, answered=state, error=error, note=note)
        self._sites = {}

    def _poll_sites(self, now: float, result: "_Result") -> None:
        """Read licences, tokens and jobs of every site before the events: those of ninety days may take hours."""
        reads: list[_SiteRead] = []
        try:
            for site in self._due_sites(now, result):
                with self._recorded(site, now, result):
                    reader = self._reader(site, now)
                    if (read := self._begin(site, reader, now)) is None:
                        result.notes[site.name] = EMPTY
                        continue
                    reads.append(read)
                    self._read_others(read, reader, now)
            for read in reads:
                with self._recorded(read.site, now, result):
                    self._read_site(read, now)
        except ReadLater:
            for read in reads:
                if not read.is_done:
                    self._due.pop(read.site.luid, None)

    def _due_sites(self, now: float, result: "_Result") -> list[InsightsSite]:
        result.notes |= {site.name: ABSENT for site in self._sites.values() if not site.datasources}
        return [site for site in self._sites.values() if site.datasources and now >= self._due.get(site.luid, 0.0)]

    @contextmanager
    def _recorded(self, site: InsightsSite, now: float, result: "_Result") -> Iterator[None]:
        """Record how a read of a site ends. Raises ReadLater."""
        try:
            yield
        except ReadLater as later:
            result.notes[site.name] = str(later)
            result.answered.add(site.name)
            self._due.pop(site.luid, None)
            raise
        except SourceError as error:
            result.errors[f"site {site.name}"] = str(error)
            self._due[site.luid] = now + RETRY_SECONDS
        else:
            result.answered.add(site.name)

    def _reader(self, site: InsightsSite, now: float) -> InsightsReader:
        """Return a reader of a site; the session stays on that site until the next call."""
        if now - self._captions_at >= DAY_SECONDS:
            self._captions, self._captions_at = {}, now
        return InsightsReader(self._rest.vizql_data(site.name, self._budget), site.datasources, self._captions)

    def _begin(self, site: InsightsSite, reader: InsightsReader, now: float) -> "_SiteRead | None":
        """Query when a site was refreshed; None where its source is empty."""
        self._due[site.luid] = now + RETRY_SECONDS
        published = reader.published(admin_insights.EVENTS, datetime.fromtimestamp(now, UTC).date())
        return None if published is None else _SiteRead(site, published, self._archiver.identity(site))

    def _read_site(self, read: "_SiteRead", now: float) -> None:
        """Read the events as far as the site is refreshed; the refresh is read when its other data are too."""
        if is_new := read.published != read.before or bool(read.known.get(NEXT)):
            self._read_events(read.site, self._reader(read.site, now), read.known, read.published, now)
        if self._others_at.get(read.site.luid) != read.published:
            return
        if is_new:
            self._archiver.move(read.site, {PUBLISHED: read.published.isoformat(), NEXT: ""}, now)
        self._due[read.site.luid] = max(read.published_at + AFTER_REFRESH_SECONDS, now + RETRY_SECONDS)
        read.is_done = True

    def _read_events(
        self, site: InsightsSite, reader: InsightsReader, known: Mapping[str, str], published: datetime, now: float
    ) -> None:
        """Archive the events of all days that may have new ones, some days in one transaction.

        What was read before a query fails is written all the same: queries are few.
        """
        first = day = self._first_day(known, reader, published.date())
        waiting: list[pa.Table] = []
        try:
            while day <= published.date():
                rows = reader.read(admin_insights.EVENTS, Span(day, day))
                if rows is None:
                    self._publisher.note_unusable(site.name)
                    return
                waiting.append(rows)
                day += DAY
                if sum(one.num_rows for one in waiting) >= WRITTEN_ROWS or day - first >= WRITTEN_DAYS:
                    self._write(site, waiting, first, day, published, now)
                    first, waiting = day, []
                if day <= published.date():
                    self._pause_after(day, now)
        finally:
            if waiting:
                self._write(site, waiting, first, day, published, now)

    def _pause_after(self, day: date, now: float) -> None:
        """Raise ReadLater where the poll has lasted long enough."""
        if self._context.clock() - now >= POLL_SECONDS:
            raise ReadLater(f"events before {day} are read; the rest follows")

    def _write(
        self, site: InsightsSite, waiting: Sequence[pa.Table], first: date, end: date, published: datetime, now: float
    ) -> None:
        rows = pa.concat_tables(waiting)
        if self._archiver.archive_days(site, rows, first, end, published, now):
            self._publisher.note_renumbered(site.name)

    def _first_day(self, known: Mapping[str, str], reader: InsightsReader, last: date) -> date:
        if known.get(NEXT):
            return date.fromisoformat(known[NEXT])
        if known.get(PUBLISHED):
            # The day of the last refresh was not over, and events of the day before may have been late.
            return datetime.fromisoformat(known[PUBLISHED]).date() - DAY
        week = Span(last - RETAINED - 14 * DAY, last - RETAINED - 7 * DAY)
        earlier = reader.read(replace(admin_insights.EVENTS, captions=_ONLY_IDS), week)
        return last - (LONG_RETAINED if earlier is not None and earlier.num_rows else RETAINED)

    def _read_others(self, read: "_SiteRead", reader: InsightsReader, now: float) -> None:
        """Read what is true as of the refresh, and the jobs of the days since the last one."""
        site, published = read.site, read.published
        if self._others_at.get(site.luid) == published:
            return
        for source, hook in ((admin_insights.USERS, "expose_users"), (admin_insights.TOKENS, "expose_tokens")):
            exposing = {name: expose for name, hooks in self.hooks.items() if (expose := getattr(hooks, hook))}
            rows = reader.read(source) if exposing else None
            for name, expose in exposing.items() if rows is not None else ():
                blocks = TimedBlocks(tuple(expose(site.name, rows, now)), read.published_at, LIFETIME_SECONDS)
                self._blocks.setdefault((name, source.name), {})[site.name] = blocks
        if any(hooks.jobs for hooks in self.hooks.values()):
            first = (read.before.date() if read.before else published.date() - RETAINED) - DAY
            rows = reader.read(admin_insights.JOBS, Span(first, published.date()))
            if rows is not None and rows.num_rows:
                self._archiver.archive_jobs(site, rows, now)
        self._others_at[site.luid] = published

    def _expose(self) -> None:
        for (name, source), sites in self._blocks.items():
            self._context.store.set_state(f"{name}/{source}", SiteBlocks(dict(sites)))
        for site in self._sites.values():
            if known := self._archiver.identity(site).get(PUBLISHED):
                self._published[site.name] = datetime.fromisoformat(known).replace(tzinfo=UTC).timestamp()
        for name, hooks in self.hooks.items() if self._published else ():
            if hooks.expose_refreshed is not None:
                blocks = tuple(hooks.expose_refreshed(self._published))
                self._context.store.set_state(f"{name}/refreshed", TimedBlocks(blocks, max(self._published.values())))
            if hooks.expose_seen is not None:
                blocks = tuple(hooks.expose_seen(self._context.history.totals.seen, self._published))
                timed = TimedBlocks(blocks, max(self._published.values()), LIFETIME_SECONDS)
                self._context.store.set_state(name, timed)
