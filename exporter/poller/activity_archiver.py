"""Archives files of the Activity Log: batches of whole files, parsed beside the writing, each in one transaction."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from exporter.activity_log.files import CloudSite, Download
from exporter.activity_log.lines import PIECE_BYTES, Piece, pieces, split
from exporter.collector import Events, Fold
from exporter.collectors import counts_people
from exporter.collectors.activity_log import FILES, NEWEST, REJECTED
from exporter.history import activity, insights
from exporter.history.activity import ParsedLines, first_rejects, summed
from exporter.history.activity_parser import FILES as FILE_COLUMNS
from exporter.history.activity_parser import ActivityParser
from exporter.history.aggregation import Lookups, add
from exporter.history.privacy import person_ids
from exporter.history.totals import naive
from exporter.history.transaction import PollLogRow, Transaction
from exporter.poller.context import PollContext

# A transaction costs as much as some thousand events, and its rows are in memory twice.
BATCH_BYTES = 16_000_000
BATCH_FILES = 500
MODE = "files"
"""The mode of its lines in the poll log."""


@dataclass
class Archived:
    """What became of the files of a site in a poll."""

    files: int = 0
    lines: int = 0
    new: int = 0
    rejected: int = 0
    error: str | None = None
    """Why a file was not archived; the position waits before it."""


@dataclass
class Batch:
    """Files that are archived in one transaction: whole ones, and of a file that is larger than a batch a part.

    The ledger has such a file with its last part. If that is never reached, the file is read again, and its events that
    are archived are known by their keys.
    """

    downloads: list[Download] = field(default_factory=list)
    parsed: list[ParsedLines] = field(default_factory=list)
    bytes: int = 0
    unparsed: list[Piece] = field(default_factory=list)
    earlier: list[ParsedLines] = field(default_factory=list)
    """Of the parts of the first file that are in other batches: the counts and the rejected lines, without rows."""
    is_part: bool = False
    """Whether the last file goes on in the next batch."""

    @property
    def finished(self) -> Sequence[Download]:
        """The files that end in this batch."""
        return self.downloads[:-1] if self.is_part else self.downloads

    def next_part(self) -> "Batch":
        """Return the batch in which the last file goes on; this one leaves its counts to that."""
        self.is_part = True
        last = len(self.downloads) - 1
        parts = [*(self.earlier if last == 0 else ()), *(parsed.without_rows(last) for parsed in self.parsed)]
        return Batch(downloads=[self.downloads[last]], earlier=[summed(parts)])

    def rows(self, table: str) -> pa.Table:
        """Return the rows of a table."""
        return pa.concat_tables([parsed.tables[table] for parsed in self.parsed if table in parsed.tables])


class ActivityArchiver:
    """Archives the events of one site after another."""

    def __init__(self, context: PollContext) -> None:
        self._context = context
        self._parser = ActivityParser(context.history.privacy)
        self.tables: Sequence[Events] = [
            events for collector in context.collectors.values() for events in collector.activity
        ]
        hooks = [collector.insights for collector in context.collectors.values() if collector.insights]
        self._of_insights = {events.table for one in hooks if not one.counts_alone for events in one.events}
        self._of_requests = [fold for collector in context.collectors.values() for fold in collector.activity_folds]

    def batches(self, site: CloudSite, downloads: Iterable[Download], archived: Archived) -> Iterator[Batch]:
        """Yield parsed batches; a file that did not arrive is noted in ``archived``."""
        batch = Batch()
        for download in downloads:
            if download.content is None:
                archived.error = archived.error or str(download.error)
                continue
            batch.downloads.append(download)
            with download.content as content:
                for piece in pieces(len(batch.downloads) - 1, content):
                    if batch.bytes >= BATCH_BYTES:
                        self._parse(site, batch)
                        following = batch.next_part()
                        yield batch
                        batch = following
                    self._add(site, batch, piece)
            if batch.bytes >= BATCH_BYTES or len(batch.downloads) >= BATCH_FILES:
                self._parse(site, batch)
                yield batch
                batch = Batch()
        if batch.downloads:
            self._parse(site, batch)
            yield batch

    def write(
        self, transaction: Transaction, site: CloudSite, batch: Batch, archived: Archived, source_at: datetime | None
    ) -> None:
        """Write the rows of a batch with all that moves with them."""
        number = activity.site_id(site.luid)
        read = dict.fromkeys((events.table for events in self.tables), 0)
        new = dict(read)
        for events in self.tables if batch.parsed else ():
            rows = self._uncounted(site, events, batch.rows(events.table))
            lookups = Lookups({number: site.name}, self._people(rows), source_at=source_at)
            appended = transaction.append(
                events, [rows], lookups, self._folds(events), count_people=counts_people(self._context.collectors)
            )
            read[events.table] += appended.read
            new[events.table] += appended.new
            if events.table == "activity_events":
                self._see_span(transaction, site, rows)
        for table in filter(read.get, read):
            transaction.log_part(PollLogRow(transaction.now, table, MODE, 0.0, read[table], new[table], 0, site.name))
        files = self._ledger(batch)
        activity.record(transaction.connection, number, files, self._rejects(batch), naive(transaction.now))
        rejected = sum(file.rejected for file in files)
        for family, count in ((FILES, len(files)), (REJECTED, rejected)):
            add(transaction.connection, family.name, [site.name], count)
        archived.files += len(files)
        archived.lines += sum(file.events for file in files)
        archived.new += new.get("activity_events", 0)
        archived.rejected += rejected
        # To commit needs the most memory.
        batch.parsed.clear()

    def _uncounted(self, site: CloudSite, events: Events, rows: pa.Table) -> pa.Table:
        """Return the rows of which Admin Insights has archived no counterpart while it was the better source."""
        span = insights.counted_span(self._context.history.positions.get(insights.position_name(site.luid)))
        if span is None or events.table not in self._of_insights:
            return rows
        at, (begin, end) = rows.column(events.key[1]), (pa.scalar(one, pa.timestamp("us")) for one in span)
        counted = pc.and_(pc.greater_equal(at, begin), pc.less(at, end))
        return rows.filter(pc.invert(pc.fill_null(counted, fill_value=False)))

    def _folds(self, events: Events) -> Sequence[Fold]:
        return (*events.folds, *self._of_requests) if events.counts_usage else events.folds

    def _add(self, site: CloudSite, batch: Batch, piece: Piece) -> None:
        """Add a piece of the last file to a batch, and parse as many lines at once as make a piece."""
        batch.bytes += piece.bytes
        batch.unparsed.append(piece._replace(file=len(batch.downloads) - 1))
        if sum(waiting.bytes for waiting in batch.unparsed) >= PIECE_BYTES:
            self._parse(site, batch)

    def _parse(self, site: CloudSite, batch: Batch) -> None:
        """Parse the lines that wait."""
        if batch.unparsed:
            batch.parsed.append(self._parsed(site, batch, batch.unparsed))
            batch.unparsed = []

    def _parsed(self, site: CloudSite, batch: Batch, some: Sequence[Piece]) -> ParsedLines:
        numbers = sorted({piece.file for piece in some})
        files = [batch.downloads[number].file for number in numbers]
        columns = [numbers, [file.hour for file in files], [file.event_type for file in files]]
        described = pa.table(
            [pa.array(column, kind) for column, kind in zip(columns, FILE_COLUMNS.types, strict=True)],
            schema=FILE_COLUMNS,
        )
        return self._parser.parse(split(some), described, activity.site_id(site.luid), site.luid, self.tables)

    def _people(self, rows: pa.Table) -> pa.Table:
        """Return the person behind each user; under the privacy options a hash."""
        ids = pc.unique(rows.column("user_id")) if "user_id" in rows.column_names else pa.array([], pa.int64())
        users = pa.table({"id": ids, "system_user_id": pa.nulls(len(ids), pa.int64())})
        return person_ids(users, self._context.history.pseudonyms)

    def _see_span(self, transaction: Transaction, site: CloudSite, rows: pa.Table) -> None:
        times = rows.select(["event_time"])
        if (before := transaction.pruned_before) is not None:
            times = times.filter(pc.greater_equal(times.column(0), pa.scalar(before, pa.timestamp("us"))))
        activity.see_span(transaction.connection, NEWEST.name, site.name, times, naive(transaction.now))

    def _ledger(self, batch: Batch) -> list[activity.ReadFile]:
        files = []
        for number, download in enumerate(batch.finished):
            counts = [parsed.files.get(number, (0, 0)) for parsed in (*batch.earlier, *batch.parsed)]
            events, rejected = sum(count[0] for count in counts), sum(count[1] for count in counts)
            file = download.file
            files.append(activity.ReadFile(file.path, file.hour, download.size, events, rejected))
        return files

    def _rejects(self, batch: Batch) -> pa.Table:
        """Return the rejected lines with the paths of their files."""
        found = [parsed.rejects for parsed in (*batch.earlier, *batch.parsed) if parsed.rejects.num_rows]
        if not found:
            return pa.table({})
        rejects = first_rejects(pa.concat_tables(found))
        rejects = rejects.filter(pc.less(rejects.column("file"), len(batch.finished)))
        files = [batch.downloads[number].file for number in rejects.column("file").to_pylist()]
        return pa.table(
            {
                "path": pa.array([file.path for file in files], pa.string()),
                "line": rejects.column("number"),
                "reason": rejects.column("reason"),
                "text": rejects.column("text"),
                "hour": pa.array([file.hour for file in files], pa.timestamp("us")),
            }
        )
