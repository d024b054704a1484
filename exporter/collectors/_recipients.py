"""SQL that subscriptions and data alerts share: the project of each workbook, and the users who wait for a delivery.

``UNDELIVERED`` is the page that lists what is not delivered; ``page_sql`` is the query of each state for it.
"""

from exporter.collector import relation
from exporter.collectors._projects import PATHS, PLACES, PROJECTS, PROJECTS_CONTENTS

UNDELIVERED = "undelivered"

CONTENT_READS = (
    relation(
        "workbooks",
        "id bigint",
        "name text, project_id bigint",
        optional=True,
        newer={"2021.2": "is_private boolean"},
    ),
    relation("views", "id bigint, workbook_id bigint", "name text", optional=True),
    PROJECTS,
    PROJECTS_CONTENTS,
)
USER_READS = (
    relation("users", "id bigint, system_user_id bigint, site_id bigint", optional=True),
    relation("system_users", "id bigint, name text", "friendly_name text, email text", optional=True),
)

LOCATED = f"""
    {PATHS},
    {PLACES},
    located AS (
        SELECT
            workbooks.id AS workbook_id,
            workbooks.name AS name,
            CASE WHEN workbooks.is_private THEN 'Personal Space' ELSE coalesce(paths.path, projects.name) END AS project
        FROM workbooks
        LEFT JOIN places ON places.content_type = 'workbook' AND places.content_id = workbooks.id
        LEFT JOIN projects ON projects.id = coalesce(places.project_id, workbooks.project_id)
        LEFT JOIN paths ON paths.id = projects.id
    )
"""


def page_sql(kind: str) -> str:
    """Return the query for the page: the rows that are failing or suspended, of a kind that the page names."""
    return f"""
        SELECT
            '{kind}' AS kind,
            site_id AS site_id,
            project AS project,
            name AS name,
            content AS content_name,
            state AS state,
            consecutive_failures AS consecutive_failures,
            epoch(last_sent_at) AS last_sent_at,
            recipient AS recipient,
            recipient_name AS recipient_name,
            recipient_email AS recipient_email
        FROM state
        WHERE state IN ('failing', 'suspended')
        ORDER BY site_id, project, name, recipient
    """
