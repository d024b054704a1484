"""The backgrounder of the living server: refreshes wait, run and end, and content gets fresh or stays stale."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from exporter.demo import rows
from exporter.demo.cadence import CADENCES
from exporter.demo.company import Company
from exporter.demo.jobs import ACTIVE, FAILURE, SUCCESS, SUSPENDED, WORK
from exporter.demo.names import FAILURES
from exporter.demo.refreshing import PATIENCE
from exporter.demo.rows import Row
from exporter.repository.connection import Connection

TABLES = {"Workbook": "workbooks", "Datasource": "datasources", "Flow": "flows"}
# How often a refresh fails that has been well so far, and one that has been failing.
MISHAP = 0.05
RELAPSE = 0.8


@dataclass
class Run:
    """One job from the queue to its end."""

    job: int
    task: Row
    started_at: datetime
    completed_at: datetime
    started: bool = False


class Backgrounder:
    """Queues refreshes of a company's tasks and brings them to their ends."""

    def __init__(self, company: Company, version: str, random: Random) -> None:
        self._version = version
        self._random = random
        # Copies: the company stays as it was built.
        tasks = [dict(row) for row in company.tables["tasks"] if row["obj_type"] in TABLES]
        self._tasks = [task for task in tasks if task["state"] == ACTIVE]
        self._runs: list[Run] = []
        self._next = {number: cadence.following(company.now) for number, cadence in enumerate(CADENCES, 1)}

    def queue(self, connection: Connection, now: datetime) -> None:
        """Queue the refresh of one task that is not already under way."""
        busy = {run.task["id"] for run in self._runs}
        idle = [task for task in self._tasks if task["id"] not in busy]
        if not idle:
            return
        task = self._random.choice(idle)
        work = "increment" if task["type"] == "IncrementExtractTask" else TABLES[str(task["obj_type"])]
        _, job_type, job_name, _ = WORK[work]
        job = {
            "job_type": job_type,
            "job_name": job_name,
            "progress": 0,
            "created_at": now,
            "updated_at": now,
            "finish_code": FAILURE,
            "priority": task["priority"],
            "title": task["title"],
            "subtitle": task["subtitle"],
            "created_on_worker": "node1",
            "processed_on_worker": "node2",
            "backgrounder_id": "node2:0",
            "site_id": task["site_id"],
            "correlation_id": task["id"],
            "task_id": task["id"],
            "run_now": False,
        }
        key = rows.insert(connection, self._version, "background_jobs", job)
        started_at = now + timedelta(seconds=self._random.uniform(1, 6))
        completed_at = started_at + timedelta(seconds=self._random.uniform(3, 20))
        self._runs.append(Run(key, task, started_at, completed_at))

    def work(self, connection: Connection, now: datetime) -> int:
        """Start and end the runs that are due, and move the schedules on; return how many runs ended."""
        self._schedule(connection, now)
        for run in self._runs:
            if not run.started and run.started_at <= now:
                values = {"started_at": run.started_at, "updated_at": now, "progress": 10}
                rows.update(connection, self._version, "background_jobs", run.job, values)
                run.started = True
        ended = [run for run in self._runs if run.completed_at <= now]
        # Forgotten first: if the database fails now, the job stays open there, as after a crash of the real thing.
        self._runs = [run for run in self._runs if run.completed_at > now]
        for run in ended:
            self._end(connection, run)
        return len(ended)

    def _end(self, connection: Connection, run: Run) -> None:
        failures = int(str(run.task["consecutive_failure_count"]))
        failed = self._random.random() < (RELAPSE if failures else MISHAP)
        job = {
            "completed_at": run.completed_at,
            "updated_at": run.completed_at,
            "progress": 100,
            "finish_code": FAILURE if failed else SUCCESS,
            "notes": self._random.choice(FAILURES) if failed else None,
        }
        change: Row = {"consecutive_failure_count": failures + 1 if failed else 0, "updated_at": run.completed_at}
        if not failed:
            change["last_success_completed_at"] = run.completed_at
            self._refresh(connection, run)
        elif failures + 1 >= PATIENCE:
            change["state"] = SUSPENDED
            self._tasks.remove(run.task)
        run.task |= change
        rows.update(connection, self._version, "tasks", int(str(run.task["id"])), change)
        rows.update(connection, self._version, "background_jobs", run.job, job)

    def _refresh(self, connection: Connection, run: Run) -> None:
        table = TABLES[str(run.task["obj_type"])]
        column = "extracts_refreshed_at"
        if run.task["type"] == "IncrementExtractTask":
            column = "extracts_incremented_at"
        rows.update(connection, self._version, table, int(str(run.task["obj_id"])), {column: run.completed_at})

    def _schedule(self, connection: Connection, now: datetime) -> None:
        for number, cadence in enumerate(CADENCES, 1):
            if self._next[number] <= now:
                self._next[number] = cadence.following(now)
                rows.update(connection, self._version, "schedules", number, {"run_next_at": self._next[number]})
