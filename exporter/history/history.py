"""The history as the poller uses it: open, write one transaction, close; then read the totals that are exposed."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog

from exporter.collector import Collector, Events, columns_of
from exporter.collectors import archived, discover
from exporter.errors import HistoryError
from exporter.history import archive
from exporter.history.cleaner import COUNTED, Cleaner
from exporter.history.dimensions import known_sites, known_users
from exporter.history.file import HOLD_SECONDS, HistoryFile
from exporter.history.freshness_audit import Auditor
from exporter.history.positions import Position, read_positions
from exporter.history.privacy import apply_privacy
from exporter.history.pseudonyms import Pseudonyms, load_key
from exporter.history.redaction import Privacy
from exporter.history.schema import ensure_columns, prepare
from exporter.history.sizes import SizeRecorder
from exporter.history.tables import table_columns
from exporter.history.totals import Totals, naive, read_totals
from exporter.history.transaction import Transaction
from exporter.history.views import create_views
from exporter.log_once import Outage

PRUNE_STEP = timedelta(days=1)
# A pruning costs more than the rest of a quiet poll: it waits until there is something to gain.
PRUNE_INTERVAL = timedelta(hours=1)


log = structlog.get_logger()


class WriteFailures:
    """Every writer of one history reports to it how its last transaction ended."""

    def __init__(self) -> None:
        self._outage = Outage()

    def failed(self, writer: str, failure: HistoryError) -> None:
        """Report that a writer could not write."""
        if self._outage.is_new(failure, writer):
            log.warning("the history was not written; rows wait at their source until it is", error=str(failure))

    def succeeded(self, writer: str) -> None:
        """Report that a writer has written all that it had."""
        if self._outage.is_over(writer):
            log.info("the history is written again")


class History:
    """One history file and what is known of it between polls."""

    def __init__(
        self,
        file: HistoryFile,
        collectors: Mapping[str, Collector],
        privacy: Privacy,
        key_file: Path | None = None,
        retention: timedelta | None = None,
    ) -> None:
        self.file = file
        self.totals = Totals()
        self.positions: dict[str, Position] = {}
        self.open_keys = archive.keys_table([], [])
        self.pseudonyms: Pseudonyms | None = None
        self.known_sites: dict[int, str] = {}
        self.known_users = pa.table({"id": pa.array([], pa.int64()), "system_user_id": pa.array([], pa.int64())})
        self._collectors = collectors
        self.privacy = privacy
        """The privacy options that everything stored obeys."""
        self._retention = retention
        self._cleaner = Cleaner(privacy)
        self._auditor = Auditor(retention)
        self._sizes = SizeRecorder()
        self._key_file = key_file or file.path.with_suffix(".key")
        self.write_failures = WriteFailures()
        self.known = False
        """Whether the totals have been read: until then what the file counts is unknown, and unknown is absent."""
        self._prepared = False
        self._many = False
        self._columns: dict[str, str] = {}

    def lock(self) -> None:
        """Make this agent the file's only one, and read its key. Raises HistoryLocked, HistoryUnwritable."""
        self.file.lock()
        if self.privacy.users != "name":
            self.pseudonyms = Pseudonyms(load_key(self._key_file))

    def prepare(self, now: datetime) -> bool:
        """Bring the file to this program's tables and read where it stands; return False when that is done already."""
        if self._prepared:
            return False
        self._columns = {}
        with self.file.turn, self.file.open() as connection:
            # Of all collectors: the rows of a disabled one can be queried all the same.
            prepare(connection, discover())
            self._reread_names(connection)
            self._reread(connection, now)
        self._prepared = True
        return True

    @contextlib.contextmanager
    def transaction(
        self, now: datetime, columns: Mapping[str, str] | None = None, *, wait_seconds: float | None = None
    ) -> Iterator[Transaction]:
        """Open the file for one transaction; ``columns`` are the DuckDB types of requests about to arrive.

        Raises HistoryBusy where another thread uses the file for longer than ``wait_seconds``; None waits for its end.
        """
        with self.file.taking_turn(wait_seconds):
            yield from self._write(now, columns or {})

    def _write(self, now: datetime, columns: Mapping[str, str]) -> Iterator[Transaction]:
        self.prepare(now)
        # After any error the state of the file is read again before it is written again.
        self._prepared = False
        with self.file.open() as connection:
            changed = self._fit(connection, columns)
            with _transaction(connection):
                yield Transaction(connection, self._hidden(), self.events(), now, self._auditor, self._sizes)
            if changed:
                connection.execute("CHECKPOINT")
            if not self._many:
                self._reread(connection, now)
        self._prepared = True

    @contextlib.contextmanager
    def page_transaction(self, now: datetime) -> Iterator[Transaction]:
        """Open the file for a transaction of the pages, which changes nothing that anybody else counts on.

        What is known of the file stays as it is known, also when this fails.
        """
        with self.file.turn, self.file.open() as connection, _transaction(connection):
            yield Transaction(connection, self._hidden(), self.events(), now, self._auditor, self._sizes)

    @contextlib.contextmanager
    def batch(self, *, merges: int | None = None) -> Iterator[None]:
        """Write many transactions in a row: what the file holds is read again after the last.

        ``merges`` is that of ``HistoryFile.kept_open``.
        """
        self._many = True
        try:
            with self.file.kept_open(HOLD_SECONDS, merges=merges):
                yield
        finally:
            with self.file.turn:
                self._many = self._prepared = False

    def clean(self, events: Events, rows: pa.Table) -> pa.Table:
        """Make rows fit to be stored; nothing else may be given to a transaction."""
        if events.keeps_open or events.row is None:
            return self._cleaner.clean(rows)
        columns = columns_of(events.row)
        for column in columns:
            if column.name not in rows.column_names:
                rows = rows.append_column(column.name, pa.nulls(rows.num_rows, column.type.arrow))
        rows = apply_privacy(rows, columns, self.privacy, self.pseudonyms)
        texts = [column.name for column in columns if column.free_text]
        return self._cleaner.clean_texts(rows, texts) if texts else rows

    def _hidden(self) -> Collection[str]:
        return {COUNTED} if self.privacy.users == "none" else set()

    def _reread_names(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Remember the sites and users of the past: a request may name one that is gone."""
        if "sites" in self._kept_tables():
            self.known_sites = known_sites(connection)
        if "users" in self._kept_tables():
            self.known_users = known_users(connection)

    def events(self) -> list[Events]:
        """Return the events that are archived."""
        return archived(self._collectors)

    def _kept_tables(self) -> set[str]:
        states = (state for collector in self._collectors.values() for state in collector.states)
        return {state.history.table for state in states if state.history.table}

    def prunable_before(self, now: datetime) -> datetime | None:
        """Return the instant before which the retention lets nothing stand, a day's worth at a time.

        An agent's clock that jumps ahead must not empty the history: it counts only as far as the newest request.
        """
        newest, oldest = self.totals.marks.get("newest"), self.totals.marks.get("oldest")
        if self._retention is None or newest is None or oldest is None:
            return None
        before = plausible_now(naive(now), _from_epoch(newest)) - self._retention
        # The oldest is moved only when all that is older is gone: a day is finished before the next is begun.
        done = _from_epoch(oldest)
        return min(before, done + PRUNE_STEP) if done + PRUNE_INTERVAL <= before else None

    def _fit(self, connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str]) -> list[str]:
        """Add the columns that Tableau has added, outside the transaction and checkpointed at once."""
        if all(self._columns.get(name) == kind for name, kind in columns.items()):
            return []
        changed = ensure_columns(connection, "http_requests", columns)
        changed += ensure_columns(connection, "http_requests_open", columns)
        if changed:
            create_views(connection)
            connection.execute("CHECKPOINT")
        self._columns = table_columns(connection, "http_requests") | dict(columns)
        return changed

    def _reread(self, connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
        self.totals = read_totals(connection, naive(now))
        self.known = True
        self.positions = read_positions(connection)
        self.open_keys = connection.sql(
            "SELECT id, created_at FROM http_requests_open ORDER BY id DESC LIMIT 5000"
        ).to_arrow_table()


def plausible_now(now: datetime, newest: datetime) -> datetime:
    """Return a clock's time (UTC, naive) as far as the newest request bears it out."""
    return min(now, newest + PRUNE_STEP)


def _from_epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


@contextlib.contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise
