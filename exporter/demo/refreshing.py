"""Schedules, and the thirty days in which their tasks made the content fresh, or failed to."""

from collections.abc import Sequence
from datetime import timedelta

from exporter.demo import jobs
from exporter.demo.cadence import CADENCES, DAILY, HOURLY, WEEKLY, Cadence
from exporter.demo.draft import AssetDraft, Draft
from exporter.demo.jobs import CANCELLED, DISABLED, FAILURE, SUCCESS, SUSPENDED, WORK
from exporter.demo.opening import unopened
from exporter.demo.rows import Row

DAYS = 30
# Tableau suspends a refresh after so many failures in a row.
PATIENCE = 5

SCHEDULED = {"healthy", "mixed", "incremental", "failing", "suspended", "disabled"}
# The size of the extract that is large enough for conclusions.
RESIZED_BYTES = 80_000_000
# Extracts that were refreshed once, long ago.
FORGOTTEN = {"unscheduled", "deleted", "archived", "private"}


def refreshing(draft: Draft) -> None:
    """Fill schedules, tasks, background_jobs, flow_runs with their specs, most_recent_refreshes; date the extracts."""
    for cadence in CADENCES:
        _schedule(draft, cadence)
    _enlarge(draft)
    queue: list[Row] = []
    for asset in draft.assets:
        if asset.kind in SCHEDULED:
            queue += _history(draft, asset)
        elif asset.kind in FORGOTTEN:
            _date(asset, draft.ago(20, 60))
    queue += [*jobs.subscriptions(draft, DAYS), *jobs.housekeeping(draft, DAYS), *jobs.under_way(draft)]
    # A repository numbers jobs in the order in which they were queued.
    for job in sorted(queue, key=lambda row: str(row["created_at"])):
        draft.add("background_jobs", job)
    jobs.flow_run_specs(draft)
    jobs.flow_runs(draft)


def resized(assets: Sequence[AssetDraft]) -> Row:
    """Return the workbook whose extract is refreshed every few seconds on the living server, and changes its size."""
    gone = unopened(assets)
    books = (asset.row for asset in assets if asset.table == "workbooks" and asset.kind == "healthy")
    return next(row for row in books if row["id"] not in gone)


def _enlarge(draft: Draft) -> None:
    workbook = resized(draft.assets)
    workbook["size"] = RESIZED_BYTES
    for row in draft.tables["extracts"]:
        if row["workbook_id"] == workbook["id"]:
            row["size"] = RESIZED_BYTES


def _schedule(draft: Draft, cadence: Cadence) -> None:
    draft.add(
        "schedules",
        {
            "name": cadence.name,
            "active": True,
            "priority": 50,
            "schedule_type": cadence.kind,
            "day_of_week_mask": cadence.weekday_mask,
            "start_at_minute": cadence.at_minute,
            "minute_interval": cadence.every if cadence.kind == 0 else None,
            "end_at_minute": None,
            "run_next_at": cadence.following(draft.now),
            "created_at": draft.ago(700, 1400),
            "updated_at": draft.ago(0, 700),
            "hidden": False,
            "lock_version": 1,
            "scheduled_action": 0,
            "luid": draft.luid(),
            "timezoneid": cadence.zone,
            "actionable": True,
        },
    )


def _history(draft: Draft, asset: AssetDraft) -> list[Row]:
    """Run a task through the last thirty days, as its asset's kind will have it; return the jobs."""
    work = "increment" if asset.kind == "incremental" else asset.table
    task = jobs.task(draft, work, WORK[asset.table][3], asset.row, _cadence(draft, asset))
    cadence = CADENCES[int(str(task["schedule_id"])) - 1]
    runs = cadence.runs(draft.now - timedelta(days=DAYS), draft.now - timedelta(minutes=1))
    failures = 0
    if asset.kind == "failing":
        failures = draft.random.randint(2, PATIENCE - 1)
    elif asset.kind == "suspended":
        runs, failures = runs[: -draft.random.randint(6, 20)], PATIENCE
        task["state"] = SUSPENDED
    elif asset.kind == "disabled":
        runs = runs[: -draft.random.randint(6, 20)]
        task["state"] = DISABLED
    done = []
    for left, at in zip(range(len(runs), 0, -1), runs, strict=True):
        chance = draft.random.random()
        # The last healthy run succeeds: freshness must follow from the story, not from luck.
        steady = failures < left <= failures + 2 or chance > 0.02
        code = FAILURE if left <= failures else SUCCESS if steady else FAILURE if chance > 0.005 else CANCELLED
        job = jobs.job(draft, work, at, asset.row, task, code)
        if job["completed_at"] is not None:
            _settle(asset, task, job)
        done.append(job)
    _most_recent(draft, asset, task, done)
    return done


def _cadence(draft: Draft, asset: AssetDraft) -> Cadence:
    if asset.kind in {"failing", "suspended", "disabled"}:
        return draft.random.choice(DAILY)
    return draft.random.choice(draft.random.choices((HOURLY, DAILY, WEEKLY), (15, 65, 20))[0])


def _settle(asset: AssetDraft, task: Row, job: Row) -> None:
    if job["finish_code"] == SUCCESS:
        task["last_success_completed_at"] = job["completed_at"]
        task["consecutive_failure_count"] = 0
        _date(asset, job["completed_at"])
    elif job["finish_code"] == FAILURE:
        task["consecutive_failure_count"] = int(str(task["consecutive_failure_count"])) + 1


def _date(asset: AssetDraft, at: object) -> None:
    if asset.table != "flows":
        asset.row["extracts_incremented_at" if asset.kind == "incremental" else "extracts_refreshed_at"] = at


def _most_recent(draft: Draft, asset: AssetDraft, task: Row, queue: list[Row]) -> None:
    done = [job for job in queue if job["completed_at"] is not None]
    if not done or asset.table == "flows":
        return
    draft.add(
        "most_recent_refreshes",
        {
            "historical_event_type_id": 51,
            "worker": done[-1]["processed_on_worker"],
            "duration_in_ms": 1000 * int(str(task["historical_run_time"])),
            "details": done[-1]["notes"],
            "task_id": task["id"],
            "site_id": task["site_id"],
            "is_failure": done[-1]["finish_code"] == FAILURE,
            "created_at": done[-1]["completed_at"],
            "workbook_id": asset.row["id"] if asset.table == "workbooks" else None,
            "datasource_id": asset.row["id"] if asset.table == "datasources" else None,
            "has_retry_job": False,
        },
    )
