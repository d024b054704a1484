"""A poller whose every poll is compared with the truth, and the places where faults are injected.

The source is observed from outside while the agent reads: one session, ACCESS SHARE only, no transaction used up.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from exporter.history.file import HistoryFile, Limits
from exporter.history.pruning import Pruned
from exporter.history.transaction import Transaction
from exporter.repository.session import Session, Snapshot
from tests.chaos.archive_invariants import NOTHING, Held, assert_kept, assert_once, assert_read, held_by, held_in
from tests.chaos.random_writer import Key, RandomWriter
from tests.support.failing_connection import Connect
from tests.support.poller_harness import NOW, PollerHarness
from tests.support.source import OURS, Source

START = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None) - timedelta(minutes=30)

SEEN = f"""
    SELECT
        (SELECT count(*) FROM pg_stat_activity WHERE {OURS}),
        (SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND backend_xid IS NOT NULL),
        (SELECT count(*) FROM pg_locks AS held JOIN pg_stat_activity AS ours USING (pid)
            WHERE {OURS} AND held.locktype <> 'virtualxid' AND held.mode <> 'AccessShareLock')
"""
XMAX = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"


class CheckedPoller:
    """A poller on Tableau's repository; ``steps`` records its actions."""

    def __init__(self, seed: int, source: Source, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.seed, self.source, self.folder, self.patch = seed, source, folder, patch
        self.steps: list[str] = []
        self.chance = Random(seed)
        self.tableau = RandomWriter(source, self.chance, START)
        source.run("TRUNCATE truth.versions")
        self.tableau.make_table()
        self.files = 0
        self.harness = PollerHarness(source.readonly, self.next_path())
        self.held = NOTHING
        self.pruned: list[tuple[datetime, set[Key]]] = []
        self.removed: set[Key] = set()
        self.excused: set[Key] = set()
        self.revoked = False
        self.before, self.there, self.moved_at = NOTHING, self.tableau.present(), self.harness.now
        self.at_snapshot: dict[int, Callable[[], object]] = {}
        self.snapshots = 0
        self._patch()

    def poll(self, *, exact: bool | None = None, fault: bool = False, end: Connect | None = None) -> str:
        """Poll once, and compare the file with the source."""
        exact = self.chance.random() < 0.5 if exact is None else exact
        self.steps.append(f"  poll{' exact' * exact}")
        quiet = not self.at_snapshot
        self.before, self.there = self.held, self.tableau.present()
        xmax = self.source.run(XMAX)
        self.snapshots = 0
        with self.patch.context() as patch:
            if end is not None:
                patch.setattr(duckdb, "connect", end)
            try:
                answered = self.harness.poll(exact=exact) and not self.harness.errors()
            finally:
                self.at_snapshot.clear()
        assert answered or fault or self.revoked, self.harness.errors()
        assert not quiet or self.source.run(XMAX) == xmax, "the source's transactions were used up"
        now = self.look()
        self.steps[-1] += f": {now.mode if answered else 'in vain'}"
        self.compare()
        if answered and not self.harness.file._keep_for:
            assert self.harness.requests_counted() == now.requests
        return "answered" if answered else "in vain"

    def compare(self) -> None:
        """Where the position has moved, everything that was there before the poll and still is has been read."""
        before, now = self.before, self.held
        if now.version != before.version and now.mode != "fast":
            after = self.tableau.present()
            there = {key: found for key, found in self.there.items() if after.get(key) == found}
            assert_read(before, now, there, self._young())
        if now.version != before.version:
            self.moved_at = self.harness.now
        if before.version == 0 < now.version:
            # A history begins with what its first reading finds.
            self.excused |= {key for key, _ in self.tableau.versions().values()} - self.here()

    def _young(self) -> set[Key]:
        """Return the keys that cannot be a day old: open at the last poll, at the same time, or made within a day."""
        limit = datetime.fromtimestamp(self.harness.now, UTC).replace(tzinfo=None) - timedelta(days=1)
        same = set(self.before.open) if self.moved_at == self.harness.now else set()
        new = {key for key in self.there if key not in self.before.open and key[1] is not None and key[1] >= limit}
        return same | new

    def look(self) -> Held:
        """Read the file, and check its invariants."""
        now = self.held
        if self.harness.file._connection is not None:
            with self.harness.file._connection.cursor() as connection:
                now = held_in(connection)
        elif self.harness.file.path.exists():
            now = held_by(self.harness.file.path)
        before, self.held = self.held, now
        self.forget_prunes()
        assert_kept(before, now)
        assert_once(now, self.ever_final(), self.tableau.versions())
        return now

    def here(self) -> set[Key]:
        """Return every request that the file holds, or held before it was pruned."""
        return self.ever_final() | self.held.open.keys()

    def ever_final(self) -> set[Key]:
        """Return every request that was ever final in this file: the ones its counters count."""
        return set(self.held.final).union(*(keys for _, keys in self.pruned))

    def remove(self, keys: set[Key]) -> None:
        """Expect no bound for requests that vanish without a trace, unless they are here."""
        self.removed |= keys
        self.excused |= keys - self.here()

    def go_back(self) -> None:
        """Restore the file as it was before: rows archived since, and gone from the source, count as never seen."""
        self.forget_prunes()
        self.moved_at = float("nan")
        self.excused |= self.removed - self.here()

    def forget_prunes(self) -> None:
        """Exclude the rows pruned in a transaction that the file lacks."""
        mark = self.held.pruned
        self.pruned = [(before, keys) for before, keys in self.pruned if mark is not None and before <= mark]

    # Faults injected into the product.

    def _patch(self) -> None:
        rows = self.chance.choice((3, 5, 20))
        self.steps.append(f"ranges of {rows} rows")
        self.patch.setattr("exporter.poller.read_plan.SMALL_BYTES", -1)
        self.patch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: rows)
        self.patch.setattr("exporter.poller.batching.batch_rows", lambda _rows: rows)
        # Fast readings find late commits of small ids by luck alone.
        self.patch.setattr("exporter.poller.table_reader.OVERLAP", self.chance.choice((0, 5)))
        self.patch.setattr("exporter.poller.batching.BATCH_ROWS", self.chance.choice((5, 40_960)))
        self.patch.setattr("exporter.poller.archiver.TRANSACTION_ROWS", self.chance.choice((1, 20, 122_880)))
        self.patch.setattr(Session, "snapshot", self._watched(Session.snapshot))
        self.patch.setattr(Transaction, "prune", self._noting(Transaction.prune))

    def _watched(self, snapshot: Callable[..., Any]) -> Callable[..., Any]:
        """Observe the source from outside while the agent reads; inject the planned fault there."""

        @contextmanager
        def watched(session: Session, table: str) -> Iterator[Snapshot]:
            self.snapshots += 1
            if before := self.at_snapshot.pop(-self.snapshots, None):
                before()
            with snapshot(session, table) as observed:
                assert self.source.run(SEEN) == [(1, 0, 0)]
                if within := self.at_snapshot.pop(self.snapshots, None):
                    within()
                yield observed

        return watched

    def _noting(self, prune: Callable[[Transaction, datetime], Pruned]) -> Callable[[Transaction, datetime], Pruned]:
        """Record the rows about to be pruned: no file has them afterwards."""

        def noting(transaction: Transaction, before: datetime) -> Pruned:
            keys = "SELECT id, created_at FROM http_requests WHERE created_at < ?"
            self.pruned.append((before, set(transaction.connection.execute(keys, [before]).fetchall())))
            return prune(transaction, before)

        return noting

    # Files.

    def next_path(self) -> Path:
        """Return where the next file may stand, in a folder of its own."""
        self.files += 1
        folder = self.folder / f"{self.seed}-{self.files}"
        folder.mkdir()
        return folder / "history.duckdb"

    def copy_file(self, path: Path, to: Path) -> None:
        """Copy a file with its log."""
        for suffix in ("", ".wal"):
            found = path.with_name(path.name + suffix)
            if found.exists():
                shutil.copy(found, to.with_name(to.name + suffix))

    def take_up(self, path: Path, *, torn: bool) -> None:
        """Continue with the file that a crash has left."""
        self.harness.file = HistoryFile(path, Limits(patience_seconds=1.0))
        self.harness._before = {}
        self.harness.restart()
        if torn:
            # What the log has lost is read again; until then the file is as it was at some earlier transaction.
            self.held = NOTHING
        if path.exists():
            self.look()
            if not torn:
                self.compare()
        self.go_back()
