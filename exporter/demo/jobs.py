"""Background jobs: the work of a Tableau Server's backgrounders and its rows in the repository."""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from exporter.demo.cadence import CADENCES, DAILY, WEEKLY, Cadence
from exporter.demo.draft import Draft
from exporter.demo.names import FAILURES
from exporter.demo.rows import Row

SUCCESS, FAILURE, CANCELLED = 0, 1, 2
ACTIVE, SUSPENDED, DISABLED = 0, 1, 2
# Failures in a row and the state of the task of a subscription.
WELL, TROUBLED = (0, ACTIVE), ((3, ACTIVE), (5, SUSPENDED))

# task type, job type and job name of what a backgrounder does to each kind of content
WORK = {
    "workbooks": ("RefreshExtractTask", "refresh_extracts", "Refresh Extracts", "Workbook"),
    "datasources": ("RefreshExtractTask", "refresh_extracts", "Refresh Extracts", "Datasource"),
    "flows": ("FlowTask", "run_flow", "Run Flow", "Flow"),
    "increment": ("IncrementExtractTask", "increment_extracts", "Increment Extracts", ""),
    "housekeeping": ("", "reap_auto_saves", "Reap Auto Saves", ""),
    "subscriptions": ("SingleSubscriptionTask", "single_subscription_notify", "Subscription Notifications", ""),
}

TABLES = {"Workbook": "workbooks", "Datasource": "datasources", "Flow": "flows"}
RUN_SPEC = "FlowRunSpec"
# flow_run_specs.trigger_type and flow_runs.trigger_type, by the data dictionary.
SCHEDULED, AD_HOC = "0", "1"


def content_of(tasks: Iterable[Row], specs: Iterable[Row]) -> dict[object, tuple[str, object]]:
    """Return the table and the id of the content that each task refreshes, by the task's id.

    A flow's task names a row of flow_run_specs, which names the flow.
    """
    flows = {row["id"]: row["flow_id"] for row in specs}
    found = {}
    for row in tasks:
        if row["obj_type"] == RUN_SPEC:
            found[row["id"]] = ("flows", flows.get(row["obj_id"]))
        elif row["obj_type"] in TABLES:
            found[row["id"]] = (TABLES[str(row["obj_type"])], row["obj_id"])
    return found


def task(draft: Draft, work: str, obj_type: str, owner: Row, cadence: Cadence) -> Row:
    """Put content, or a subscription, on a schedule."""
    return draft.add(
        "tasks",
        {
            "schedule_id": CADENCES.index(cadence) + 1,
            "type": WORK[work][0],
            "priority": 50,
            "obj_id": owner["id"],
            "created_at": draft.ago(100, 700),
            "updated_at": draft.ago(0, 30),
            "site_id": owner["site_id"],
            "obj_type": obj_type,
            "luid": draft.luid(),
            "consecutive_failure_count": 0,
            "active": True,
            "title": owner["name"],
            "subtitle": obj_type,
            "historical_run_time": int(draft.random.lognormvariate(4, 1)) + 3,
            "run_count": draft.random.randrange(100, 5000),
            "state": ACTIVE,
            "last_success_completed_at": None,
        },
    )


def job(draft: Draft, work: str, at: datetime, owner: Row, work_task: Row | None, code: int) -> Row:
    """Queue a job at an instant; what lies after now has not happened yet.

    ``correlation_id`` is the task of a refresh or of a flow's run, and the subscription itself of a subscription.
    """
    _, job_type, job_name, _ = WORK[work]
    usual = float(str(work_task["historical_run_time"])) if work_task else 20.0
    created_at = at + timedelta(seconds=draft.random.uniform(0, 2))
    started_at = created_at + timedelta(seconds=draft.random.lognormvariate(1.5, 1.2))
    completed_at = started_at + timedelta(seconds=usual * draft.random.uniform(0.6, 1.6) + 1)
    done = completed_at <= draft.now
    return {
        "job_type": job_type,
        "progress": 100 if done else 0,
        "args": f"---\n- {owner['id']}\n",
        "notes": draft.random.choice(FAILURES) if done and code == FAILURE else None,
        "created_at": created_at,
        "started_at": started_at if started_at <= draft.now else None,
        "completed_at": completed_at if done else None,
        "updated_at": min(completed_at, draft.now),
        "job_name": job_name,
        # Tableau writes 1 until a job is done: the code has a meaning only beside completed_at.
        "finish_code": code if done else FAILURE,
        "priority": 50,
        "title": owner["name"],
        "subtitle": work_task["subtitle"] if work_task else None,
        "created_on_worker": "node1",
        "processed_on_worker": draft.random.choice(("node1", "node2")),
        "backgrounder_id": f"node1:{draft.random.randrange(4)}",
        "site_id": owner["site_id"],
        "correlation_id": owner["id"] if work == "subscriptions" else work_task["id"] if work_task else None,
        "task_id": work_task["id"] if work_task else None,
        "luid": draft.luid(),
        "run_now": work_task is None,
    }


def subscriptions(draft: Draft, days: float) -> list[Row]:
    """Fill subscriptions and their tasks; return the jobs of so many days.

    The first keeps failing, the second was suspended after it had.
    """
    queue = []
    views = draft.random.sample(draft.tables["views"], min(40, len(draft.tables["views"]) // 5))
    for view, (failures, state) in zip(views, (*TROUBLED, *[WELL] * len(views)), strict=False):
        cadence = draft.random.choice((*DAILY, *WEEKLY))
        reader = draft.random.choice(draft.of_site("users", view["site_id"])[2:])
        subscription = draft.add(
            "subscriptions",
            {
                "subject": f"Your {view['name']}",
                "user_id": reader["id"],
                "schedule_id": CADENCES.index(cadence) + 1,
                "last_sent": draft.ago(0, 7),
                "site_id": view["site_id"],
                "luid": draft.luid(),
                "creator_id": reader["id"],
                "created_at": draft.ago(30, 300),
                "attach_pdf": False,
                "attach_image": True,
                "target_type": "View",
                "target_id": view["id"],
            },
        )
        owner = {**subscription, "name": subscription["subject"]}
        plan = task(draft, "subscriptions", "Subscription", owner, cadence)
        plan |= {"consecutive_failure_count": failures, "state": state}
        runs = cadence.runs(draft.now - timedelta(days=days), draft.now)
        for left, at in zip(range(len(runs), 0, -1), runs, strict=True):
            mishap = draft.random.random() < 0.01 and left > 1
            code = FAILURE if mishap or left <= failures else SUCCESS
            queue.append(job(draft, "subscriptions", at, owner, plan, code))
    return queue


def housekeeping(draft: Draft, days: int) -> list[Row]:
    """Return the jobs that Tableau runs for itself: they belong to no site and no task."""
    owner: Row = {"id": 0, "name": "Reap Auto Saves", "site_id": None}
    hours = range(1, days * 24)
    return [
        job(draft, "housekeeping", draft.now - timedelta(hours=hour, minutes=7), owner, None, SUCCESS) for hour in hours
    ]


def under_way(draft: Draft) -> list[Row]:
    """Return refreshes that were started by hand just now: some run, some wait; none has a task."""
    queue = []
    healthy = [asset for asset in draft.assets if asset.kind == "healthy" and asset.table != "flows"]
    for number, asset in enumerate(draft.random.sample(healthy, 6)):
        row = job(draft, asset.table, draft.now - timedelta(seconds=8 + number), asset.row, None, SUCCESS)
        started_at = draft.now - timedelta(seconds=number) if number % 2 else None
        row |= {"started_at": started_at, "completed_at": None, "finish_code": FAILURE, "progress": 0, "notes": None}
        row["subtitle"] = WORK[asset.table][3]
        queue.append(row)
    return queue


def flow_run_specs(draft: Draft) -> None:
    """Have each task of a flow name a specification of how to run it; each such flow was run by hand once too."""
    for row in draft.tables["tasks"]:
        if row["obj_type"] == "Flow":
            flow = row["obj_id"]
            specs = [_flow_run_spec(draft, row, flow, trigger) for trigger in (AD_HOC, SCHEDULED)]
            row |= {"obj_type": RUN_SPEC, "obj_id": specs[-1]["id"]}


def _flow_run_spec(draft: Draft, row: Row, flow: object, trigger_type: str) -> Row:
    return draft.add(
        "flow_run_specs",
        {
            "flow_id": flow,
            "trigger_type": trigger_type,
            "site_id": row["site_id"],
            "luid": str(uuid.uuid5(uuid.UUID(str(row["luid"])), trigger_type)),
            "run_all_outputs": True,
            "is_incremental": None,
        },
    )


def flow_runs(draft: Draft) -> None:
    """Fill flow_runs from the jobs that ran flows."""
    tasks = {row["id"]: row for row in draft.tables["tasks"] if row["obj_type"] == RUN_SPEC}
    content = content_of(tasks.values(), draft.tables["flow_run_specs"])
    for row in draft.tables["background_jobs"]:
        if row["task_id"] in tasks:
            draft.add(
                "flow_runs",
                {
                    "flow_id": content[row["task_id"]][1],
                    "flow_run_spec_id": tasks[row["task_id"]]["obj_id"],
                    "started_at": row["started_at"],
                    "completed_at": row["completed_at"],
                    "task_id": row["task_id"],
                    "trigger_type": SCHEDULED,
                    "progress": row["progress"],
                    "finish_code": row["finish_code"],
                    "notes": row["notes"],
                    "background_job_id": row["id"],
                    "luid": draft.luid(),
                    "site_id": row["site_id"],
                },
            )
