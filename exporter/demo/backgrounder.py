"""The backgrounder of the living server: refreshes wait, run and end, and content gets fresh or stays stale."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from exporter.demo.cadence import CADENCES
from exporter.demo.company import Company
from exporter.demo.jobs import ACTIVE, FAILURE, SUCCESS, SUSPENDED, WORK, content_of
from exporter.demo.names import FAILURES
from exporter.demo.refreshing import PATIENCE
from exporter.demo.rows import Row, Written

# How often a refresh fails that has been well so far, and one that has been failing.
MISHAP = 0.05
RELAPSE = 0.8
# The size of an extract differs a little from one refresh to the next.
RESIZED = (0.98, 1.02)


@dataclass
class Run:
    """One job from the queue to its end."""

    job: int
    task: Row
    started_at: datetime
    completed_at: datetime
    started: bool = False
    succeeds: bool = False
    share: float = 1.0
    """The size that it leaves, as a share of the usual one."""


class Backgrounder:
    """Queues refreshes of a company's tasks and brings them to their ends."""

    def __init__(self, company: Company, random: Random) -> None:
        self._random = random
        self._content = content_of(company.tables["tasks"], company.tables["flow_run_specs"])
        # Copies: the company stays as it was built.
        tasks = [dict(row) for row in company.tables["tasks"] if row["id"] in self._content]
        self._tasks = [task for task in tasks if task["state"] == ACTIVE]
        tables = ("workbooks", "datasources", "flows")
        rows = {(table, row["id"]): row for table in tables for row in company.tables[table]}
        self._sizes = {key: int(str(row["size"])) for key, row in rows.items()}
        self._extracts = {_content_of_extract(row): int(str(row["id"])) for row in company.tables["extracts"]}
        self._by_luid = {str(rows[self._content[task["id"]]]["luid"]): task for task in tasks}
        # The tasks that do not do their work: they fail, or were suspended or switched off.
        self._broken = {
            luid for luid, task in self._by_luid.items() if task["consecutive_failure_count"] or task["state"] != ACTIVE
        }
        self._runs: list[Run] = []
        self._next = {number: cadence.following(company.now) for number, cadence in enumerate(CADENCES, 1)}

    def queue(self, tables: Written, now: datetime) -> None:
        """Queue the refresh of one task that is not already under way."""
        busy = {run.task["id"] for run in self._runs}
        idle = [task for task in self._tasks if task["id"] not in busy]
        if not idle:
            return
        self._queue(tables, self._random.choice(idle), now)

    def fixable(self, luid: str) -> bool:
        """Whether the content's refresh was broken when the company was built."""
        return luid in self._broken

    def fix(self, tables: Written, luid: str, now: datetime) -> None:
        """Fix a broken refresh: it is run at once, and succeeds."""
        self.refresh(tables, luid, now)

    def refresh(self, tables: Written, luid: str, now: datetime, share: float = 1.0) -> None:
        """Refresh content at once, and successfully; ``share`` of its usual size is left."""
        task = self._by_luid[luid]
        run = next((run for run in self._runs if run.task is task), None) or self._queue(tables, task, now)
        run.succeeds, run.share = True, share
        run.started_at = min(run.started_at, now + timedelta(seconds=1))
        run.completed_at = min(run.completed_at, now + timedelta(seconds=3))

    def set_apart(self, luid: str) -> None:
        """Refresh content only where ``refresh`` is called for it."""
        self._tasks.remove(self._by_luid[luid])

    def _queue(self, tables: Written, task: Row, now: datetime) -> Run:
        work = "increment" if task["type"] == "IncrementExtractTask" else self._content[task["id"]][0]
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
        key = tables.insert("background_jobs", job)
        started_at = now + timedelta(seconds=self._random.uniform(1, 6))
        completed_at = started_at + timedelta(seconds=self._random.uniform(3, 20))
        run = Run(key, task, started_at, completed_at)
        self._runs.append(run)
        return run

    def work(self, tables: Written, now: datetime) -> int:
        """Start and end the runs that are due, and move the schedules on; return how many runs ended."""
        self._schedule(tables, now)
        for run in self._runs:
            if not run.started and run.started_at <= now:
                values = {"started_at": run.started_at, "updated_at": now, "progress": 10}
                tables.update("background_jobs", run.job, values)
                run.started = True
        ended = [run for run in self._runs if run.completed_at <= now]
        # Forgotten first: if the database fails now, the job stays open there, as after a crash of the real thing.
        self._runs = [run for run in self._runs if run.completed_at > now]
        for run in ended:
            self._end(tables, run)
        return len(ended)

    def _end(self, tables: Written, run: Run) -> None:
        failures = int(str(run.task["consecutive_failure_count"]))
        failed = not run.succeeds and self._random.random() < (RELAPSE if failures else MISHAP)
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
            self._refresh(tables, run)
            if run.succeeds:
                self._resume(run.task, change)
        elif failures + 1 >= PATIENCE:
            change["state"] = SUSPENDED
            self._tasks.remove(run.task)
        run.task |= change
        tables.update("tasks", int(str(run.task["id"])), change)
        tables.update("background_jobs", run.job, job)

    def _resume(self, task: Row, change: Row) -> None:
        if task["state"] != ACTIVE and task not in self._tasks:
            self._tasks.append(task)
        change["state"] = ACTIVE

    def _refresh(self, tables: Written, run: Run) -> None:
        table, key = self._content[run.task["id"]]
        column = "extracts_refreshed_at"
        if run.task["type"] == "IncrementExtractTask":
            column = "extracts_incremented_at"
        size = int(self._sizes[table, key] * run.share * self._random.uniform(*RESIZED))
        tables.update(table, int(str(key)), {column: run.completed_at, "size": size})
        if (extract := self._extracts.get((table, key))) is not None:
            tables.update("extracts", extract, {"size": size})

    def _schedule(self, tables: Written, now: datetime) -> None:
        for number, cadence in enumerate(CADENCES, 1):
            if self._next[number] <= now:
                self._next[number] = cadence.following(now)
                tables.update("schedules", number, {"run_next_at": self._next[number]})


def _content_of_extract(row: Row) -> tuple[str, object]:
    is_of_book = row["workbook_id"] is not None
    return ("workbooks", row["workbook_id"]) if is_of_book else ("datasources", row["datasource_id"])
