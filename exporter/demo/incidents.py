"""What goes wrong on the living company again and again, and is right again: an extract, subscriptions, data alerts.

An extract is refreshed about every minute; some refreshes leave a tenth of its size, or the triple, until the next.
Subscriptions and data alerts that fail or are suspended recover, and fail again.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from exporter.demo.backgrounder import Backgrounder
from exporter.demo.company import Company
from exporter.demo.refreshing import resized
from exporter.demo.rows import Row, Written

EVERY = timedelta(seconds=65)
SHARES = {6: 0.1, 9: 3.0}
"""What the refreshes of these numbers leave of the usual size."""
CYCLE = 30
"""After so many refreshes the numbers begin anew."""
TROUBLE = timedelta(seconds=150)
"""How long subscriptions and data alerts are in trouble, and then without."""
SOUND_TASK = {"consecutive_failure_count": 0, "state": 0}
SOUND_ALERT = {"failure_count": 0, "suspend_state": 0}
Change = tuple[str, int, Row]


class Incidents:
    """Lets happen what is due since ``begun``."""

    def __init__(self, company: Company, backgrounder: Backgrounder, begun: datetime) -> None:
        self._backgrounder = backgrounder
        self._begun = begun
        self._luid = str(resized(company.assets)["luid"])
        self._troubled = list(_troubled(company))
        self._refreshed = -1
        self._is_sound = False
        backgrounder.set_apart(self._luid)

    def step(self, tables: Written, now: datetime) -> None:
        """Refresh the extract, and change subscriptions and data alerts, if it is time."""
        age = now - self._begun
        number = int(age / EVERY)
        if number > self._refreshed:
            self._refreshed = number
            self._backgrounder.refresh(tables, self._luid, now, SHARES.get(number % CYCLE, 1.0))
        is_sound = int(age / TROUBLE) % 2 == 1
        if is_sound != self._is_sound:
            self._is_sound = is_sound
            for table, key, row in self._troubled:
                sound = SOUND_TASK if table == "tasks" else SOUND_ALERT
                tables.update(table, key, sound if is_sound else {name: row[name] for name in sound})


def _troubled(company: Company) -> Iterator[Change]:
    """Yield the tasks of subscriptions, and the data alerts, that fail or are suspended by Tableau."""
    for row in company.tables["tasks"]:
        if row["obj_type"] == "Subscription" and row["consecutive_failure_count"]:
            yield "tasks", int(str(row["id"])), row
    for row in company.tables["data_alerts"]:
        if row["failure_count"]:
            yield "data_alerts", int(str(row["id"])), row
