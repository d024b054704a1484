"""Polls the Activity Log of Tableau Cloud: lists files in windows, and archives those that are not in the ledger.

The first poll reads all that is retained, window by window; a poll that was broken off is continued by the next. A site
that fails does not affect the others.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from exporter.activity_log.client import WINDOW, ActivityLogClient
from exporter.activity_log.errors import BadRequest, Forbidden
from exporter.activity_log.files import CloudSite, ListedFile
from exporter.collector import columns_of
from exporter.collectors.content.sites_projects import Site, site_rows
from exporter.errors import HistoryError, PollInterrupted, SourceError
from exporter.exposition.process import release_memory
from exporter.history import activity
from exporter.history.dimensions import keep
from exporter.history.positions import Position, move
from exporter.history.totals import earlier_clock, instant, naive
from exporter.history.transaction import PollLogRow, Transaction
from exporter.poller.activity_archiver import MODE, ActivityArchiver, Archived, Batch
from exporter.poller.activity_publisher import ActivityPublisher
from exporter.poller.batching import prefetch
from exporter.poller.context import PollContext, WriteIncidents
from exporter.poller.page_queries import PageQueries
from exporter.poller.schedule import run_loop

SOURCE = activity.SOURCE
# As long as the best edition keeps events.
RETAINED = timedelta(days=365)
# As every edition does; what is older may be refused.
SURELY_RETAINED = timedelta(days=14)
HOUR = timedelta(hours=1)
# So many files are worth to be archived in a row, for which the totals are read once.
MANY_FILES = 200
# After them DuckDB merges small row groups, so many times for each table: nothing else needs memory then.
MERGES = 2


@dataclass(frozen=True)
class ActivitySchedule:
    """How often files are listed, and how far back, in seconds."""

    poll_interval: float
    overlap: float


class ActivityPoller:
    """Writes the events of Tableau Cloud to the history, and publishes what becomes of them."""

    def __init__(self, client: ActivityLogClient, context: PollContext, schedule: ActivitySchedule) -> None:
        self._client = client
        self._context = context
        self._history = context.history
        self._status = context.store.status
        self._progress = self._status.progress[SOURCE]
        self._schedule = schedule
        self._archiver = ActivityArchiver(context)
        self._publisher = ActivityPublisher(context, client, schedule.poll_interval)
        self._incidents = WriteIncidents(SOURCE, context)
        self._queries = PageQueries(SOURCE, context)
        self._positions: dict[str, Position] = {}
        self._listed: dict[str, datetime] = {}
        """Until when everything that is listed of a site is archived, by the name of its position."""
        self._kept_sites: Sequence[CloudSite] = ()

    def run(self, randomness: random.Random) -> None:
        """Poll until stopped, with back-off and jitter after failures."""
        run_loop(self._context.stopped, self.poll, self._publish_bug, self._schedule.poll_interval, randomness)
        self._client.close()

    def poll(self) -> bool:
        """Poll once; return whether every site was read and stored."""
        now = self._context.clock()
        with self._progress.poll(now):
            return self._poll(now)

    def _poll(self, now: float) -> bool:
        results: dict[str, Archived] = {}
        refusal: SourceError | None = None
        unwritten: HistoryError | None = None
        notes: Sequence[str] = ()
        try:
            self._history.prepare(instant(now))
            self._positions, self._listed = dict(self._history.positions), {}
            self._client.begin()
            found = self._client.sites()
            notes = found.notes
            self._publisher.source_up(now)
            self._publisher.set_sites(found.sites)
            self._keep_sites(found.sites, now)
            for site in found.sites:
                self._read_site(site, results.setdefault(site.name, Archived()), now)
            self._finish(now)
        except PollInterrupted:
            return False
        except SourceError as failure:
            refusal = failure
            self._publisher.source_down(failure, now)
        except HistoryError as failure:
            unwritten = failure
            self._incidents.failed(failure)
        self._publisher.publish(results, notes, refusal, unwritten, now)
        self._end_poll()
        release_memory()
        return not refusal and not unwritten and all(result.error is None for result in results.values())

    def _end_poll(self) -> None:
        self._status.set_poll_ended(SOURCE)
        self._context.on_change()

    def _keep_sites(self, sites: Sequence[CloudSite], now: float) -> None:
        """Store the names of the sites, by which the history joins; a repository keeps its own."""
        if self._status.has_source("repository") or sites == self._kept_sites or not sites:
            return
        with self._history.transaction(instant(now)) as transaction:
            rows = site_rows({site.luid: site.name for site in sites})
            keep(transaction.connection, "sites", columns_of(Site), rows, naive(instant(now)).date())
        self._kept_sites = sites

    def _read_site(self, site: CloudSite, archived: Archived, now: float) -> None:
        """Archive the files of a site; a fault of it is noted, and the next site is read. Raises HistoryError."""
        name = activity.position_name(site.luid)
        old = self._positions.get(name, Position(name))
        try:
            for begin, end in self._windows(site, activity.listed_until(old), self._earlier_clock(now)):
                self._read_window(site, begin, end, archived, now)
                if archived.files and not self._status.first_polls_done():
                    # All that is retained may take hours: what there is can be used.
                    self._history.prepare(instant(now))
                    self._publisher.publish_history(now)
                    self._end_poll()
                if archived.error is None:
                    self._listed[name] = end
        except Forbidden as failure:
            archived.error = f"{failure}: the Activity Log is not in this edition, or not for this token"
        except SourceError as failure:
            archived.error = str(failure)

    def _read_window(self, site: CloudSite, begin: datetime, end: datetime, archived: Archived, now: float) -> None:
        """Archive the files of a window. Raises SourceError, HistoryError."""
        listing = self._client.files(site, begin, end)
        if listing.refused:
            archived.error = f"{listing.refused} files are listed by paths that lead elsewhere"
        # The ledger is asked and written in one opening of the file where there is much to do.
        many = self._history.batch(merges=MERGES) if len(listing.files) > MANY_FILES else nullcontext()
        with many:
            self._read_files(site, self._unread(listing.files, now), end, archived, now)

    def _earlier_clock(self, now: float) -> datetime:
        """Return the earlier of our clock and Tableau's (UTC, naive): what is to come cannot have been archived."""
        return earlier_clock(naive(instant(now)), self._client.source_at)

    def _windows(self, site: CloudSite, until: datetime | None, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the windows to be listed; a clock that was ahead when a position moved is not believed."""
        overlap = timedelta(seconds=self._schedule.overlap)
        begin = now - RETAINED + HOUR if until is None else min(until, now) - overlap
        if (pruned := self._history.totals.marks.get("pruned")) is not None:
            begin = max(begin, naive(instant(pruned)))
        begin = self._retained(site, begin.replace(minute=0, second=0, microsecond=0), now)
        while begin < now:
            end = min(begin + WINDOW, now)
            yield begin, end
            begin = end

    def _retained(self, site: CloudSite, begin: datetime, now: datetime) -> datetime:
        """Return the first hour that may be listed: what is older than the edition keeps may be refused."""
        last = (now - SURELY_RETAINED + HOUR).replace(minute=0, second=0, microsecond=0)
        if begin >= last or self._may_list(site, begin):
            return begin
        refused = begin
        while last - refused > HOUR:
            middle = refused + (last - refused) // HOUR // 2 * HOUR
            if self._may_list(site, middle):
                last = middle
            else:
                refused = middle
        return last

    def _may_list(self, site: CloudSite, hour: datetime) -> bool:
        try:
            self._client.files(site, hour, hour + HOUR)
        except BadRequest:
            return False
        return True

    def _unread(self, files: Sequence[ListedFile], now: float) -> list[ListedFile]:
        if not files:
            return []
        with self._history.page_transaction(instant(now)) as transaction:
            unread = activity.unread(transaction.connection, [file.path for file in files])
        return [file for file in files if file.path in unread]

    def _read_files(
        self, site: CloudSite, files: Sequence[ListedFile], end: datetime, archived: Archived, now: float
    ) -> None:
        """Archive files, which are fetched and parsed while others are written."""
        if not files:
            return
        with closing(prefetch(self._batches(site, files, archived))) as batches:
            left = len(files)
            for batch in batches:
                left -= len(batch.finished)
                self._write(site, batch, archived, end if not left else None, now)

    def _batches(self, site: CloudSite, files: Sequence[ListedFile], archived: Archived) -> Iterator[Batch]:
        with closing(self._client.download(site, files)) as downloads:
            yield from self._archiver.batches(site, downloads, archived)

    def _write(self, site: CloudSite, batch: Batch, archived: Archived, end: datetime | None, now: float) -> None:
        """Write a batch, and with the last of a window its end, in one transaction."""
        self._progress.moved()
        name = activity.position_name(site.luid)
        with self._history.transaction(instant(now)) as transaction:
            self._archiver.write(transaction, site, batch, archived, self._client.source_at)
            moved = self._move(transaction, name, end) if end is not None and archived.error is None else None
        if moved is not None:
            self._positions[name] = moved

    def _move(self, transaction: Transaction, name: str, until: datetime) -> Position | None:
        """Move a position forward; return it as it stands when the transaction is committed."""
        old = self._positions.get(name, Position(name))
        before = activity.listed_until(old)
        if before is not None and before >= until:
            return None
        new = replace(old, identity=activity.identity(until))
        move(transaction.connection, old, new)
        return replace(new, version=old.version + 1)

    def _finish(self, now: float) -> None:
        """Write what is known at the end of a poll: positions, its line in the poll log, incidents; then prune."""
        with self._history.transaction(instant(now)) as transaction:
            for name, until in self._listed.items():
                self._move(transaction, name, until)
            seconds = self._context.clock() - now
            transaction.log(
                PollLogRow(instant(now), "activity_events", MODE, seconds, 0, 0, 0, self._client.address), None
            )
            self._incidents.write(transaction)
            before = self._history.prunable_before(instant(now))
            if before is not None and not self._status.has_source("repository"):
                transaction.prune(before)
        self._incidents.committed()
        self._incidents.succeeded()
        if not self._status.has_source("repository"):
            self._queries.forget(now, None, exact=False)
            self._queries.run({}, self._publisher.sites, now)

    def _publish_bug(self, error: str) -> None:
        self._publisher.publish_bug(error, self._context.clock())
        self._end_poll()
