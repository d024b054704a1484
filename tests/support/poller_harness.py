"""The repository poller in this process, polled by hand; no counter may fall from one poll to the next."""

import functools
import tempfile
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from exporter.collectors import discover
from exporter.exposition.state_store import StateStore
from exporter.history.cleaner import Cleaner
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.verification import verify
from exporter.poller.context import PollContext
from exporter.poller.repository_poller import RepositoryPoller, Schedule
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions

COLLECTORS = ("active_users", "http_requests")
WITH_NAMES = ("content", "users", *COLLECTORS)
# The requests of these tests were made half an hour before.
NOW = 1_763_548_200.0


@functools.cache
def cleaner(privacy: Privacy) -> Cleaner:
    """Return the cleaner of this process: to start one costs more than all that it cleans in a test."""
    return SharedCleaner(privacy)


class SharedCleaner(Cleaner):
    """A cleaner of several histories, one thread at a time."""

    def __init__(self, privacy: Privacy) -> None:
        super().__init__(privacy)
        self._turn = threading.RLock()

    def clean(self, rows: pa.Table) -> pa.Table:
        """Clean them when no other thread does."""
        with self._turn:
            return super().clean(rows)

    def clean_texts(self, rows: pa.Table, names: Sequence[str]) -> pa.Table:
        """Clean them when no other thread does."""
        with self._turn:
            return super().clean_texts(rows, names)


@functools.cache
def prepared() -> bytes:
    """Return a new history: its tables are made once in this process."""
    with tempfile.TemporaryDirectory() as folder:
        file = HistoryFile(Path(folder) / "history.duckdb")
        History(file, discover(), Privacy()).prepare(datetime.fromtimestamp(NOW, UTC))
        return file.path.read_bytes()


class PollerHarness:
    """One history with its poller; time stands still unless ``now`` is moved.

    Unless ``tables`` is false a history that does not exist begins with its tables made.
    """

    def __init__(
        self,
        parameters: Mapping[str, str | int],
        path: Path,
        *,
        statement_timeout: float = 30.0,
        limits: Limits | None = None,
        privacy: Privacy | None = None,
        collectors: Sequence[str] = COLLECTORS,
        tables: bool = True,
    ) -> None:
        self.now = NOW
        if tables and not path.exists() and path.parent.is_dir():
            path.write_bytes(prepared())
            path.chmod(0o640)
        self.collectors = collectors
        self.parameters = dict(parameters)
        self.file = HistoryFile(path, limits or Limits(patience_seconds=1.0))
        self.privacy = privacy or Privacy()
        address = Address(str(parameters["host"]), int(parameters["port"]))
        tls = (("sslmode", "disable"),)
        database, user = str(parameters["dbname"]), str(parameters["user"])
        self.repository = RepositoryClient(
            RepositoryOptions((address,), database, user, self.password, tls, statement_timeout=statement_timeout)
        )
        self.store = StateStore(["repository"], version="0", library="0", started_at=self.now)
        self.retention: timedelta | None = None
        self._before: dict[tuple[str, tuple[str, ...]], float] = {}
        self.restart()

    def password(self) -> str:
        """Return the password as it is now."""
        return str(self.parameters["password"])

    def restart(self) -> None:
        """Begin anew with the same file, as a restarted agent does."""
        found = discover()
        collectors = {name: found[name] for name in self.collectors}
        self.history = History(self.file, collectors, self.privacy, retention=self.retention)
        self.history._cleaner = cleaner(self.privacy)
        self.context = PollContext(self.history, collectors, self.store, lambda: self.now)
        self.poller = RepositoryPoller(self.repository, self.context, Schedule(1.0, 1000.0))

    def poll(self, *, exact: bool = False) -> bool:
        """Poll once; no counter falls, and every known fault is one line."""
        answered = self.poller.poll(exact=exact)
        self._compare()
        return answered

    def polled(self, *, exact: bool = False) -> None:
        """Poll once, with success."""
        answered = self.poll(exact=exact)
        assert answered, self.errors()
        assert not self.errors()

    def errors(self) -> dict[str, str]:
        """The errors of the collectors and of the last poll."""
        status = self.store.summary(self.now, "")
        found = {collector.name: collector.error for collector in status.collectors if collector.error}
        assert all("\n" not in error for error in found.values())
        return found

    def up(self) -> bool:
        """Whether the repository answered."""
        return self.store.status.source("repository").up

    def _compare(self) -> None:
        if not self.history.known:
            return  # an unknown counter is absent; it has not decreased
        totals = self.history.totals
        now = {(family, labels): value for family, rows in totals.counters.items() for labels, value in rows}
        for family, rows in totals.histograms.items():
            for labels, buckets in rows.items():
                now[family, labels] = float(sum(count for count, _ in buckets.values()))
        fallen = {key: (value, now.get(key)) for key, value in self._before.items() if now.get(key, -1.0) < value}
        assert not fallen, fallen
        self._before = now

    def counter(self, family: str, *labels: str) -> float:
        """Return one counter as it stands."""
        return self.history.totals.counter(family, *labels)

    def incidents(self) -> dict[str, int]:
        """Return how often each kind of incident was counted."""
        rows = self.history.totals.counters.get("tableau_history_incidents_total", [])
        return {labels[0]: int(value) for labels, value in rows}

    def requests_counted(self) -> float:
        """Return how many requests the counter counts, over all labels."""
        rows = self.history.totals.counters.get("tableau_http_requests_total", [])
        return sum(value for _, value in rows)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the history."""
        with duckdb.connect(str(self.file.path), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def ids(self) -> list[int]:
        """Return the ids of all final requests, each as often as it stands there."""
        return [number for (number,) in self.query("SELECT id FROM http_requests ORDER BY id")]

    def open_ids(self) -> list[int]:
        """Return the ids of all open requests."""
        return [number for (number,) in self.query("SELECT id FROM http_requests_open ORDER BY id")]

    def mode(self) -> str:
        """How requests were read last."""
        rows = self.query("SELECT mode FROM poll_log WHERE source = 'http_requests' ORDER BY rowid DESC LIMIT 1")
        return str(rows[0][0])

    def assert_once(self) -> None:
        """No request stands twice, and the counters count exactly the final rows."""
        final = self.query(
            "SELECT count(*), count(DISTINCT (id, coalesce(created_at::VARCHAR, ''))) FROM http_requests"
        )
        assert final[0][0] == final[0][1]
        both = "SELECT count(*) FROM http_requests JOIN http_requests_open USING (id, created_at)"
        assert self.query(both) == [(0,)]
        assert self.requests_counted() == final[0][0]
        assert self.counter("tableau_history_rows_total", "http_requests") == final[0][0]
        events = [collector.events for collector in discover().values() if collector.events]
        verdicts = verify(HistoryFile(self.file.path, read_only=True), events)
        assert [verdict for verdict in verdicts if verdict.ok is False] == []
