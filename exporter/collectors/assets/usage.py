"""Who opens an asset, and when it is usually opened next: learned from the openings of the last eight weeks.

A workbook is opened where one of its views is loaded; a published data source where a workbook that uses it is.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from exporter.collector import Query
from exporter.collectors.assets.habits import MEMBERS, habits

if TYPE_CHECKING:
    from datetime import tzinfo

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

USERS = f"""
    WITH
        {MEMBERS.strip()},
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


def learn_usage(query: Query, assets: pa.Table, default_zone: str, now: datetime) -> pa.Table:
    """Return rows of USAGE for the assets that are known to be used or not; ``now`` is UTC, naive."""
    named = assets.column("time_zone").unique().to_pylist()
    zones = {name: zone_of(name, default_zone) for name in named}
    users = query(USERS, {"state": assets}, now=now)
    return _joined(users, habits(query, assets, zones, now))


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


def _joined(users: pa.Table, expected: Mapping[tuple[str, str], list[float]]) -> pa.Table:
    """Return rows of USAGE."""
    names = ("asset_type", "asset_id", "users_7d", "users_30d")
    rows = zip(*(users.column(name).to_pylist() for name in names), strict=True)
    counts = {(kind, luid): (week, month) for kind, luid, week, month in rows}
    keys = sorted(counts.keys() | expected.keys())
    return pa.table(
        [
            [kind for kind, _ in keys],
            [luid for _, luid in keys],
            [counts.get(key, (None, None))[0] for key in keys],
            [counts.get(key, (None, None))[1] for key in keys],
            [expected.get(key, []) for key in keys],
        ],
        schema=USAGE,
    )
