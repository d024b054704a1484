"""A live company in memory alone: its backgrounder runs, and the facts follow."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random

from exporter.demo.backgrounder import Backgrounder
from exporter.demo.company import Company
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
            table: {row["id"]: dict(row) for row in rows} for table, rows in company.tables.items()
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
        self._facts = self._tell()
        self._lock = threading.Lock()

    def facts(self) -> Facts:
        """Do everything that was due since the last call, and return the facts."""
        with self._lock:
            now = self._clock()
            if now >= self._last + PAUSE:
                self._step(now)
                self._facts = self._tell()
            return self._facts

    def fix(self, luid: str) -> bool:
        """Have the broken refresh of some content succeed in a moment; false where none was broken."""
        with self._lock:
            fixable = self._backgrounder.fixable(luid)
            if fixable:
                self._backgrounder.fix(self._rows, luid, self._clock())
            return fixable

    def _step(self, now: datetime) -> None:
        at = max(self._last, now - LONGEST_STEP)
        while at < now:
            at = min(at + PAUSE, now)
            if self._random.random() < PAUSE.total_seconds() / SECONDS_PER_REFRESH:
                self._backgrounder.queue(self._rows, at)
            self._backgrounder.work(self._rows, at)
        self._last = now

    def _tell(self) -> Facts:
        return to_facts({table: rows.values() for table, rows in self._rows.tables.items()})
