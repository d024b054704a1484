"""Licensed users who have not signed in for some time, and how many users of each type a site may have."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from exporter.collector import Context, personal, relation
from exporter.collectors._arrow import Instants, instants, texts
from exporter.metrics import Block, Family, Labels, Value

if TYPE_CHECKING:
    import pyarrow as pa

DAY_SECONDS = 86_400.0
INACTIVE_DAYS = (30, 90, 180)
UNLICENSED = frozenset({"unlicensed", "guest"})
"""Site roles without a licence, in lower case."""
INACTIVE_USERS = "inactive users"
"""The page: ``StateHistory.page``."""


@dataclass(frozen=True)
class LicensedUser:
    """A user with a licence on a site; ``seen_at`` is the last sign-in, without one when the user was created."""

    site_id: int | None
    site_role: str | None
    signed_in_at: datetime | None
    seen_at: datetime | None
    user: str | None = personal()
    user_name: str | None = personal(pseudonymous=False)


@dataclass(frozen=True)
class Capacity:
    """How many users of each type a site may have; NULL without a limit."""

    site_id: int
    creator: int | None
    explorer: int | None
    viewer: int | None


USERS_READS = (
    relation(
        "users",
        "id bigint, site_id bigint",
        "site_role_id bigint, system_user_id bigint, login_at timestamp, created_at timestamp",
        optional=True,
    ),
    relation("site_roles", "id bigint, name text", "display_name text", optional=True),
    relation("system_users", "id bigint, name text", "friendly_name text", optional=True),
)
USERS_SQL = """
    SELECT
        users.site_id AS site_id,
        coalesce(nullif(site_roles.display_name, ''), site_roles.name) AS site_role,
        users.login_at AS signed_in_at,
        coalesce(users.login_at, users.created_at) AS seen_at,
        system_users.name AS "user",
        nullif(system_users.friendly_name, '') AS user_name
    FROM users
    JOIN site_roles ON site_roles.id = users.site_role_id
    LEFT JOIN system_users ON system_users.id = users.system_user_id
    WHERE lower(site_roles.name) NOT IN ('unlicensed', 'guest')
"""
INACTIVE_PAGE_SQL = f"""
    SELECT
        site_id AS site_id,
        NULL::VARCHAR AS project,
        site_role AS kind,
        NULL::VARCHAR AS name,
        NULL::VARCHAR AS reason,
        epoch(signed_in_at) AS happens_at,
        NULL::DOUBLE AS used_at,
        "user" AS "user",
        user_name AS user_name
    FROM state
    WHERE seen_at < $now::TIMESTAMP - INTERVAL {INACTIVE_DAYS[0]} DAY
    ORDER BY seen_at, site_id, "user"
"""

SEATS_READS = (
    relation(
        "sites",
        "id bigint",
        "tier_author_capacity bigint, tier_interactor_capacity bigint, tier_basic_user_capacity bigint",
    ),
)
SEATS_SQL = """
    SELECT
        sites.id AS site_id,
        sites.tier_author_capacity AS creator,
        sites.tier_interactor_capacity AS explorer,
        sites.tier_basic_user_capacity AS viewer
    FROM sites
"""

INACTIVE = Family(
    "tableau_inactive_users",
    "gauge",
    "Licensed users who have not signed in to the site for so many days, or never since they were created, cumulative;"
    " from the repository every hour, or Admin Insights every day.",
    ("site", "site_role", "days"),
    "repository: users, site_roles; Admin Insights: TS Users",
)
SEATS = Family(
    "tableau_licensed_seats",
    "gauge",
    "Licences that the site may give to its users, by type of licence; from the repository every hour where there is"
    " a limit, or Admin Insights every day.",
    ("site", "site_role"),
    "repository: sites; Admin Insights: TS Users",
)


def expose_inactive(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Count the users whose last sign-in is too long ago; a user without a known instant is not counted."""
    sites = [context.site(site_id) for site_id in rows.column("site_id").to_pylist()]
    return [inactive(sites, texts(rows, "site_role"), instants(rows, "seen_at"))]


def inactive(sites: Sequence[str], roles: Sequence[str], seen_at: Instants) -> Block:
    """Return the numbers of each site and role, from when each user was last seen (Unix seconds); NaN is unknown."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, key in enumerate(zip(sites, roles, strict=True)):
        places.setdefault(key, []).append(place)
    of_role = {key: seen for key, found in places.items() if not np.isnan(seen := seen_at[found]).all()}

    def counted(now: float) -> Sequence[Value]:
        return [int(np.sum(seen < now - days * DAY_SECONDS)) for seen in of_role.values() for days in INACTIVE_DAYS]

    keys = [(*key, str(days)) for key in of_role for days in INACTIVE_DAYS]
    return Block(INACTIVE, Labels.of(INACTIVE.labels, keys), counted)


def expose_seats(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Return the limits that are set; NULL, 0 and negative numbers are none."""
    found = {
        (context.site(row["site_id"]), kind.capitalize()): row[kind]
        for row in rows.to_pylist()
        for kind in ("creator", "explorer", "viewer")
        if (row[kind] or 0) > 0
    }
    return [Block(SEATS, Labels.of(SEATS.labels, found), list(found.values()))]
