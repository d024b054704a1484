"""Schedules, tasks, jobs and the runs of flows, as in the REST API."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, time

from exporter.collectors.assets.refresh_jobs import is_refresh
from exporter.demo.cadence import DAY_MINUTES
from exporter.demo.jobs import FAILURE, TABLES, content_of
from exporter.demo.rows import Row
from exporter.demo.tableau.facts import FlowRun, Job, Schedule, Task

DATES = ("created_at", "updated_at")
CONTENT = (
    "id",
    "luid",
    "name",
    "repository_url",
    "project_id",
    "owner_id",
    "site_id",
    "size",
    "last_published_at",
    *DATES,
)
EXTRACTS = ("data_engine_extracts", "extracts_refreshed_at", "extracts_incremented_at")
COLUMNS = {
    "schedules": (
        *("id", "luid", "name", "active", "schedule_type", "start_at_minute", "minute_interval", "day_of_week_mask"),
        *("run_next_at", *DATES),
    ),
    "tasks": (
        *("id", "luid", "type", "obj_type", "obj_id", "priority", "consecutive_failure_count", "schedule_id"),
        *("site_id", "state"),
    ),
    "background_jobs": (
        *("id", "luid", "job_type", "created_at", "started_at", "completed_at", "updated_at", "finish_code"),
        *("priority", "progress", "title", "subtitle", "notes", "site_id", "task_id", "correlation_id"),
    ),
    "flow_runs": ("id", "luid", "background_job_id"),
    "flow_run_specs": ("id", "flow_id"),
}
FREQUENCIES = ("Hourly", "Daily", "Weekly")
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
STATUSES = ("Success", "Failed", "Cancelled")
# The living backgrounder gives its jobs no LUID, and its flows no row of a run: both follow from the job's id.
NAMESPACE = uuid.UUID("6f2b1c1e-58a4-4c53-9a86-3d1d1c1c9b51")

# (table, id) -> (LUID, name, id of the site) of listed content
Assets = dict[tuple[str, object], tuple[str, str, object]]


class Work:
    """The tasks and jobs of all sites."""

    def __init__(self, tables: Mapping[str, Iterable[Row]], assets: Assets) -> None:
        self._assets = assets
        self._names = {(table, name, site): luid for (table, _), (luid, name, site) in assets.items()}
        self._schedules = {row["id"]: schedule(row) for row in tables["schedules"]}
        self._runs = {row["background_job_id"]: str(row["luid"]) for row in tables.get("flow_runs", ())}
        self._tasks = {row["id"]: row for row in tables["tasks"]}
        self._content = content_of(self._tasks.values(), tables.get("flow_run_specs", ()))
        self._sites: dict[object, list[Row]] = defaultdict(list)
        for row in tables["background_jobs"]:
            self._sites[row["site_id"]].append(row)

    def schedules(self) -> list[Schedule]:
        """Return the schedules: they belong to the server, not to a site."""
        return list(self._schedules.values())

    def tasks(self, site: object) -> list[Task]:
        """Return the tasks of a site whose content is listed."""
        rows = (row for row in self._tasks.values() if row["site_id"] == site and row["id"] in self._content)
        return [self._task(row) for row in rows if self._asset(row) is not None]

    def jobs(self, site: object) -> list[Job]:
        """Return the jobs of a site, the newest first."""
        return [self._job(row) for row in reversed(self._sites[site])]

    def _asset(self, task: Row) -> tuple[str, str, object] | None:
        return self._assets.get(self._content[task["id"]])

    def _kind(self, task: Row) -> str:
        return self._content[task["id"]][0].removesuffix("s")

    def _task(self, row: Row) -> Task:
        luid, name, _ = self._asset(row) or ("", "", None)
        return Task(
            luid=str(row["luid"]),
            type=str(row["type"]),
            kind=self._kind(row),
            asset=luid,
            asset_name=name,
            priority=int(str(row["priority"])),
            failures=int(str(row["consecutive_failure_count"])),
            schedule=self._schedules[row["schedule_id"]],
        )

    def _job(self, row: Row) -> Job:
        kind, asset = self._worked_on(row)
        luid = job_luid(row)
        run = None
        if kind == "flow":
            run = self._runs.get(row["id"]) or str(uuid.uuid5(NAMESPACE, f"run {luid}"))
        completed_at = _instant(row["completed_at"])
        code = int(str(row["finish_code"])) if completed_at else FAILURE
        return Job(
            luid=luid,
            type=str(row["job_type"]),
            status=STATUSES[code] if completed_at else "InProgress" if row["started_at"] else "Pending",
            created_at=_instant(row["created_at"]) or datetime.min,  # noqa: DTZ901 - naive, as all of these
            started_at=_instant(row["started_at"]),
            ended_at=completed_at,
            priority=int(str(row["priority"])),
            progress=int(str(row["progress"])),
            title=str(row["title"] or ""),
            subtitle=str(row["subtitle"] or ""),
            notes=str(row["notes"]) if row["notes"] else None,
            kind=kind,
            asset=asset,
            run=run,
        )

    def _worked_on(self, row: Row) -> tuple[str | None, str | None]:
        number = row["task_id"] or (row["correlation_id"] if is_refresh(str(row["job_type"])) else None)
        task = self._tasks.get(number)
        if task is None:
            # Started by hand: only title and subtitle identify its content.
            table = TABLES.get(str(row["subtitle"]))
            luid = self._names.get((table, str(row["title"]), row["site_id"])) if table else None
            return (str(row["subtitle"]).lower(), luid) if luid else (None, None)
        if number not in self._content:
            return None, None
        found = self._asset(task)
        return self._kind(task), found[0] if found else None


def job_luid(row: Row) -> str:
    """Return the LUID of a job; one that was queued meanwhile has none in its row."""
    return str(row.get("luid") or uuid.uuid5(NAMESPACE, str(row["id"])))


def flow_runs(jobs: Iterable[Job]) -> list[FlowRun]:
    """Return the runs of flows among jobs."""
    return [
        FlowRun(
            luid=job.run,
            flow=job.asset,
            status=job.status,
            started_at=job.started_at,
            completed_at=job.ended_at,
            progress=job.progress,
            job=job.luid,
        )
        for job in jobs
        if job.run is not None and job.asset is not None
    ]


def schedule(row: Row) -> Schedule:
    """Return one schedule."""
    minute = int(str(row["start_at_minute"]))
    mask = int(str(row["day_of_week_mask"]))
    every = row["minute_interval"]
    return Schedule(
        luid=str(row["luid"]),
        name=str(row["name"]),
        state="Active" if row["active"] else "Suspended",
        frequency=FREQUENCIES[int(str(row["schedule_type"]))],
        start=time(minute // 60 % (DAY_MINUTES // 60), minute % 60).isoformat("seconds"),
        every_minutes=int(str(every)) if every else None,
        weekdays=tuple(name for day, name in enumerate(WEEKDAYS) if mask & 1 << day),
        next_run_at=_instant(row["run_next_at"]),
        created_at=_instant(row["created_at"]) or datetime.min,  # noqa: DTZ901 - see above
        updated_at=_instant(row["updated_at"]) or datetime.min,  # noqa: DTZ901 - see above
    )


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
