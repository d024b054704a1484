"""Who opens an asset, and when it is usually opened next: learned from the openings of the last eight weeks.

A workbook is opened where one of its views is loaded; a published data source where a workbook that uses it is. The
next use is the median, over the same weekday of the last eight weeks, of the first opening after the time of the day:
in the site's time zone, so that it stays right when the clocks change, and no single holiday moves it. There is a habit
where most of these days had an opening, and most of these were about the same time; else the next use is unknown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from exporter.collector import Query
from exporter.inventory import TAG_SEPARATOR

if TYPE_CHECKING:
    from datetime import tzinfo

WEEKS = 8
LEARN_SECONDS = 3600.0
"""How long what was learned is reused: within an hour little changes."""
MIN_WEEKS = 4
"""With fewer weeks no habit is recognized."""
MIN_OPENED = 0.6
"""The share of a weekday's weeks that must have an opening."""
MIN_ALIKE = 0.75
"""The share of these openings that must be about the same time."""
ALIKE_SECONDS = 2700
_STEP = timedelta(minutes=15)
_DAY = timedelta(days=1)

USAGE = pa.schema(
    {
        "asset_type": pa.string(),
        "asset_id": pa.string(),
        "users_7d": pa.int64(),
        "users_30d": pa.int64(),
        "next_uses": pa.list_(pa.float64()),
    }
)
"""What is learned of assets. ``next_uses`` are the expected openings of the next week (Unix seconds), in order."""

_MEMBERS = f"""
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
USERS = f"""
    WITH
        {_MEMBERS.strip()},
        recent AS (
            SELECT slot > $now::TIMESTAMP - INTERVAL 7 DAY AS of_week, site, workbook, user_id
            FROM workbook_opens JOIN labels USING (site_id)
            WHERE slot > $now::TIMESTAMP - INTERVAL 30 DAY AND user_id IS NOT NULL
        )
    SELECT
        members.asset_type AS asset_type,
        members.asset_id AS asset_id,
        count(DISTINCT recent.user_id) FILTER (recent.of_week) AS users_7d,
        count(DISTINCT recent.user_id) AS users_30d
    FROM members
    LEFT JOIN recent ON recent.site = members.site AND recent.workbook = members.content_url
    WHERE (
        SELECT bool_or(user_id IS NOT NULL) AND min(slot) <= $now::TIMESTAMP - INTERVAL 7 DAY FROM workbook_opens
    )
    GROUP BY ALL
"""
"""Distinct users of each asset; no row where openings are archived for less than a week, or without users."""

# A target is an instant of the next week from which on the first opening of the day is sought. Its earlier days are
# those of the same weekday.
HABITS = f"""
    WITH
        {_MEMBERS.strip()},
        opened AS (
            SELECT DISTINCT
                members.asset_type AS asset_type,
                members.asset_id AS asset_id,
                members.time_zone AS time_zone,
                workbook_opens.slot + to_seconds(clocks.utc_offset) AS local_at
            FROM workbook_opens
            JOIN labels USING (site_id)
            JOIN members ON members.site = labels.site AND members.content_url = workbook_opens.workbook
            JOIN clocks
                ON clocks.time_zone IS NOT DISTINCT FROM members.time_zone
                AND workbook_opens.slot >= clocks.since
                AND workbook_opens.slot < clocks.until
        ),
        firsts AS (
            SELECT asset_type, asset_id, target, min(epoch(local_at) % 86400)::BIGINT AS seconds
            FROM opened
            JOIN targets
                ON targets.time_zone IS NOT DISTINCT FROM opened.time_zone
                AND isodow(opened.local_at) = targets.weekday
                AND epoch(opened.local_at) % 86400 >= targets.from_seconds
                AND opened.local_at >= targets.first_day
                AND opened.local_at < targets.today
            GROUP BY asset_type, asset_id, target, opened.local_at::DATE
        ),
        usual AS (
            SELECT
                *,
                count(*) OVER of_target AS opened_weeks,
                median(seconds) OVER of_target AS usual_seconds
            FROM firsts
            WINDOW of_target AS (PARTITION BY asset_type, asset_id, target)
        )
    SELECT asset_type, asset_id, target, any_value(usual_seconds)::BIGINT AS seconds
    FROM usual JOIN targets USING (target)
    GROUP BY asset_type, asset_id, target
    HAVING any_value(targets.weeks) >= {MIN_WEEKS}
        AND count(*) >= {MIN_OPENED} * any_value(targets.weeks)
        AND count(*) FILTER (abs(seconds - usual_seconds) <= {ALIKE_SECONDS}) >= {MIN_ALIKE} * count(*)
"""


@dataclass(frozen=True)
class Target:
    """From ``local`` on the first opening of the day is sought, on ``weeks`` earlier days from ``first_day`` on."""

    time_zone: str | None
    zone: "tzinfo"
    local: datetime
    first_day: date
    today: date
    weeks: int


def learn_usage(query: Query, assets: pa.Table, default_zone: str, now: datetime) -> pa.Table:
    """Return rows of USAGE for the assets that are known to be used or not; ``now`` is UTC, naive."""
    named = assets.column("time_zone").unique().to_pylist()
    zones = {name: zone_of(name, default_zone) for name in named}
    users = query(USERS, {"state": assets}, now=now)
    span = query("SELECT min(slot) AS since FROM workbook_opens WHERE slot <= $now::TIMESTAMP", {}, now=now)
    (since,) = span.column("since").to_pylist()
    targets = [] if since is None else [found for name in zones for found in _targets(name, zones[name], since, now)]
    habits = _habits(query, assets, zones, targets, now)
    return _joined(users, habits)


def zone_of(name: str | None, default: str) -> "tzinfo":
    """Return a time zone by its IANA name; the default where the name is none."""
    for text in (name, default):
        try:
            if text:
                return ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return UTC


def local_time(at: float, name: str | None, default: str, now: float) -> str:
    """Return the time of the day of an instant (Unix seconds) in a zone, with the weekday where it is not today."""
    zone = zone_of(name, default)
    moment, today = (datetime.fromtimestamp(instant, zone) for instant in (at, now))
    return f"{moment:%H:%M}" if moment.date() == today.date() else f"{moment:%A %H:%M}"


def usage_text(users: float | None, next_use: str | None) -> str:
    """Return ``opened by 37 users this week, usually next at 08:10`` as far as it is known."""
    following = "" if next_use is None else f"next {next_use}" if " " in next_use else f"next at {next_use}"
    if users is None:
        return f"usually opened {following}" if following else ""
    text = f"opened by {users:.0f} {'user' if users == 1 else 'users'} this week"
    return f"{text}, usually {following}" if following else text


def _targets(name: str | None, zone: "tzinfo", since: datetime, now: datetime) -> Iterator[Target]:
    """Yield the next hour in steps, until it is learned anew, and the beginnings of the next seven days."""
    here = now.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    begun = since.replace(tzinfo=UTC).astimezone(zone).date()
    steps = [here + number * _STEP for number in range(int(LEARN_SECONDS // _STEP.total_seconds()) + 1)]
    today = here.date()
    days = [datetime.combine(today + number * _DAY, time()) for number in range(1, 8)]
    for local in (*steps, *days):
        # The first day of the archive is no whole one.
        earlier = [local.date() - week * 7 * _DAY for week in range(WEEKS + 1)]
        counted = [day for day in earlier if begun < day < today][:WEEKS]
        yield Target(name, zone, local, min(counted, default=today), today, len(counted))


def _clocks(zones: Mapping[str | None, "tzinfo"], now: datetime) -> pa.Table:
    """Return the offset from UTC of each zone, between the instants at which it changes."""
    rows = []
    for name, zone in zones.items():
        begin = now.replace(minute=0, second=0, microsecond=0) - (WEEKS * 7 + 2) * _DAY
        end, since, offset = now + _DAY, datetime.min, _offset(begin, zone)  # noqa: DTZ901 - UTC, naive
        while begin < end:
            following = begin + _STEP
            if (changed := _offset(following, zone)) != offset:
                rows.append((name, since, following, offset))
                since, offset = following, changed
            begin = following
        rows.append((name, since, datetime.max, offset))  # noqa: DTZ901 - UTC, naive
    columns = zip(*rows, strict=True)
    types = (pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.int64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.table(arrays, ["time_zone", "since", "until", "utc_offset"])


def _offset(at: datetime, zone: "tzinfo") -> int:
    return int((at.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()).total_seconds())


def _habits(
    query: Query, assets: pa.Table, zones: Mapping[str | None, "tzinfo"], targets: Sequence[Target], now: datetime
) -> Mapping[tuple[str, str], list[float]]:
    """Return the expected openings of each asset that has a habit."""
    if not targets or all(target.weeks < MIN_WEEKS for target in targets):
        return {}
    table = pa.table(
        {
            "target": pa.array(range(len(targets)), pa.int64()),
            "time_zone": pa.array([target.time_zone for target in targets], pa.string()),
            "weekday": pa.array([target.local.isoweekday() for target in targets], pa.int64()),
            "from_seconds": pa.array([_seconds(target.local) for target in targets], pa.int64()),
            "first_day": pa.array([target.first_day for target in targets], pa.date32()),
            "today": pa.array([target.today for target in targets], pa.date32()),
            "weeks": pa.array([target.weeks for target in targets], pa.int64()),
        }
    )
    rows = query(HABITS, {"state": assets, "targets": table, "clocks": _clocks(zones, now)})
    expected = cache(lambda target, seconds: _instant(targets[target], seconds))
    found: dict[tuple[str, str], set[float]] = {}
    for kind, luid, target, seconds in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        found.setdefault((kind, luid), set()).add(expected(target, seconds))
    return {key: sorted(instants) for key, instants in found.items()}


def _seconds(local: datetime) -> int:
    return local.hour * 3600 + local.minute * 60 + local.second


def _instant(target: Target, seconds: int) -> float:
    """Return the instant at which a clock on the wall shows a time of a target's day (Unix seconds)."""
    local = datetime.combine(target.local.date(), time()) + timedelta(seconds=seconds)
    return local.replace(tzinfo=target.zone).timestamp()


def _joined(users: pa.Table, habits: Mapping[tuple[str, str], list[float]]) -> pa.Table:
    """Return rows of USAGE."""
    names = ("asset_type", "asset_id", "users_7d", "users_30d")
    rows = zip(*(users.column(name).to_pylist() for name in names), strict=True)
    counts = {(kind, luid): (week, month) for kind, luid, week, month in rows}
    keys = sorted(counts.keys() | habits.keys())
    return pa.table(
        [
            [kind for kind, _ in keys],
            [luid for _, luid in keys],
            [counts.get(key, (None, None))[0] for key in keys],
            [counts.get(key, (None, None))[1] for key in keys],
            [habits.get(key, []) for key in keys],
        ],
        schema=USAGE,
    )
