"""The poller of the Activity Log on a simulated tenant, with a clock of its own."""

import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from exporter.activity_log.client import ActivityLogClient, ActivityLogOptions
from exporter.activity_log.http_client import Pace
from exporter.collector import Collector
from exporter.collectors import archived, discover
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.cloud_manager import TOKEN
from exporter.exposition.history_metrics import archived_blocks
from exporter.exposition.state_store import StateStore
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.verification import verify
from exporter.poller.activity_poller import SOURCE, ActivityPoller, ActivitySchedule
from exporter.poller.context import PollContext
from exporter.status import CollectorStatus

INTERVAL, OVERLAP = 900.0, 2 * 86_400.0
COLLECTORS: Mapping[str, Collector] = {name: found for name, found in discover().items() if found.from_activity_log}


class ActivityHarness:
    """One agent's half for the Activity Log; ``now`` is its clock."""

    def __init__(self, url: str, path: Path, now: datetime, privacy: Privacy | None = None) -> None:
        self.url = url
        self.now = now
        self.privacy = privacy or Privacy()
        self.file = HistoryFile(path, Limits(patience_seconds=1.0))
        self.token = TOKEN
        self.sites: tuple[str, ...] = ()
        self.retention: Any = None
        self.stopped = threading.Event()
        self.restart()

    def restart(self) -> None:
        """Begin anew with the same file, as a restarted agent does."""
        if hasattr(self, "client"):
            self.close()
        self.stopped = threading.Event()
        self.store = StateStore([SOURCE], version="0", library="0", started_at=0.0)
        self.history = History(self.file, COLLECTORS, self.privacy, retention=self.retention)
        self.history.lock()
        clock = lambda: self.now.replace(tzinfo=UTC).timestamp()  # noqa: E731 - read at each poll
        context = PollContext(self.history, COLLECTORS, self.store, clock, stopped=self.stopped)
        pace = Pace(self.stopped.is_set, lambda _: None)
        options = ActivityLogOptions(self.url, lambda: self.token, self.sites, timeout=10.0)
        self.client = ActivityLogClient(options, pace)
        self.poller = ActivityPoller(self.client, context, ActivitySchedule(INTERVAL, OVERLAP))

    def poll(self) -> bool:
        """Poll once."""
        return self.poller.poll()

    def close(self) -> None:
        """Release what an agent holds."""
        self.client.close()
        self.file.unlock()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the history."""
        with duckdb.connect(str(self.file.path), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def events(self) -> Counter[tuple[str, str, datetime]]:
        """Count the archived events as ``ActivityFiles.truth`` does."""
        rows = self.query(
            "SELECT luid, event_type, date_trunc('hour', event_time), count(*) FROM activity_events"
            " JOIN latest_sites AS sites ON sites.id = site_id GROUP BY ALL"
        )
        return Counter({tuple(key): count for *key, count in rows})

    def counters(self) -> dict[tuple[str, ...], int]:
        """Return the events of each site and type as they are exposed."""
        blocks = archived_blocks(self.history.totals, COLLECTORS, None)
        (block,) = [block for block in blocks if block.family.name == "tableau_activity_log_events_total"]
        return {labels: int(value or 0) for labels, value in zip(block.labels.rows(), block.at(0.0), strict=True)}  # type: ignore[union-attr] # a counter

    def collector(self) -> CollectorStatus:
        """Return the status of the collector of all events."""
        found = self.store.status.collector("activity_log", SOURCE)
        assert found is not None
        return found

    def faults(self) -> list[str]:
        """Return what ``history verify`` finds."""
        file = HistoryFile(self.file.path, Limits(patience_seconds=0.0), read_only=True)
        return [verdict.message for verdict in verify(file, archived(discover())) if verdict.ok is False]


def assert_exactly_once(harness: ActivityHarness, files: ActivityFiles) -> None:
    """Compare the history with the truth: every event once, in the rows and in the counters."""
    truth = files.truth()
    assert harness.events() == truth
    by_type: Counter[tuple[str, ...]] = Counter()
    names = {site.luid: site.url or "default" for site in files.sites}
    for (luid, kind, _), count in truth.items():
        by_type[names[luid], kind] += count
    assert harness.counters() == dict(by_type)
    assert harness.faults() == []
