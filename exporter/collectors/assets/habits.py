"""When an asset is usually opened next, learned from the openings of the last eight weeks in the site's time zone.

A target is a time of one of the next days from which on the first opening of that day is expected. Earlier days like it
are the same weekdays of eight weeks and, as long as the archive has few of these, the working days or weekends of four.
An asset has a habit where it was opened on most of these days, and most of the times about the same; it is seldom
opened where it was on hardly any. Else it is opened irregularly: then this and every later opening is unknown, since
some other may come before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from exporter.collector import Query
from exporter.inventory import TAG_SEPARATOR

if TYPE_CHECKING:
    from datetime import tzinfo

WEEKS = 8
LEARN_SECONDS = 3600.0
"""How long what was learned is reused: within an hour little changes."""
MIN_WEEKS = 6
"""With fewer weeks the days of a weekday are too few to conclude from."""
ALL_DAYS_WEEKS = 4
"""So many weeks are needed, and looked back on, where all working days, or both days of a weekend, are alike."""
MIN_OPENED = 0.6
"""The share of the days that must have an opening."""
MAX_SELDOM = 0.2
"""The share of the days that may have an opening where the asset is seldom opened."""
MIN_ALIKE = 0.85
"""The share of these openings that must be about the same time."""
MIN_ALIKE_DAYS = 5
"""On so many days the time must be about the same: fewer are often so by chance."""
ALIKE_SECONDS = 1800
SATURDAY = 6
_STEP = timedelta(minutes=15)
_DAY = timedelta(days=1)
_STEPS = int(LEARN_SECONDS // _STEP.total_seconds()) + 1
BEGINNINGS = _STEPS + 1
"""From midnight on, and from each step of the next hour on, the first opening of a day is sought."""

MEMBERS = f"""
        books AS (
            SELECT asset_type, asset_id, site, time_zone, content_url, uses
            FROM state
            WHERE asset_type = 'workbook' AND asset_id IS NOT NULL AND site IS NOT NULL AND content_url <> ''
        ),
        members AS (
            SELECT asset_type, asset_id, site, time_zone, content_url FROM books
            UNION ALL
            SELECT 'datasource', unnest(string_split(uses, '{TAG_SEPARATOR}')), site, time_zone, content_url
            FROM books
            WHERE uses <> ''
        ),
        labels AS (SELECT id AS site_id, coalesce(nullif(url_namespace, ''), 'default') AS site FROM latest_sites)
"""
"""The workbooks that are opened for each asset; ``state`` are the rows of all assets."""

# The first opening of each day after each beginning is found once, whatever the targets that it counts for.
_FIRST_OF_EACH = ", ".join(f"min(seconds) FILTER (seconds >= beginnings[{n}])" for n in range(1, BEGINNINGS + 1))
_FIRST_OPENINGS = f"""
    WITH
        {MEMBERS.strip()},
        opened AS (
            SELECT
                members.asset_type AS asset_type,
                members.asset_id AS asset_id,
                clocks.zone AS zone,
                clocks.beginnings AS beginnings,
                workbook_opens.slot + to_seconds(clocks.utc_offset) AS local_at,
                (epoch(local_at) % 86400)::BIGINT AS seconds
            FROM workbook_opens
            JOIN labels USING (site_id)
            JOIN members ON members.site = labels.site AND members.content_url = workbook_opens.workbook
            JOIN clocks
                ON clocks.time_zone IS NOT DISTINCT FROM members.time_zone
                AND workbook_opens.slot >= clocks.since
                AND workbook_opens.slot < clocks.until
        ),
        days AS (
            SELECT asset_type, asset_id, zone, local_at::DATE AS day, [{_FIRST_OF_EACH}] AS firsts
            FROM opened
            GROUP BY asset_type, asset_id, zone, day
        ),
        firsts AS (
            SELECT asset_type, asset_id, zone, day, unnest(range({BEGINNINGS})) AS beginning, unnest(firsts) AS seconds
            FROM days
        ),
        of_targets AS (
            SELECT *, median(seconds) OVER (PARTITION BY asset_type, asset_id, target, is_weekday) AS usual_seconds
            FROM firsts JOIN target_days USING (zone, beginning, day)
            WHERE seconds IS NOT NULL
        )
    SELECT
        asset_type,
        asset_id,
        target,
        is_weekday,
        count(*) AS days,
        count(*) FILTER (abs(seconds - usual_seconds) <= {ALIKE_SECONDS}) AS alike_days,
        any_value(usual_seconds)::BIGINT AS seconds
    FROM of_targets
    GROUP BY ALL
"""


@dataclass(frozen=True)
class Target:
    """From ``local`` on the first opening of the day is expected; the days are those that are like it."""

    zone: "tzinfo"
    local: datetime
    beginning: int
    weekdays: Sequence[date]
    all_days: Sequence[date]

    def at(self, seconds: int) -> float:
        """Return the instant at which a clock on the wall shows a time of the target's day (Unix seconds)."""
        local = datetime.combine(self.local.date(), time()) + timedelta(seconds=seconds)
        return local.replace(tzinfo=self.zone).timestamp()


@dataclass(frozen=True)
class Days:
    """Of the days that are like a target's: how many had an opening, and how many about the usual time."""

    opened: int
    alike: int
    seconds: int

    def is_habit(self, days: int) -> bool:
        """Return whether the openings of so many days are a habit."""
        is_alike = self.alike >= max(MIN_ALIKE * self.opened, MIN_ALIKE_DAYS)
        return is_alike and self.opened >= MIN_OPENED * days


NONE = Days(0, 0, 0)
Found = Mapping[tuple[int, bool], Days]
"""The days of one asset, by the index of the target and whether they are those of its weekday."""


def habits(
    query: Query, assets: pa.Table, zones: Mapping[str | None, "tzinfo"], now: datetime
) -> Mapping[tuple[str, str], list[float]]:
    """Return the expected openings (Unix seconds) of each asset that has a habit; ``now`` is UTC, naive."""
    span = query("SELECT min(slot) AS since FROM workbook_opens WHERE slot <= $now::TIMESTAMP", {}, now=now)
    (since,) = span.column("since").to_pylist()
    if since is None:
        return {}
    of_zones = [list(_targets(zone, since, now)) for zone in zones.values()]
    tables = {"state": assets, "clocks": _clocks(zones, of_zones, now), "target_days": _target_days(of_zones)}
    rows = query(_FIRST_OPENINGS, tables)
    found: dict[tuple[str, str], dict[tuple[int, bool], Days]] = {}
    columns = (column.to_pylist() for column in rows.columns)
    for kind, luid, target, is_weekday, days, alike, seconds in zip(*columns, strict=True):
        found.setdefault((kind, luid), {})[target, is_weekday] = Days(days, alike, seconds)
    targets = [target for of_zone in of_zones for target in of_zone]
    # An asset has targets of its own zone alone.
    expected = {key: sorted(_expected(targets, len(of_zones[0]), of_asset)) for key, of_asset in found.items()}
    return {key: instants for key, instants in expected.items() if instants}


def _expected(targets: Sequence[Target], size: int, found: Found) -> set[float]:
    """Return the openings that are expected, up to the first target without habit that may have one."""
    expected = set()
    first = min(target for target, _ in found) // size * size
    for number in range(first, first + size):
        target = targets[number]
        seconds = _habit(target, found.get((number, True), NONE), found.get((number, False), NONE))
        if seconds is None:
            break
        if seconds >= 0:
            expected.add(target.at(seconds))
    return expected


SELDOM = -1


def _habit(target: Target, of_weekday: Days, of_all: Days) -> int | None:
    """Return the usual time of the day, SELDOM where there is hardly ever one, None where it is unknown."""
    weekdays, all_days = len(target.weekdays), len(target.all_days)
    if weekdays >= MIN_WEEKS:
        if of_weekday.is_habit(weekdays):
            return of_weekday.seconds
        if of_weekday.opened <= MAX_SELDOM * weekdays:
            return SELDOM
    if not all_days:
        return None
    if of_all.is_habit(all_days):
        return of_all.seconds
    return SELDOM if weekdays < MIN_WEEKS and not of_all.opened else None


def _targets(zone: "tzinfo", since: datetime, now: datetime) -> Iterator[Target]:
    """Yield the next hour in steps, until it is learned anew, and the beginnings of the next seven days."""
    here = now.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    begun = since.replace(tzinfo=UTC).astimezone(zone).date()
    today = here.date()
    # The first day of the archive is no whole one.
    earlier = [day for ago in range(7 * WEEKS) if (day := today - (ago + 1) * _DAY) > begun]
    of_four_weeks = earlier[: 7 * ALL_DAYS_WEEKS] if len(earlier) >= 7 * ALL_DAYS_WEEKS else []
    steps = [(number, here + (number - 1) * _STEP) for number in range(1, BEGINNINGS)]
    days = [(0, datetime.combine(today + number * _DAY, time())) for number in range(1, 8)]
    for beginning, local in (*steps, *days):
        is_weekend = local.isoweekday() >= SATURDAY
        weekdays = [day for day in earlier if day.isoweekday() == local.isoweekday()]
        all_days = [day for day in of_four_weeks if (day.isoweekday() >= SATURDAY) == is_weekend]
        yield Target(zone, local, beginning, weekdays, all_days)


def _target_days(of_zones: Sequence[Sequence[Target]]) -> pa.Table:
    """Return the days that are like those of each target; targets are numbered over all zones."""
    targets = [(zone, target) for zone, targets in enumerate(of_zones) for target in targets]
    rows = [
        (zone, number, is_weekday, target.beginning, day)
        for number, (zone, target) in enumerate(targets)
        for is_weekday, days in ((True, target.weekdays), (False, target.all_days))
        for day in days
    ]
    types = (pa.int64(), pa.int64(), pa.bool_(), pa.int64(), pa.date32())
    arrays = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(types)]
    return pa.table(arrays, ["zone", "target", "is_weekday", "beginning", "day"])


def _seconds(local: datetime) -> int:
    return local.hour * 3600 + local.minute * 60 + local.second


def _clocks(zones: Mapping[str | None, "tzinfo"], of_zones: Sequence[Sequence[Target]], now: datetime) -> pa.Table:
    """Return the offset from UTC of each zone, between the instants at which it changes, and its beginnings."""
    rows = []
    for number, (name, zone) in enumerate(zones.items()):
        of_zone = (0, *(_seconds(target.local) for target in of_zones[number][:_STEPS]))
        begin = now.replace(minute=0, second=0, microsecond=0) - (WEEKS * 7 + 2) * _DAY
        end, since, offset = now + _DAY, datetime.min, _offset(begin, zone)  # noqa: DTZ901 - UTC, naive
        while begin < end:
            following = begin + _STEP
            if (changed := _offset(following, zone)) != offset:
                rows.append((number, name, since, following, offset, of_zone))
                since, offset = following, changed
            begin = following
        rows.append((number, name, since, datetime.max, offset, of_zone))  # noqa: DTZ901 - UTC, naive
    columns = zip(*rows, strict=True)
    types = (pa.int64(), pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.int64(), pa.list_(pa.int64()))
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.table(arrays, ["zone", "time_zone", "since", "until", "utc_offset", "beginnings"])


def _offset(at: datetime, zone: "tzinfo") -> int:
    return int((at.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()).total_seconds())
