"""A history with a past: requests, jobs and logins of many days, archived as the poller does it."""

import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from exporter.collector import Events, columns_of
from exporter.collectors import discover
from exporter.history.aggregation import Lookups
from exporter.history.archive import keys_table
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.positions import Position, move
from exporter.history.redaction import Privacy
from exporter.history.totals import naive
from exporter.history.transaction import PollLogRow, Transaction

BEGIN = datetime(2025, 1, 1)  # noqa: DTZ001 - naive, as in the history
COLLECTORS = ("background_jobs", "http_requests", "logins")
EVENTS: Sequence[Events] = [found.events for name, found in discover().items() if name in COLLECTORS and found.events]
JOBS, REQUESTS, LOGINS = EVENTS
LOOKUPS = Lookups({1: "default"}, pa.table({"user_id": pa.array([], pa.int64()), "person": pa.array([], pa.int64())}))


class SyntheticHistory:
    """One history whose polls are made up."""

    def __init__(self, path: Path, retention: timedelta | None = None, privacy: Privacy | None = None) -> None:
        self.file = HistoryFile(path, Limits(patience_seconds=0.0))
        self.history = History(
            self.file, {name: discover()[name] for name in COLLECTORS}, privacy or Privacy(), retention=retention
        )

    def poll(self, now: datetime, requests: pa.Table | None = None, others: bool = True) -> None:
        """Archive requests, and with them a job and a login of that time."""
        with self.history.transaction(now) as transaction:
            if requests is not None:
                self._archive(transaction, REQUESTS, self.history.clean(REQUESTS, requests), now)
            if others:
                self._archive(transaction, JOBS, row(JOBS, id=int(now.timestamp()), site_id=1, created_at=now), now)
                self._archive(transaction, LOGINS, row(LOGINS, user_id=7, login_at=now), now)

    def _archive(self, transaction: Transaction, events: Events, rows: pa.Table, now: datetime) -> None:
        if events.keeps_open:
            done = transaction.append_requests(events, [rows], LOOKUPS, events.folds, count_people=True)
            promoted = transaction.promote(events.table, keys_table([], []), LOOKUPS, events.folds)
        else:
            done, promoted = transaction.append(events, [rows], LOOKUPS, events.folds), 0
        old = self.history.positions.get(events.table) or Position(events.table)
        new = Position(
            events.table, old.version + 5, old.version + 9, max_id=1, version=old.version, polled_at=naive(now)
        )
        if not events.sql:
            move(transaction.connection, old, new)
        poll = PollLogRow(now, events.table, "exact", 0.1, done.read, done.new + promoted, done.open, "here")
        transaction.log(poll, None if events.sql else new)

    def live(self, days: int, a_day: int = 10) -> None:
        """Archive so many days, with so many requests each, in a file that is opened once."""
        with self.file.kept_open(float("inf")):
            for day in range(days):
                at = BEGIN + timedelta(days=day)
                self.poll(at + timedelta(hours=23), requests(day * a_day, a_day, at))


def requests(first: int, count: int, at: datetime, completed: bool = True) -> pa.Table:
    """Return requests, one a second."""
    times = [at + timedelta(seconds=number) for number in range(count)]
    return pa.table(
        {
            "id": pa.array(range(first, first + count), pa.int64()),
            "created_at": pa.array(times, pa.timestamp("us")),
            "completed_at": pa.array(times if completed else [None] * count, pa.timestamp("us")),
            "action": pa.array(["show"] * count, pa.string()),
            "site_id": pa.array([1] * count, pa.int64()),
        }
    )


def row(events: Events, **values: object) -> pa.Table:
    """Return one row of a table of events; columns not given are NULL."""
    assert events.row is not None
    kinds = {"BIGINT": pa.int64(), "VARCHAR": pa.string(), "TIMESTAMP": pa.timestamp("us"), "BOOLEAN": pa.bool_()}
    return pa.table(
        {
            column.name: pa.array([values.get(column.name)], kinds[column.type.duckdb])
            for column in columns_of(events.row)
        }
    )


def copied(made: Path, folder: Path) -> Path:
    """Copy a history that several tests begin with into the folder of one; return the copy's path."""
    return Path(shutil.copyfile(made, folder / made.name))


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder, with an environment that names its history and no other setting; return the history's path."""
    for name in os.environ:
        if name.startswith("TABLEAU_EXPORTER_"):
            monkeypatch.delenv(name)
    path = folder / "history.duckdb"
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", str(path))
    monkeypatch.setenv("TABLEAU_EXPORTER_REPOSITORY__HOSTS", "db")
    return path
