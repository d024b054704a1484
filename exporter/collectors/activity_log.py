"""Events of Tableau Cloud's Activity Log, of every type; what is understood of them other collectors archive too."""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import Collector, Count, Events
from exporter.metrics import Family


@dataclass(frozen=True)
class ActivityEvent:
    """An event: the fields that all types have, and the others as JSON (``details``).

    ``id`` is a hash of what makes it one event, ``site_id`` a hash of its site's LUID.
    """

    id: int
    event_time: datetime
    event_processed_time: datetime | None
    event_type: str
    event_outcome: str | None
    event_outcome_reason: str | None
    actor_user_id: int | None
    actor_user_luid: str | None
    initiating_user_id: int | None
    initiating_user_luid: str | None
    licensing_role_name: str | None
    site_luid: str | None
    site_role_id: int | None
    system_admin_level: int | None
    site_id: int
    details: str | None


SQL = """
    SELECT
        id AS id,
        event_time AS event_time,
        event_processed_time AS event_processed_time,
        event_type AS event_type,
        event_outcome AS event_outcome,
        event_outcome_reason AS event_outcome_reason,
        actor_user_id AS actor_user_id,
        actor_user_luid AS actor_user_luid,
        initiating_user_id AS initiating_user_id,
        initiating_user_luid AS initiating_user_luid,
        licensing_role_name AS licensing_role_name,
        site_luid AS site_luid,
        site_role_id AS site_role_id,
        system_admin_level AS system_admin_level,
        site_id AS site_id,
        details AS details
    FROM activity
"""

SOURCE = "activity log"
# Types of events are Tableau's own words, some fifty of them.
MOST_TYPES = 1000

EVENTS = Family(
    "tableau_activity_log_events_total",
    "counter",
    "Events archived since the history was created, by type; from the Activity Log at every poll.",
    ("site", "event_type"),
    SOURCE,
)
FILES = Family(
    "tableau_activity_log_files_total",
    "counter",
    "Files of events archived since the history was created; from the Activity Log at every poll.",
    ("site",),
    SOURCE,
)
REJECTED = Family(
    "tableau_activity_log_rejected_lines_total",
    "counter",
    "Lines of files that are no event since the history was created; from the Activity Log at every poll.",
    ("site",),
    SOURCE,
)
NEWEST = Family(
    "tableau_activity_log_newest_event_timestamp_seconds",
    "gauge",
    "Time of the newest event in the history; from the Activity Log at every poll.",
    ("site",),
    SOURCE,
)

COLLECTOR = Collector(
    "activity_log",
    "Events of Tableau Cloud's Activity Log, each archived and counted once.",
    activity=(
        Events(
            table="activity_events",
            reads=(),
            row=ActivityEvent,
            folds=(Count(EVENTS, {"site": "site", "event_type": "event_type"}, busiest=MOST_TYPES),),
            key=("id", "event_time"),
            sql=SQL,
        ),
    ),
    families=(FILES, REJECTED, NEWEST),
)
