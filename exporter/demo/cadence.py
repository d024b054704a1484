"""When a schedule runs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

DAY_MINUTES = 24 * 60
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True)
class Cadence:
    """A schedule: from ``at_minute`` of the local day on, every ``every`` minutes, on some weekdays (Monday is 0).

    ``kind`` is Tableau's schedule_type: 0 hourly, 1 daily, 2 weekly. ``offset`` is the hours from UTC of ``zone``.
    """

    name: str
    kind: int
    at_minute: int
    every: int = DAY_MINUTES
    weekdays: frozenset[int] = EVERY_DAY
    zone: str = "Europe/London"
    offset: int = 0

    def runs(self, since: datetime, until: datetime) -> list[datetime]:
        """List the instants of the runs after ``since``, up to ``until``; naive UTC."""
        shift = timedelta(hours=self.offset)
        day = (since + shift).replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        while day <= until + shift:
            if day.weekday() in self.weekdays:
                minutes = range(self.at_minute, DAY_MINUTES, self.every)
                found += [day + timedelta(minutes=minute) - shift for minute in minutes]
            day += timedelta(days=1)
        return [at for at in found if since < at <= until]

    def following(self, at: datetime) -> datetime:
        """Return the first run after an instant."""
        return self.runs(at, at + timedelta(days=8))[0]

    @property
    def weekday_mask(self) -> int:
        """The weekdays as bits, Sunday first."""
        return sum(1 << ((day + 1) % 7) for day in self.weekdays)


HOURLY = (
    Cadence("Every hour", 0, 0, every=60),
    Cadence("Every 15 minutes", 0, 5, every=15),
    Cadence("Business hours", 0, 7 * 60, every=120, weekdays=frozenset(range(5)), zone="Europe/Berlin", offset=1),
)
DAILY = (
    Cadence("Daily 05:00", 1, 5 * 60),
    Cadence("Daily 02:30 New York", 1, 150, zone="America/New_York", offset=-5),
    Cadence("Daily 06:15 Dubai", 1, 375, zone="Asia/Dubai", offset=4),
)
WEEKLY = (
    Cadence("Monday morning", 2, 4 * 60, weekdays=frozenset({0})),
    Cadence("Sunday & Thursday", 2, 23 * 60 + 45, weekdays=frozenset({3, 6}), zone="Asia/Dubai", offset=4),
)
CADENCES = (*HOURLY, *DAILY, *WEEKLY)
