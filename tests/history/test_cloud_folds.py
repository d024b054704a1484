"""Counters of the rows of the Activity Log, in any order of the rows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from exporter.collector import Events, FirstValues, columns_of
from exporter.collectors import archived, discover
from exporter.collectors.background_jobs import BRIDGE_FINISHED, BRIDGE_SEEN, FINISHED, QUEUE, RUN
from exporter.collectors.http_requests import REQUESTS
from exporter.history.aggregation import Lookups
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.transaction import PollLogRow
from exporter.history.verification import verify

NOW = datetime(2025, 11, 19, 10, 30, tzinfo=UTC)
AT = NOW.replace(tzinfo=None) - timedelta(hours=1)
NOBODY = pa.table({"user_id": pa.array([], pa.int64()), "person": pa.array([], pa.int64())})
COLLECTORS = {name: found for name, found in discover().items() if found.from_activity_log}
((JOBS,), (CLOUD_REQUESTS,)) = (COLLECTORS[name].activity for name in ("background_jobs", "http_requests"))


class Archive:
    """A history of one site, in which rows are archived as the poller of the Activity Log does."""

    def __init__(self, path: Path) -> None:
        self.file = HistoryFile(path, Limits(patience_seconds=1.0))
        self.history = History(self.file, COLLECTORS, Privacy())
        self._made = 0

    def add(self, events: Events, *rows: dict[str, Any]) -> None:
        """Archive rows in one transaction."""
        assert events.row is not None
        columns = columns_of(events.row)
        filled = []
        for row in rows:
            self._made += 1
            filled.append({"id": self._made, "site_id": 1, events.key[1]: AT, **row})
        schema = pa.schema([(column.name, column.type.arrow) for column in columns])
        table = pa.Table.from_pylist(filled, schema=schema)
        with self.history.transaction(NOW) as transaction:
            done = transaction.append(events, [table], Lookups({1: "sales"}, NOBODY), events.folds)
            transaction.log_part(PollLogRow(NOW, events.table, "files", 0.0, done.read, done.new, 0, "sales"))

    def counted(self, family: str) -> dict[tuple[str, ...], float]:
        """Return the values of a counter by its labels."""
        return dict(self.history.totals.counters.get(family, ()))

    def observed(self, family: str) -> dict[tuple[str, ...], tuple[int, float]]:
        """Return how much a histogram observed, and the sum, by its labels."""
        found = self.history.totals.histograms.get(family, {})
        return {
            labels: (sum(count for count, _ in buckets.values()), sum(seconds for _, seconds in buckets.values()))
            for labels, buckets in found.items()
        }

    def faults(self) -> Sequence[str]:
        """Return the findings of ``history verify``."""
        file = HistoryFile(self.file.path, Limits(patience_seconds=0.0), read_only=True)
        tables = archived(COLLECTORS)
        return [verdict.message for verdict in verify(file, tables) if verdict.ok is False]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty history."""
    return Archive(tmp_path / "history.duckdb")


CLIENT: dict[str, Any] = {
    "event_type": "bridge_job",
    "pool_name": "Warehouse",
    "bridge_client_computer_name": "BRIDGE-01",
}


def state(name: str, minutes: float = 0, **fields: object) -> dict[str, Any]:
    """Return a state of a job, so many minutes after its begin."""
    known = {"event_type": "background_job", "job_luid": "a", "job_type": "RefreshExtracts", "initiated_at": AT}
    return {**known, "event_state": name, "event_time": AT + timedelta(minutes=minutes), **fields}


def test_a_run_begins_in_an_earlier_file(archive: Archive) -> None:
    """The states of a job come one by one: its queue time counts when it starts, its run time when it ends."""
    archive.add(JOBS, state("JobQueued"))
    archive.add(JOBS, state("JobStarted", 2))
    assert archive.observed(RUN.name) == {}
    archive.add(JOBS, state("JobSuccess", 7))
    of = ("sales", "refresh_extracts")
    assert archive.observed(QUEUE.name) == {of: (1, 120.0)}
    assert archive.observed(RUN.name) == {of: (1, 300.0)}
    assert archive.counted(FINISHED.name) == {(*of, "success"): 1}
    assert archive.faults() == []


def test_a_job_that_was_retried(archive: Archive) -> None:
    """Each end is counted, and runs from the last start before it; an end without a start has no run time."""
    states = [state("JobStarted", 1), state("JobFailed", 3), state("JobStarted", 10), state("JobSuccess", 11)]
    archive.add(JOBS, *states, state("JobFailed", 5, job_luid="b"))
    of = ("sales", "refresh_extracts")
    assert archive.observed(RUN.name) == {of: (2, 180.0)}
    assert archive.counted(FINISHED.name) == {(*of, "success"): 1, (*of, "failure"): 2}


def test_states_that_no_source_lists(archive: Archive) -> None:
    """They are archived and not counted."""
    archive.add(JOBS, *(state(name, job_luid=name) for name in ("JobCancelled", "Completed", "JobFailedForNow")))
    assert archive.counted("tableau_history_rows_total") == {("cloud_jobs",): 3}
    assert archive.counted(FINISHED.name) == {}
    assert archive.faults() == []


@pytest.mark.parametrize(
    ("cloud", "repository"),
    [
        ("RefreshExtracts", "refresh_extracts"),
        ("IncrementExtractsViaBridge", "increment_extracts_via_bridge"),
        ("SendSingleSubscription", "single_subscription_notify"),
        ("RunFlow", "run_flow"),
        ("reap_auto_saves", "reap_auto_saves"),
    ],
)
def test_job_types_are_those_of_the_repository(cloud: str, repository: str, archive: Archive) -> None:
    """A dashboard of Server finds the jobs of Cloud under the same words."""
    archive.add(JOBS, state("JobSuccess", job_type=cloud))
    assert archive.counted(FINISHED.name) == {("sales", repository, "success"): 1}


def test_bridge(archive: Archive) -> None:
    """Jobs of Bridge are counted by themselves, and a client was last seen at its last event, whatever it was."""
    archive.add(JOBS, state("JobStarted", 5, **CLIENT), state("Failed", 9, **CLIENT), state("JobSuccess", 9))
    archive.add(JOBS, state("JobQueued", 4, **CLIENT, job_luid="b"))
    unnamed: dict[str, Any] = CLIENT | {
        "bridge_client_computer_name": None,
        "bridge_client_device_luid": "0-1",
        "pool_name": None,
    }
    archive.add(JOBS, state("JobQueued", **unnamed, job_luid="c"))
    assert archive.counted(BRIDGE_FINISHED.name) == {("sales", "Warehouse", "failure"): 1}
    assert archive.counted(FINISHED.name) == {("sales", "refresh_extracts", "success"): 1}
    seen = {("sales", "Warehouse", "BRIDGE-01"): 9, ("sales", "", "0-1"): 0}
    assert dict(archive.history.totals.latest[BRIDGE_SEEN.name]) == {
        labels: (AT + timedelta(minutes=minutes)).replace(tzinfo=UTC).timestamp() for labels, minutes in seen.items()
    }


@pytest.mark.parametrize("days", [-32, 2])
def test_a_client_is_gone_after_a_month(days: int, archive: Archive) -> None:
    """Nor is one published whose clock is ahead: it would never be silent."""
    archive.add(JOBS, state("JobStarted", days * 1440, **CLIENT))
    assert archive.history.totals.latest == {}


def test_the_first_endpoints_are_labels(archive: Archive) -> None:
    """As many as there is room for, the earliest first; all others are ``other``, and so they stay over restarts."""
    few = replace(CLOUD_REQUESTS, first_values=FirstValues("action", 2))
    late = {"action": "late", "created_at": AT + timedelta(minutes=1)}
    archive.add(few, late, {"action": "bootstrapSession"}, {"action": "sessions"}, {"action": None}, {"action": ""})
    archive.history = History(archive.file, COLLECTORS, Privacy())
    archive.add(few, {"action": "sessions"}, {"action": "earlier", "created_at": AT - timedelta(days=1)})
    found = {labels[2]: count for labels, count in archive.counted(REQUESTS.name).items()}
    assert found == {"bootstrapSession": 1, "sessions": 2, "other": 2, "": 2}
    assert archive.faults() == []


def test_how_many_endpoints_are_labels(archive: Archive) -> None:
    """The first 200 endpoints of all sites."""
    archive.add(CLOUD_REQUESTS, *({"action": f"endpoint{number:03}", "controller": "vizql"} for number in range(203)))
    counted = archive.counted(REQUESTS.name)
    assert len(counted) == 201
    assert counted["sales", "vizql", "other", "unknown"] == 3
    assert counted["sales", "vizql", "endpoint199", "unknown"] == 1
