"""Live traffic of the simulated server: requests, logins, refreshes and events in real time."""

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple, Self

from exporter.demo import disks, rows
from exporter.demo.audit_log import event
from exporter.demo.backgrounder import Backgrounder
from exporter.demo.company import Company
from exporter.demo.incidents import Incidents
from exporter.demo.rows import RepositoryTables, Row
from exporter.demo.users import SITES
from exporter.demo.visits import Visits
from exporter.repository.connection import Connection, connect

PAUSE_SECONDS = 0.5
RECONNECT_SECONDS = 1.0
VISITS_PER_SECOND = 0.6
SECONDS_PER_REFRESH = 15.0
EVENTS_PER_SECOND = 0.1
# Requests that take longer than this are first written open, and completed later.
SLOW = timedelta(seconds=0.5)
# After a pause (a suspended laptop, a jump of the clock) no more than this is caught up on.
LONGEST_STEP = timedelta(seconds=30)


class Movement(NamedTuple):
    """What one step did."""

    requests: int = 0
    completed: int = 0
    logins: int = 0
    jobs: int = 0


class LiveTraffic:
    """LiveTraffic traffic: ``step`` does what is due at an instant, ``start`` does so in a thread until ``stop``.

    ``clock`` returns naive UTC. A database that goes away is connected to again; what it missed is not made up for.
    """

    def __init__(
        self,
        company: Company,
        parameters: Mapping[str, str | int],
        version: str,
        random: Random,
        clock: Callable[[], datetime],
    ) -> None:
        self._company = company
        self._parameters = parameters
        self._version = version
        self._random = random
        self._clock = clock
        self._visits = Visits(company, random)
        self._backgrounder = Backgrounder(company, random)
        self._incidents: Incidents | None = None
        self._audited = Random(1)
        # Both heaps are ordered by instant; the counter keeps rows of the same instant from being compared.
        self._planned: list[tuple[datetime, int, Row]] = []
        self._open: list[tuple[datetime, int, int, object]] = []
        self._counter = itertools.count()
        self._fixing: deque[str] = deque()
        self._last: datetime | None = None
        self._begun: datetime | None = None
        self._recorded: datetime | None = None
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to live in a thread of its own."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="living", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the connection; harmless when it never started."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._disconnect()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fix(self, luid: str) -> bool:
        """Have the broken refresh of some content succeed at the next steps; false where none was broken."""
        fixable = self._backgrounder.fixable(luid)
        if fixable:
            self._fixing.append(luid)
        return fixable

    def step(self, now: datetime) -> Movement:
        """Do everything that is due since the last step; the first step covers one second."""
        since = max(self._last or now - timedelta(seconds=1), now - LONGEST_STEP)
        self._last = now
        self._plan(since, now)
        connection = self._connected()
        completed = self._complete(connection, now)
        requests = self._request(connection, now)
        logins = self._log_in(connection, now) if self._chance(since, now, 0.1) else 0
        if self._audited.random() < (now - since).total_seconds() * EVENTS_PER_SECOND:
            rows.insert(connection, self._version, "historical_events", event(self._company.tables, self._audited, now))
        tables = RepositoryTables(connection, self._version)
        if self._chance(since, now, 1 / SECONDS_PER_REFRESH):
            self._backgrounder.queue(tables, now)
        self._record_disks(tables, now)
        self._incidents = self._incidents or Incidents(self._company, self._backgrounder, now)
        self._incidents.step(tables, now)
        while self._fixing:
            self._backgrounder.fix(tables, self._fixing[0], now)
            self._fixing.popleft()
        return Movement(requests, completed, logins, self._backgrounder.work(tables, now))

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._stopped.wait(pause):
            pause = PAUSE_SECONDS
            try:
                self.step(self._clock())
            except Connection.Error:
                # The server restarts, or a table that we write to is dropped: both happen.
                self._disconnect()
                pause = RECONNECT_SECONDS

    def _record_disks(self, tables: RepositoryTables, now: datetime) -> None:
        self._begun = self._begun or now
        if self._recorded is None or now - self._recorded >= disks.EVERY:
            for row in disks.records(self._begun, now):
                tables.insert("historical_disk_usage", row)
            self._recorded = now

    def _chance(self, since: datetime, now: datetime, per_second: float) -> bool:
        return self._random.random() < (now - since).total_seconds() * per_second

    def _plan(self, since: datetime, now: datetime) -> None:
        expected = (now - since).total_seconds() * VISITS_PER_SECOND
        for _ in range(int(expected + self._random.random())):
            (position,) = self._random.choices(range(len(SITES)), [site.share for site in SITES])
            begin = since + self._random.random() * (now - since)
            for row in self._visits.visit(position + 1, begin):
                heapq.heappush(self._planned, (_instant(row["created_at"]), next(self._counter), row))

    def _request(self, connection: Connection, now: datetime) -> int:
        count = 0
        while self._planned and self._planned[0][0] <= now:
            began_at, _, row = heapq.heappop(self._planned)
            completed_at = _instant(row["completed_at"])
            slow = completed_at - began_at > SLOW or completed_at > now
            written = {**row, "completed_at": None, "status": None} if slow else row
            key = rows.insert(connection, self._version, "http_requests", written)
            if slow:
                heapq.heappush(self._open, (completed_at, next(self._counter), key, row["status"]))
            count += 1
        return count

    def _complete(self, connection: Connection, now: datetime) -> int:
        count = 0
        while self._open and self._open[0][0] <= now:
            completed_at, _, key, status = heapq.heappop(self._open)
            values = {"completed_at": completed_at, "status": status}
            rows.update(connection, self._version, "http_requests", key, values)
            count += 1
        return count

    def _log_in(self, connection: Connection, now: datetime) -> int:
        user = self._random.choice(self._company.tables["users"])
        rows.update(connection, self._version, "users", int(str(user["id"])), {"login_at": now, "updated_at": now})
        return 1

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect({**self._parameters, "connect_timeout": 5})
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _instant(value: object) -> datetime:
    assert isinstance(value, datetime)  # noqa: S101 - visits date every request
    return value
