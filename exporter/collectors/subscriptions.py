"""Subscriptions of each site and project: how many are sent, fail, or were suspended by Tableau.

The state is that of the subscription's task (``SingleSubscriptionTask``). One that a person disabled, and one without a
task, has none, and is not counted. Before 2019.4 the repository has no column for suspended tasks: there a suspended
subscription is a failing one. The repository of 2019.3 has no column for the content either: there is no project.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from exporter.collector import Collector, Context, RestHooks, State, StateHistory, personal, relation
from exporter.collectors._arrow import texts, values
from exporter.collectors._recipients import CONTENT_READS, LOCATED, UNDELIVERED, USER_READS, page_sql
from exporter.inventory import Inventory
from exporter.metrics import Block, Family, Labels

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Subscription:
    """A subscription of one user; ``state`` is active, failing or suspended, ``content`` the name of view or workbook.

    The names of the user are held in memory alone, and are in no family.
    """

    id: int
    site_id: int | None
    project: str | None
    name: str | None
    content: str | None
    state: str | None
    consecutive_failures: int | None
    last_sent_at: datetime | None
    recipient: str | None = personal()
    recipient_name: str | None = personal(pseudonymous=False)
    recipient_email: str | None = personal(pseudonymous=False)


READS = (
    relation(
        "subscriptions",
        "id bigint, site_id bigint",
        "subject text, user_id bigint, last_sent timestamp",
        optional=True,
        newer={"2021.2": "target_type text, target_id bigint"},
    ),
    relation(
        "tasks",
        "id bigint, type text, obj_id bigint",
        "active boolean, consecutive_failure_count bigint",
        optional=True,
        newer={"2021.2": "state bigint"},
    ),
    *CONTENT_READS,
    *USER_READS,
)

# tasks.state: 0 is active, 1 suspended, 2 disabled.
SQL = f"""
    WITH RECURSIVE {LOCATED},
    sending AS (
        SELECT DISTINCT ON (obj_id)
            obj_id AS subscription_id,
            CASE
                WHEN state = 1 THEN 'suspended'
                WHEN state = 2 THEN NULL
                WHEN consecutive_failure_count > 0 THEN 'failing'
                WHEN active IS NOT FALSE AND consecutive_failure_count = 0 THEN 'active'
            END AS state,
            consecutive_failure_count AS failures
        FROM tasks
        WHERE lower(type) = 'singlesubscriptiontask'
        ORDER BY obj_id, id DESC
    )
    SELECT
        subscriptions.id AS id,
        subscriptions.site_id AS site_id,
        located.project AS project,
        subscriptions.subject AS name,
        coalesce(views.name, located.name) AS content,
        sending.state AS state,
        sending.failures AS consecutive_failures,
        subscriptions.last_sent AS last_sent_at,
        system_users.name AS recipient,
        nullif(system_users.friendly_name, '') AS recipient_name,
        nullif(system_users.email, '') AS recipient_email
    FROM subscriptions
    LEFT JOIN sending ON sending.subscription_id = subscriptions.id
    LEFT JOIN views ON lower(subscriptions.target_type) = 'view' AND views.id = subscriptions.target_id
    LEFT JOIN located ON located.workbook_id = coalesce(
        views.workbook_id,
        CASE WHEN lower(subscriptions.target_type) = 'workbook' THEN subscriptions.target_id END
    )
    LEFT JOIN users ON users.id = subscriptions.user_id
    LEFT JOIN system_users ON system_users.id = users.system_user_id
"""

SUBSCRIPTIONS = Family(
    "tableau_subscriptions",
    "gauge",
    "Subscriptions of the project by state (active, failing, suspended), without disabled ones; from the repository at"
    " every exact poll, without one the suspended ones of the site from the REST API.",
    ("site", "project", "state"),
    "repository: subscriptions, tasks; REST: subscriptions",
)
FAILURES = Family(
    "tableau_subscription_consecutive_failures",
    "gauge",
    "Most consecutive failures of a subscription of the project that is active or failing; from the repository at every"
    " exact poll.",
    ("site", "project"),
    "repository: subscriptions, tasks",
)


def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Count the subscriptions of each project by state, and find the most failures of those that are not suspended."""
    places = [context.site(site_id) for site_id in rows.column("site_id").to_pylist()], texts(rows, "project")
    counts: Counter[tuple[str, str, str]] = Counter()
    most: dict[tuple[str, str], float] = {}
    for site, project, state, failures in zip(
        *places, texts(rows, "state"), values(rows, "consecutive_failures"), strict=True
    ):
        if state:
            counts[site, project, state] += 1
        if state in {"active", "failing"} and failures is not None:
            most[site, project] = max(failures, most.get((site, project), 0))
    return [
        Block(SUBSCRIPTIONS, Labels.of(SUBSCRIPTIONS.labels, counts), list(counts.values())),
        Block(FAILURES, Labels.of(FAILURES.labels, most), list(most.values())),
    ]


def expose_inventory(inventory: Inventory) -> Sequence[Block]:
    """Count the subscriptions that the REST API lists as suspended; it has neither their failures nor their project."""
    listed = inventory.listed.get("subscriptions")
    suspended = [flag for flag in values(listed, "suspended") if flag is not None] if listed is not None else []
    if not suspended:
        return ()
    labels = Labels(SUBSCRIPTIONS.labels, ([inventory.site], [""], ["suspended"]))
    return [Block(SUBSCRIPTIONS, labels, [sum(suspended)])]


COLLECTOR = Collector(
    "subscriptions",
    "Subscriptions of each site and project, and those that fail or were suspended.",
    states=(
        State(
            Subscription,
            READS,
            SQL,
            (SUBSCRIPTIONS, FAILURES),
            expose,
            "exact",
            StateHistory(page=UNDELIVERED, page_sql=page_sql("subscription")),
        ),
    ),
    rest=RestHooks(expose_inventory, wants=frozenset({"subscriptions"})),
)
