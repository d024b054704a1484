"""Logins: the repository keeps only the latest of each user on a site, so that each poll may find a new one."""

from dataclasses import dataclass, replace
from datetime import datetime

from exporter.collector import Collector, Count, Events, InsightsHooks, personal, relation
from exporter.metrics import Family


@dataclass(frozen=True)
class Login:
    """One login of a person on a site, with the person's names at that time."""

    user_id: int
    system_user_id: int | None
    login_at: datetime
    site_id: int | None
    name: str | None = personal()
    friendly_name: str | None = personal()


READS = (
    relation("users", "id bigint, login_at timestamp, site_id bigint, system_user_id bigint"),
    relation("system_users", "id bigint, name text", "friendly_name text"),
)

SQL = """
    SELECT
        users.id AS user_id,
        users.system_user_id AS system_user_id,
        users.login_at AS login_at,
        users.site_id AS site_id,
        system_users.name AS name,
        system_users.friendly_name AS friendly_name
    FROM users
    LEFT JOIN system_users ON system_users.id = users.system_user_id
    WHERE users.login_at IS NOT NULL
"""

# A login whose outcome is not known is not counted. Where nobody may be identified each login has a number of its own.
CLOUD_SQL = """
    SELECT
        coalesce(actor_user_id, -abs(id)) AS user_id,
        NULL AS system_user_id,
        event_time AS login_at,
        site_id AS site_id,
        NULL AS name,
        NULL AS friendly_name
    FROM (
        SELECT
            *,
            json_transform(details, '{"isError": "VARCHAR", "statusCode": "VARCHAR"}') AS fields
        FROM activity
        WHERE event_type = 'login_authentication'
    )
    WHERE CASE
        WHEN event_outcome IS NOT NULL THEN lower(event_outcome) = 'success'
        WHEN fields.isError IS NOT NULL THEN lower(fields.isError) = 'false'
        ELSE fields.statusCode IN ('0', '200')
    END
"""

LOGINS = Family(
    "tableau_logins_total",
    "counter",
    "Logins since the history was created, of which the repository keeps only each user's last; from the repository"
    " at every poll; of Tableau Cloud those that succeeded, from the Activity Log, without it from Admin Insights every"
    " day.",
    ("site",),
    "repository: users; activity log; Admin Insights: TS Events",
)

CLOUD_LOGINS = Events(
    table="logins",
    reads=(),
    row=Login,
    folds=(Count(LOGINS, {"site": "site"}),),
    key=("user_id", "login_at"),
    sql=CLOUD_SQL,
)

INSIGHTS_SQL = """
    SELECT
        coalesce(actor_user_id, -abs(id)) AS user_id,
        NULL AS system_user_id,
        event_date AS login_at,
        site_id AS site_id,
        actor_user_name AS name,
        NULL AS friendly_name
    FROM insights
    WHERE event_name = 'Login'
"""

COLLECTOR = Collector(
    "logins",
    "Logins, each archived once: the repository keeps only the last login of each user.",
    events=Events(
        table="logins",
        reads=READS,
        row=Login,
        folds=(Count(LOGINS, {"site": "site"}),),
        key=("user_id", "login_at"),
        sql=SQL,
    ),
    activity=(CLOUD_LOGINS,),
    insights=InsightsHooks(events=(replace(CLOUD_LOGINS, sql=INSIGHTS_SQL),)),
)
