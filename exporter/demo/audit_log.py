"""Events of the audit log: their types, the ``hist_*`` rows that name who and what, and 30 days of them.

The words are those of Admin Insights and Tableau's own spelling errors; the product depends on none of them
(docs/decisions/0024-audit-log.md).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from random import Random

from exporter.demo.draft import Draft
from exporter.demo.rows import Row

# By kind of content; Tableau writes its type's number, and its numbers have gaps.
TYPES = (
    (1, "Login", "Access", ""),
    (4, "Access View", "Access", "view"),
    (13, "Download Workbook", "Access", "workbook"),
    (14, "Export View Data", "Access", "view"),
    (15, "Download Data Source", "Access", "datasource"),
    (31, "Publish Workbook", "Publish", "workbook"),
    (32, "Publish Data Source", "Publish", "datasource"),
    (41, "Update Workbook Onwer", "Update", "workbook"),
    (42, "Update Permissions", "Update", "project"),
    (51, "Delete Workbook", "Delete", "workbook"),
    (52, "Delete Data Source", "Delete", "datasource"),
)
WEIGHTS = (30, 40, 6, 5, 2, 5, 3, 1, 2, 1, 1)
TABLES = {"workbook": "workbooks", "view": "views", "datasource": "datasources", "project": "projects"}
REFERENCES = ("hist_project_id", "hist_workbook_id", "hist_view_id", "hist_datasource_id", "hist_target_user_id")
EVENTS_A_DAY = 12
DAYS = 30
TOKEN = "CANARY-secret"  # noqa: S105 - no secret, but the trace of one


def audit_log(draft: Draft) -> None:
    """Fill historical_event_types, historical_events and the hist_* tables; users and content must exist."""
    for number, name, action, _ in TYPES:
        row = draft.add("historical_event_types", {"type_id": number, "name": name, "action_type": action})
        del row["id"]
    _names(draft)
    instants = sorted(draft.ago(0, DAYS) for _ in range(EVENTS_A_DAY * DAYS))
    for at in instants:
        draft.add("historical_events", event(draft.tables, draft.random, at))


def event(tables: Mapping[str, Sequence[Row]], random: Random, at: datetime) -> Row:
    """Return an event of a random user: a row without its id."""
    ((number, name, _, kind),) = random.choices(TYPES, WEIGHTS)
    user = random.choice([user for user in tables["hist_users"] if user["user_id"] != 1])
    site = _of(tables, "users", user["user_id"])["site_id"]
    row: Row = {
        "historical_event_type_id": number,
        "worker": "node1",
        "is_failure": random.random() < 0.02 if name == "Login" else None,
        "details": f"/views/Sales/Totals?ticket={TOKEN}&:embed=y" if kind == "view" else None,
        "created_at": at,
        "hist_actor_user_id": user["id"],
        "hist_actor_site_id": site,
        "hist_target_site_id": site if kind else None,
        **dict.fromkeys(REFERENCES),
    }
    if kind:
        content = [item for item in tables[f"hist_{TABLES[kind]}"] if _site_of(tables, kind, item) == site]
        row[f"hist_{kind}_id"] = random.choice(content)["id"] if content else None
    return row


def _names(draft: Draft) -> None:
    """Write the state of each user, site and asset once, as Tableau does when it is first named."""
    for site in draft.tables["sites"]:
        names = {"name": site["name"], "url_namespace": site["url_namespace"]}
        draft.add("hist_sites", {"site_id": site["id"], **names})
    for user in draft.tables["users"]:
        account = _of(draft.tables, "system_users", user["system_user_id"])
        names = {"name": account["name"], "email": account["email"], "system_user_id": account["id"]}
        draft.add("hist_users", {"user_id": user["id"], **names})
    for kind, table in TABLES.items():
        for item in draft.tables[table]:
            draft.add(f"hist_{table}", {f"{kind}_id": item["id"], "name": item["name"]})


def _site_of(tables: Mapping[str, Sequence[Row]], kind: str, item: Row) -> object:
    return _of(tables, TABLES[kind], item[f"{kind}_id"])["site_id"]


def _of(tables: Mapping[str, Sequence[Row]], table: str, number: object) -> Row:
    return tables[table][int(str(number)) - 1]
