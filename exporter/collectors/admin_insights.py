"""Admin Insights of Tableau Cloud: every event of a site, licences and tokens, as of its daily refresh."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Collector, Count, Events, InsightsHooks, personal
from exporter.collectors._arrow import instants, texts
from exporter.collectors.events import MOST_TYPES, TOTAL
from exporter.collectors.licences.credentials import TOKEN_EXPIRY
from exporter.collectors.licences.users import INACTIVE, SEATS, UNLICENSED, inactive
from exporter.collectors.users import REST_ROLES
from exporter.metrics import Block, Family, Labels, Value

SOURCE = "Admin Insights"


@dataclass(frozen=True)
class Event:
    """A row of TS Events: who did what with which content, as its captions are called."""

    event_id: int
    event_date: datetime
    event_name: str | None
    event_type: str | None
    site_luid: str | None
    actor_user_id: int | None
    actor_license_role: str | None
    actor_site_role: str | None
    item_type: str | None
    item_id: int | None
    item_luid: str | None
    item_name: str | None
    item_repository_url: str | None
    workbook_name: str | None
    project_name: str | None
    admin_insights_published_at: datetime | None
    actor_user_name: str | None = personal()
    item_owner_email: str | None = personal(pseudonymous=False)


@dataclass(frozen=True)
class User:
    """A row of TS Users; ``user_license_type`` is Creator, Explorer or Viewer, of which so many are allowed."""

    user_luid: str
    user_site_role: str | None
    user_license_type: str | None
    last_login_date: datetime | None
    total_allowed_licenses: int | None
    admin_insights_published_at: datetime | None


@dataclass(frozen=True)
class Job:
    """A row of Job Performance."""

    job_luid: str
    job_type: str | None
    job_result: str | None
    final_job_result: str | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True)
class Token:
    """A row of Tokens: a personal access token."""

    pat_name: str
    expires_at: datetime | None


@dataclass(frozen=True)
class InsightsSource:
    """A data source of Admin Insights: its rows, the caption of each field, and the fields it is queried by.

    ``unique`` identifies a row, and is always queried: rows are grouped otherwise. ``dated`` is a field of days.
    """

    name: str
    row: type
    captions: Mapping[str, str]
    unique: str
    dated: str | None = None
    numbered: bool = False
    """Whether the unique field is a number, by which a single day can be halved."""

    @property
    def required(self) -> frozenset[str]:
        """The fields without which its rows mean nothing."""
        return frozenset({self.unique, *([self.dated] if self.dated else [])})


_WORDS = {"luid": "LUID", "pat": "PAT"}
# Captions that are not written like the others.
_OTHERS = {"site_luid": "Site Luid"}


def _captions(row: type) -> dict[str, str]:
    """Return the caption of each field: ``item_luid`` is ``Item LUID``."""
    names = [field.name for field in fields(row)]
    return {
        name: _OTHERS.get(name) or " ".join(_WORDS.get(word, word.capitalize()) for word in name.split("_"))
        for name in names
    }


PUBLISHED_AT = "admin_insights_published_at"
EVENTS = InsightsSource("TS Events", Event, _captions(Event), "event_id", "event_date", numbered=True)
USERS = InsightsSource("TS Users", User, _captions(User), "user_luid")
JOBS = InsightsSource("Job Performance", Job, _captions(Job), "job_luid", "created_at")
TOKENS = InsightsSource("Tokens", Token, _captions(Token), "pat_name")
SOURCES = (EVENTS, USERS, JOBS, TOKENS)


@dataclass(frozen=True)
class InsightsEvent:
    """An event as it is archived; ``id`` is a hash of its site's LUID and its Event Id, ``site_id`` of the LUID."""

    id: int
    event_date: datetime
    event_id: int
    event_name: str | None
    event_type: str | None
    site_id: int
    site_luid: str | None
    actor_user_id: int | None
    actor_user_name: str | None
    actor_license_role: str | None
    actor_site_role: str | None
    item_type: str | None
    item_id: int | None
    item_luid: str | None
    item_name: str | None
    item_repository_url: str | None
    item_owner_email: str | None
    workbook_name: str | None
    project_name: str | None
    admin_insights_published_at: datetime | None


SQL = """
    SELECT
        id AS id,
        event_date AS event_date,
        event_id AS event_id,
        event_name AS event_name,
        event_type AS event_type,
        site_id AS site_id,
        site_luid AS site_luid,
        actor_user_id AS actor_user_id,
        actor_user_name AS actor_user_name,
        actor_license_role AS actor_license_role,
        actor_site_role AS actor_site_role,
        item_type AS item_type,
        item_id AS item_id,
        item_luid AS item_luid,
        item_name AS item_name,
        item_repository_url AS item_repository_url,
        item_owner_email AS item_owner_email,
        workbook_name AS workbook_name,
        project_name AS project_name,
        admin_insights_published_at AS admin_insights_published_at
    FROM insights
"""

REFRESHED = Family(
    "tableau_admin_insights_refresh_timestamp_seconds",
    "gauge",
    "The newest refresh of Admin Insights of which every event is in the history; from Admin Insights every day.",
    ("site",),
    f"{SOURCE}: {EVENTS.name}",
)
# What is no content may be a person, whose name an item has.
CONTENT_TYPES = ("View", "Workbook", "Data Source", "Datasource", "Flow", "Project", "Metric", "Virtual Connection")
TOKEN_KIND = "personal_access_token"  # noqa: S105 - a label


def expose_users(site: str, rows: pa.Table, now: float) -> Sequence[Block]:
    """Return the seats of each type of licence, which each of its users has, and the users who do not sign in."""
    del now
    has_type, has_seats = (rows.column(name).is_valid() for name in ("user_license_type", "total_allowed_licenses"))
    known = rows.filter(pc.and_(has_type, has_seats))
    most = known.group_by("user_license_type", use_threads=False).aggregate([("total_allowed_licenses", "max")])
    types, seats = most.column("user_license_type").to_pylist(), most.column("total_allowed_licenses_max").to_pylist()
    roles = rows.column("user_site_role")
    licensed = rows.filter(pc.invert(pc.is_in(pc.utf8_lower(roles), pa.array([*sorted(UNLICENSED), None]))))
    named = [REST_ROLES.get(role, role) for role in texts(licensed, "user_site_role")]
    return [
        Block(SEATS, Labels(SEATS.labels, ([site] * len(types), types)), seats),
        inactive([site] * licensed.num_rows, named, instants(licensed, "last_login_date")),
    ]


def expose_tokens(site: str, rows: pa.Table, now: float) -> Sequence[Block]:
    """Return when the next token expires."""
    del now
    found = [at.replace(tzinfo=UTC).timestamp() for at in rows.column("expires_at").to_pylist() if at is not None]

    def next_expiry(now: float) -> Sequence[Value]:
        return [min((at for at in found if at > now), default=None)]

    return [Block(TOKEN_EXPIRY, Labels(TOKEN_EXPIRY.labels, ([site], [TOKEN_KIND])), next_expiry)]


def expose_refreshed(published: Mapping[str, float]) -> Sequence[Block]:
    """Expose the refresh of each site (Unix seconds)."""
    return [Block(REFRESHED, Labels(REFRESHED.labels, [list(published)]), list(published.values()))]


COLLECTOR = Collector(
    "admin_insights",
    "Admin Insights of Tableau Cloud, once a day: events, each archived and counted once, licences and tokens.",
    insights=InsightsHooks(
        events=(
            Events(
                table="insights_events",
                reads=(),
                row=InsightsEvent,
                folds=(
                    Count(
                        TOTAL,
                        {"site": "site", "action_type": "event_type", "event": "event_name"},
                        busiest=MOST_TYPES,
                    ),
                ),
                key=("id", "event_date"),
                sql=SQL,
            ),
        ),
        expose_users=expose_users,
        expose_tokens=expose_tokens,
        expose_refreshed=expose_refreshed,
        beside=frozenset(),
    ),
    families=(INACTIVE, SEATS, TOKEN_EXPIRY, REFRESHED),
)
