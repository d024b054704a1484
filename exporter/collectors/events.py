"""Events: who signed in, downloaded, exported, published, deleted, changed owners or permissions (the audit log)."""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import (
    Collector,
    Count,
    Events,
    LookedUp,
    State,
    StateHistory,
    free_text,
    personal,
    relation,
)
from exporter.metrics import Family


@dataclass(frozen=True)
class Event:
    """An event of the audit log, with the names that its actor and its content had then.

    Tableau keeps a row of ``hist_*`` for each state of a user or of content: the names are those of the time.
    ``site_id`` is the site of the content, without one that of the actor; ``is_failure`` is not kept by every event.
    """

    id: int
    created_at: datetime
    historical_event_type_id: int | None
    event: str | None
    action_type: str | None
    is_failure: bool | None
    worker: str | None
    site_id: int | None
    project_id: int | None
    project: str | None
    workbook_id: int | None
    workbook: str | None
    view_id: int | None
    view: str | None
    datasource_id: int | None
    datasource: str | None
    actor_user_id: int | None = personal()
    actor: str | None = personal()
    target_user_id: int | None = personal()
    target_user: str | None = personal()
    details: str | None = free_text()


EVENTS = relation(
    "historical_events",
    "id bigint, created_at timestamp, historical_event_type_id bigint",
    "is_failure boolean, worker text, details text, hist_actor_user_id bigint, hist_target_user_id bigint,"
    " hist_actor_site_id bigint, hist_target_site_id bigint, hist_project_id bigint, hist_workbook_id bigint,"
    " hist_view_id bigint, hist_datasource_id bigint",
    optional=True,
)
TYPES = relation("historical_event_types", "type_id bigint", "name text, action_type text", optional=True)
NAMES = (
    relation("hist_sites", "id bigint, site_id bigint", optional=True),
    relation("hist_users", "id bigint", "user_id bigint, name text", optional=True),
    relation("hist_projects", "id bigint", "project_id bigint, name text", optional=True),
    relation("hist_workbooks", "id bigint", "workbook_id bigint, name text", optional=True),
    relation("hist_views", "id bigint", "view_id bigint, name text", optional=True),
    relation("hist_datasources", "id bigint", "datasource_id bigint, name text", optional=True),
)


def _type(column: str) -> LookedUp:
    return LookedUp("historical_event_types", column, ("historical_event_type_id",), "type_id", small=True)


LOOKED_UP = {
    "event": _type("name"),
    "action_type": _type("action_type"),
    "site_id": LookedUp("hist_sites", "site_id", ("hist_target_site_id", "hist_actor_site_id")),
    "actor_user_id": LookedUp("hist_users", "user_id", ("hist_actor_user_id",)),
    "actor": LookedUp("hist_users", "name", ("hist_actor_user_id",)),
    "target_user_id": LookedUp("hist_users", "user_id", ("hist_target_user_id",)),
    "target_user": LookedUp("hist_users", "name", ("hist_target_user_id",)),
    **{
        name: LookedUp(f"hist_{kind}s", column, (f"hist_{kind}_id",))
        for kind in ("project", "workbook", "view", "datasource")
        for name, column in ((f"{kind}_id", f"{kind}_id"), (kind, "name"))
    },
}

TOTAL = Family(
    "tableau_events_total",
    "counter",
    "Events since the history was created, by type and name as Tableau names them; from the repository's audit log at"
    " every poll, and of Tableau Cloud from Admin Insights every day.",
    ("site", "action_type", "event"),
    "repository: historical_events; Admin Insights: TS Events",
)
MOST_TYPES = 1000
"""How many series are published: Tableau has some two hundred types of events."""


@dataclass(frozen=True)
class EventType:
    """A kind of events."""

    type_id: int
    name: str | None
    action_type: str | None


TYPES_SQL = """
    SELECT
        historical_event_types.type_id AS type_id,
        historical_event_types.name AS name,
        historical_event_types.action_type AS action_type
    FROM historical_event_types
"""

# A page has what is of use to a reader; all of the rest is answered by `history query`.
LATEST = """
    SELECT id, created_at, site_id, action_type, event, is_failure, actor_user_id, actor, target_user, project,
        workbook, view, datasource
    FROM events
    WHERE created_at BETWEEN $now::TIMESTAMP - INTERVAL 7 DAY AND $now::TIMESTAMP + INTERVAL 1 DAY
    ORDER BY created_at DESC, id DESC
    LIMIT 5000
"""
PAGE_SECONDS = 60.0

COLLECTOR = Collector(
    "events",
    "Events of the audit log: downloads, exports, deletions, publications, changes of owner and permission.",
    events=Events(
        table="events",
        reads=(EVENTS, TYPES, *NAMES),
        row=Event,
        folds=(Count(TOTAL, {"site": "site", "action_type": "action_type", "event": "event"}, busiest=MOST_TYPES),),
        looked_up=LOOKED_UP,
    ),
    states=(
        State(
            EventType,
            (TYPES,),
            TYPES_SQL,
            every="exact",
            history=StateHistory(page="events", page_sql=LATEST, page_seconds=PAGE_SECONDS),
        ),
    ),
)
