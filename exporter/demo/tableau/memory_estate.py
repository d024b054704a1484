"""A live company in memory alone: its backgrounder runs, and the facts follow."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random

from exporter.demo.backgrounder import Backgrounder
from exporter.demo.company import Company
from exporter.demo.incidents import Incidents
from exporter.demo.live_traffic import SECONDS_PER_REFRESH
from exporter.demo.rows import Row
from exporter.demo.tableau.facts import Facts
from exporter.demo.tableau.repository_facts import to_facts

# The facts change at most so often.
PAUSE = timedelta(seconds=1)
# What a computer that slept makes up for.
LONGEST_STEP = timedelta(seconds=30)


class Rows:
    """Tables in memory, written to like the tables of the repository; the company they came from stays as it was."""

    def __init__(self, company: Company) -> None:
        self.tables: dict[str, dict[object, Row]] = {
            table: {row["id"]: dict(row) for row in rows if "id" in row} for table, rows in company.tables.items()
        }

    def insert(self, table: str, row: Mapping[str, object]) -> int:
        """Add a row under the next free id and return that."""
        rows = self.tables[table]
        key = len(rows) + 1
        rows[key] = {**dict.fromkeys(next(iter(rows.values()))), **row, "id": key}
        return key

    def update(self, table: str, key: int, values: Mapping[str, object]) -> None:
        """Set columns of a row."""
        self.tables[table][key] |= values


class LiveCompany:
    """Moves on at each call; ``clock`` returns naive UTC."""

    def __init__(self, company: Company, random: Random, clock: Callable[[], datetime]) -> None:
        self._rows = Rows(company)
        self._random = random
        self._clock = clock
        self._backgrounder = Backgrounder(company, random)
        self._last = clock()
        self._incidents = Incidents(company, self._backgrounder, self._last)
        self._first_job = len(company.tables["background_jobs"]) + 1
        self._facts: Facts | None = None
        self._lock = threading.Lock()

    def facts(self) -> Facts:
        """Do everything that was due since the last call, and return the facts."""
        with self._lock:
            self._catch_up()
            if self._facts is None:
                self._facts = to_facts({table: rows.values() for table, rows in self._rows.tables.items()})
            return self._facts

    def new_jobs(self) -> list[Row]:
        """Do everything that was due since the last call, and return the jobs that the company had not when built."""
        with self._lock:
            self._catch_up()
            jobs = self._rows.tables["background_jobs"]
            return [dict(jobs[key]) for key in range(self._first_job, len(jobs) + 1)]

    def fix(self, luid: str) -> bool:
        """Have the broken refresh of some content succeed in a moment; false where none was broken."""
        with self._lock:
            fixable = self._backgrounder.fixable(luid)
            if fixable:
                self._backgrounder.fix(self._rows, luid, self._clock())
            return fixable

    def _catch_up(self) -> None:
        now = self._clock()
        if now >= self._last + PAUSE:
            self._step(now)
            self._facts = None

    def _step(self, now: datetime) -> None:
        at = max(self._last, now - LONGEST_STEP)
        while at < now:
            at = min(at + PAUSE, now)
            if self._random.random() < PAUSE.total_seconds() / SECONDS_PER_REFRESH:
                self._backgrounder.queue(self._rows, at)
            self._incidents.step(self._rows, at)
            self._backgrounder.work(self._rows, at)
        self._last = now
