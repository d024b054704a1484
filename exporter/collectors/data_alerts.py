"""Data alerts of each site and project: how many are checked, fail, or were suspended.

``suspend_state`` is 0 where an alert is not suspended, 1 where Tableau suspended it, 2 where a user did. Another number
is unknown, and is not counted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from exporter.collector import Collector, Context, State, StateHistory, personal, relation
from exporter.collectors._arrow import texts
from exporter.collectors._recipients import CONTENT_READS, LOCATED, UNDELIVERED, USER_READS, page_sql
from exporter.metrics import Block, Family, Labels

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DataAlert:
    """A data alert; ``state`` is active, failing, suspended (by Tableau) or suspended_by_user."""

    id: int
    site_id: int | None
    project: str | None
    state: str | None


@dataclass(frozen=True)
class DataAlertRecipient:
    """A user who waits for a data alert that fails or that Tableau suspended; a group of users has no name here.

    The names of the user are held in memory alone, and are in no family.
    """

    site_id: int | None
    project: str | None
    name: str | None
    content: str | None
    state: str
    consecutive_failures: int | None
    last_sent_at: datetime | None
    recipient: str | None = personal()
    recipient_name: str | None = personal(pseudonymous=False)
    recipient_email: str | None = personal(pseudonymous=False)


DATA_ALERTS = relation(
    "data_alerts",
    "id bigint, site_id bigint, suspend_state bigint",
    "failure_count bigint, title text, workbook_id bigint, view_id bigint",
    optional=True,
)
RECIPIENTS = relation(
    "data_alerts_recipients",
    "data_alert_id bigint, recipient_id bigint, recipient_type text",
    "last_sent timestamp",
    optional=True,
)

_STATED = """
    stated AS (
        SELECT
            id AS id,
            site_id AS site_id,
            title AS title,
            workbook_id AS workbook_id,
            view_id AS view_id,
            failure_count AS failures,
            CASE
                WHEN suspend_state = 1 THEN 'suspended'
                WHEN suspend_state = 2 THEN 'suspended_by_user'
                WHEN suspend_state = 0 AND failure_count > 0 THEN 'failing'
                WHEN suspend_state = 0 AND failure_count = 0 THEN 'active'
            END AS state
        FROM data_alerts
    )
"""
_FROM = """
    FROM stated
    LEFT JOIN views ON views.id = stated.view_id
    LEFT JOIN located ON located.workbook_id = coalesce(views.workbook_id, stated.workbook_id)
"""
SQL = f"""
    WITH RECURSIVE {LOCATED}, {_STATED}
    SELECT
        stated.id AS id,
        stated.site_id AS site_id,
        located.project AS project,
        stated.state AS state
    {_FROM}
"""
RECIPIENTS_SQL = f"""
    WITH RECURSIVE {LOCATED}, {_STATED}
    SELECT
        stated.site_id AS site_id,
        located.project AS project,
        stated.title AS name,
        coalesce(views.name, located.name) AS content,
        stated.state AS state,
        stated.failures AS consecutive_failures,
        waiting.last_sent AS last_sent_at,
        system_users.name AS recipient,
        nullif(system_users.friendly_name, '') AS recipient_name,
        nullif(system_users.email, '') AS recipient_email
    {_FROM}
    LEFT JOIN data_alerts_recipients AS waiting ON waiting.data_alert_id = stated.id
    LEFT JOIN users
        ON lower(waiting.recipient_type) = 'user'
        AND users.id = waiting.recipient_id
        AND users.site_id = stated.site_id
    LEFT JOIN system_users ON system_users.id = users.system_user_id
    WHERE stated.state IN ('failing', 'suspended')
"""

COUNT = Family(
    "tableau_data_alerts",
    "gauge",
    "Data alerts of the project by state (active, failing, suspended by Tableau, suspended_by_user); from the"
    " repository at every exact poll.",
    ("site", "project", "state"),
    "repository: data_alerts",
)


def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Count the data alerts of each project by state."""
    sites = [context.site(site_id) for site_id in rows.column("site_id").to_pylist()]
    keys = zip(sites, texts(rows, "project"), texts(rows, "state"), strict=True)
    counts = Counter(key for key in keys if key[2])
    return [Block(COUNT, Labels.of(COUNT.labels, counts), list(counts.values()))]


COLLECTOR = Collector(
    "data_alerts",
    "Data alerts of each site and project, and those that fail or were suspended.",
    states=(
        State(DataAlert, (DATA_ALERTS, *CONTENT_READS), SQL, (COUNT,), expose, "exact"),
        State(
            DataAlertRecipient,
            (DATA_ALERTS, RECIPIENTS, *CONTENT_READS, *USER_READS),
            RECIPIENTS_SQL,
            every="exact",
            history=StateHistory(page=UNDELIVERED, page_sql=page_sql("data alert")),
        ),
    ),
)
