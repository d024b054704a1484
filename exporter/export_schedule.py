"""The exports that the agent runs on a schedule: each output by itself, one after another, in the background.

An export is due when the agent has started and the first poll of every source has ended, and then ``every`` after its
last began. One that failed is tried again sooner. Targets know their own position: nothing has to be remembered here,
and an export that was ended halfway goes on.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from exporter import component_options
from exporter.config import Configuration
from exporter.config.exports import Export
from exporter.export_process import ExportOrder, Result, Stopped, run
from exporter.exports.arguments import tables_of
from exporter.poller.schedule import next_interval
from exporter.status import ExportStatus
from exporter.texts import safe_text, safe_uri

log = structlog.get_logger()

# A failed export is tried again after a minute or two, later after up to four: next_interval() has the rule.
RETRY_SECONDS = 60.0
LOOK_SECONDS = 0.5

Run = Callable[[ExportOrder, threading.Event], Iterable[Result]]


@dataclass(frozen=True)
class ExportJob:
    """An export of one table, or of every file of text, to one output, and how often."""

    order: ExportOrder
    every: float

    @property
    def name(self) -> tuple[str, str | None, str]:
        """The identity of the job."""
        return self.order.format, self.order.table, self.order.target

    @property
    def destination(self) -> str:
        """The output, without what may be a secret."""
        return safe_uri(self.order.target)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it writes."""
        return tables_of(self.order.format, self.order.table)


def jobs(configuration: Configuration) -> tuple[ExportJob, ...]:
    """Return the configured exports: one for each output."""
    limits = component_options.history_limits(configuration)
    return tuple(
        ExportJob(
            ExportOrder(
                str(configuration.history.path),
                limits.memory,
                limits.threads,
                export.format,
                export.table,
                target,
                export.since.isoformat() if export.since else None,
                export.form,
                # Once, however many outputs there are.
                _publication(configuration, export) if target == export.output[0] else None,
            ),
            export.every,
        )
        for export in configuration.exports
        for target in export.output
    )


def _publication(configuration: Configuration, export: Export) -> dict[str, Any] | None:
    """Return where an export is published, in plain values."""
    server = configuration.rest
    if export.publish is None or server is None:
        return None
    ca_file = str(server.ca_file) if server.ca_file else None
    return {"publish": export.publish.plain(), "url": server.url, "ca_file": ca_file, "timeout": server.timeout}


@dataclass
class _Entry:
    """When a job is due (monotonic), how often it failed in a row, and the status of its tables."""

    job: ExportJob
    due_at: float
    tables: dict[str, ExportStatus]
    failures: int = 0


@dataclass
class Exports:
    """The jobs of the configuration; ``replace`` puts others in their place while they run.

    ``publish`` is called with the status of every export whenever one has changed.
    """

    publish: Callable[[Sequence[ExportStatus]], None]
    run_job: Run = run
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    randomness: random.Random = field(default_factory=random.Random)
    stopped: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _entries: list[_Entry] = field(default_factory=list)
    _secrets: tuple[str, ...] = ()

    def replace(self, new: Iterable[ExportJob], secrets: Iterable[str] = ()) -> None:
        """Put these jobs in the place of the ones before; an export that stays keeps its status.

        ``secrets`` are masked in what a server reports: the process of an export has only its own.
        """
        with self._lock:
            self._secrets = tuple(secrets)
            before = {entry.job.name: entry for entry in self._entries}
            self._entries = [self._entry(job, before.get(job.name)) for job in new]
            self._publish()
        self._changed.set()

    def stop(self) -> None:
        """End, and end the export that runs."""
        self.stopped.set()
        self._changed.set()

    def run(self, ready: Callable[[], bool]) -> None:
        """Run what is due until stopped, from when ``ready`` on."""
        while not ready() and not self.stopped.wait(LOOK_SECONDS):
            pass
        while not self.stopped.is_set():
            self._changed.clear()
            seconds = self.run_due()
            if seconds != 0:
                self._changed.wait(seconds)

    def run_due(self) -> float | None:
        """Run the job that has been due for longest; return the seconds until the next, None where there is none."""
        entry = self._next()
        if entry is not None and entry.due_at <= self.clock():
            self._run(entry.job)
            entry = self._next()
        return None if entry is None else max(0.0, entry.due_at - self.clock())

    def _next(self) -> _Entry | None:
        with self._lock:
            return min(self._entries, key=lambda entry: entry.due_at, default=None)

    def _entry(self, job: ExportJob, before: _Entry | None) -> _Entry:
        if before is None:
            tables = {table: ExportStatus(table, job.order.format, job.destination) for table in job.tables}
            return _Entry(job, self.clock(), tables)
        # A shorter interval is in force at once; one that fails is tried at once, for its reason may be gone.
        due_at = self.clock() if before.failures else min(before.due_at, self.clock() + job.every)
        return replace(before, job=job, due_at=due_at)

    def _run(self, job: ExportJob) -> None:
        began_at = self.clock()
        try:
            results = list(self.run_job(job.order, self.stopped))
        except Stopped:
            return
        except Exception as defect:
            log.exception("an export failed: unexpected error (bug)", format=job.order.format, table=job.order.table)
            results = [Result(ok=False, message=f"unexpected error (bug): {type(defect).__name__}")]
        with self._lock:
            # A reload may have changed or removed it meanwhile.
            for entry in self._entries:
                if entry.job.name == job.name:
                    self._finish(entry, results, began_at)
            self._publish()

    def _finish(self, entry: _Entry, results: Sequence[Result], began_at: float) -> None:
        """Keep the result of each table, and set when the job is due next."""
        found = {result.table: result for result in results}
        for table, before in entry.tables.items():
            if (result := found.get(table) or found.get(None)) is not None:
                entry.tables[table] = self._status(before, result)
        if all(result.ok for result in results):
            entry.failures, entry.due_at = 0, began_at + entry.job.every
            return
        entry.failures += 1
        seconds = next_interval(min(RETRY_SECONDS, entry.job.every), entry.failures, self.randomness)
        entry.due_at = self.clock() + min(seconds, entry.job.every)

    def _status(self, before: ExportStatus, result: Result) -> ExportStatus:
        """Return the status of a table after an export; a failure is logged once until it changes."""
        labels = {"table": before.table, "format": before.format, "destination": before.destination}
        if not result.ok:
            error = safe_text(result.message, self._secrets)
            if error != before.error:
                log.error("an export failed; it is tried again", **labels, error=error)
            return replace(before, failures=before.failures + 1, error=error)
        if before.error is not None:
            log.info("an export that failed works again", **labels)
        log.debug("exported", **labels, rows=result.rows)
        return replace(before, rows=before.rows + result.rows, succeeded_at=self.wall_clock(), error=None)

    def _publish(self) -> None:
        self.publish([status for entry in self._entries for status in entry.tables.values()])
