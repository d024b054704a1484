"""A history of some days that an agent polled every hour, with its exposition after each poll."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow as pa

from exporter.backfill import lines, parts_of
from exporter.collector import Context
from exporter.collectors import active_users, discover
from exporter.collectors.assets import COLLECTOR as ASSETS
from exporter.collectors.assets.status import judge
from exporter.exposition import Renderer
from exporter.exposition.history_metrics import archived_blocks
from exporter.history.aggregation import Lookups
from exporter.history.archive import keys_table
from exporter.history.backfill import Steps, extent, read_samples
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.positions import Position
from exporter.history.redaction import Privacy
from exporter.history.transaction import PollLogRow, Transaction
from exporter.metrics import Labels
from tests.collectors.assets.test_metrics import assets
from tests.exposition.parsed import series
from tests.history.synthetic_history import JOBS, REQUESTS, row

BEGUN = datetime(2025, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SITES = {1: "default", 2: "emea"}
USERS = {user: (user + 1) // 2 if user < 11 else None for user in range(1, 13)}
"""The person behind each user, who is on another site than the next; of the last two it is unknown."""
PERSONS = {user: person for user, person in USERS.items() if person is not None}
LOOKUPS = Lookups(SITES, pa.table({"user_id": list(PERSONS), "person": list(PERSONS.values())}))
COLLECTORS = {name: discover()[name] for name in ("http_requests", "background_jobs")}
(STATE,) = ASSETS.states

Live = dict[str, float]
Backfilled = dict[int, Live]
"""The samples of each instant (Unix seconds), by series as written."""


@dataclass(frozen=True)
class PolledHistory:
    """One history; ``live`` is the exposition after the poll of each hour."""

    path: Path
    live: Backfilled

    @property
    def file(self) -> HistoryFile:
        """The file, to be written."""
        return HistoryFile(self.path, Limits(patience_seconds=0.0), lambda _: None)


def poll_hours(path: Path, hours: int) -> PolledHistory:
    """Poll for so many hours, at each full hour."""
    living = _HourlyPolls(path)
    for hour in range(1, hours + 1):
        living.poll(BEGUN + hour * HOUR)
    return PolledHistory(path, living.live)


class _HourlyPolls:
    """An agent on a history."""

    def __init__(self, path: Path) -> None:
        """Begin the history with its sites and users."""
        self.live: Backfilled = {}
        self.history = History(HistoryFile(path, Limits(patience_seconds=0.0)), COLLECTORS, Privacy())
        self.history.prepare(BEGUN)
        with duckdb.connect(str(path)) as connection:
            for site, label in SITES.items():
                namespace = "" if label == "default" else label
                connection.execute(
                    "INSERT INTO sites (day, id, url_namespace) VALUES (?, ?, ?)", [BEGUN.date(), site, namespace]
                )
            for user, person in USERS.items():
                connection.execute(
                    "INSERT INTO users (day, id, system_user_id) VALUES (?, ?, ?)", [BEGUN.date(), user, person]
                )
            connection.execute("UPDATE marks SET marked_at = ? WHERE name = 'begun'", [naive(BEGUN)])
        self._chance = Random(5)
        self._waiting: list[dict[str, Any]] = []
        self._made = 0

    def poll(self, now: datetime) -> None:
        """Archive an hour's rows, audit the assets, and record the exposition."""
        known = assets(*self._assets(now))
        context = Context(SITES, _slas, now=now.timestamp())
        with self.history.transaction(now) as transaction:
            self._requests(transaction, now)
            self._jobs(transaction, now)
            transaction.audit(judge(known, _slas, now.timestamp()))
            transaction.log(PollLogRow(now, "http_requests", "exact", 0.1, 1, 1, 0, "here"), Position("http_requests"))
        totals = self.history.totals
        blocks = [
            *archived_blocks(totals, COLLECTORS, None),
            *active_users.expose(totals.seen, sorted(SITES.values()), {}),
            *STATE.expose(known, context),
        ]
        rendered = series(Renderer().render(blocks, now.timestamp()))
        self.live[round(now.timestamp())] = {name: value for name, value in rendered.items() if is_backfilled(name)}

    def _requests(self, transaction: Transaction, now: datetime) -> None:
        self._waiting += [self._request(naive(now) - self._chance.uniform(0, 1) * HOUR) for _ in range(12)]
        rows = [{**row, "completed_at": row["ended"] if _is_over(row, now) else None} for row in self._waiting]
        self._waiting = [row for row in self._waiting if row["ended"] and not _is_over(row, now)]
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
        clean = self.history.clean(REQUESTS, table)
        transaction.append_requests(REQUESTS, [clean], LOOKUPS, REQUESTS.folds, count_people=True)
        transaction.promote(REQUESTS.table, keys_table([], []), LOOKUPS, REQUESTS.folds)

    def _request(self, at: datetime) -> dict[str, Any]:
        chance = self._chance
        self._made += 1
        user = chance.choice([None, *USERS])
        takes = None if chance.random() < 0.1 else timedelta(seconds=chance.choice([0.05, 0.4, 3.0, 70.0, 5000.0]))
        return {
            "id": self._made,
            "created_at": at,
            "ended": None if takes is None else at + takes,
            "controller": chance.choice(["vizql", 'odd "name"\\', None]),
            "action": chance.choice(["show", "bootstrapSession"]),
            "status": chance.choice([200, 302, 404, 500, None]),
            "user_id": user,
            "site_id": chance.choice([None, 1]) if user is None else 1 + user % 2,
        }

    def _jobs(self, transaction: Transaction, now: datetime) -> None:
        for number in range(3):
            done = naive(now) - self._chance.uniform(0, 1) * HOUR
            begun = done - timedelta(seconds=self._chance.choice([0.5, 20, 4000]))
            job = row(
                JOBS,
                id=len(self.live) * 3 + number,
                site_id=self._chance.choice([1, 2]),
                job_type=self._chance.choice(["refresh_extracts", "run_flow"]),
                created_at=begun - timedelta(seconds=self._chance.choice([1, 100])),
                started_at=begun,
                completed_at=done,
                finish_code=self._chance.choice([0, 1, 2]),
            )
            transaction.append(JOBS, [job], LOOKUPS, JOBS.folds)

    def _assets(self, now: datetime) -> Iterator[dict[str, Any]]:
        """Yield a source that is refreshed every five hours, then renamed; one that never was, and a live one."""
        hours = (now - BEGUN) // HOUR
        refreshed = naive(BEGUN) + (hours // 5) * 5 * HOUR - timedelta(minutes=7, microseconds=1)
        yield {"last_refresh_at": refreshed, "freshness_source": "repository", "site_id": None, "site": "default"}
        name = "New" if hours > 30 else "Old"
        yield {"asset_id": "luid-2", "asset_name": name, "site": "emea", "project": "", "last_refresh_at": refreshed}
        yield {"asset_id": "luid-3", "site": "emea", "asset_type": "flow", "connection": None}
        yield {"asset_id": "luid-4", "site": "emea", "connection": "live"}


_SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "created_at": pa.timestamp("us"),
        "completed_at": pa.timestamp("us"),
        "controller": pa.string(),
        "action": pa.string(),
        "status": pa.int64(),
        "user_id": pa.int64(),
        "site_id": pa.int64(),
    }
)


def naive(instant: datetime) -> datetime:
    """Return an instant as the history has it."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def is_backfilled(name: str) -> bool:
    """Return whether a series can be backfilled: the history lacks when an asset becomes a warning."""
    family = re.sub(r"_(bucket|sum|count)$", "", name.partition("{")[0])
    return family in FAMILIES and 'severity="warning"' not in name


FAMILIES = [family.name for part in parts_of() for family in part.families]


def backfilled(
    path: Path,
    since: datetime,
    until: datetime,
    step_seconds: int = 3600,
    names: Sequence[str] = (),
    *,
    by_day: bool = False,
) -> Backfilled:
    """Return the backfill of a range, in one piece or day by day."""
    file = HistoryFile(path, Limits(patience_seconds=0.0), lambda _: None, read_only=True)
    parts = parts_of(names)
    steps = Steps.between(naive(since), naive(until), step_seconds)
    found: Backfilled = {}
    with read_samples(file, parts, steps, extent(file, parts).newest, by_day=by_day) as synthetic:
        for chunk in steps.days() if by_day else [steps]:
            for family in (family for part in parts for family in part.families):
                for samples in synthetic.samples(family, chunk):
                    text = b"".join(lines(family, samples, Labels((), ()), step_seconds)).decode()
                    _add(found, text)
    return found


def _add(found: Backfilled, text: str) -> None:
    for line in text.split("\n")[:-1]:
        name, value, stamp = line.rsplit(" ", 2)
        at = found.setdefault(int(stamp), {})
        assert name not in at, f"{name} stands twice at {stamp}"
        at[name] = float(value)


def without_zeros(live: Mapping[str, float]) -> Live:
    """Return samples without counters that have counted nothing yet: a live agent has none of these."""
    empty = {_braces(name) for name, value in live.items() if name.partition("{")[0].endswith("_count") and not value}
    return {name: value for name, value in live.items() if not _is_empty(name, value, empty)}


def _is_empty(name: str, value: float, empty: set[tuple[str, str]]) -> bool:
    kind = name.partition("{")[0]
    return (kind.endswith("_total") and not value) or (not kind.endswith("_total") and _braces(name) in empty)


def _braces(name: str) -> tuple[str, str]:
    kind, _, labels = name.partition("{")
    return re.sub(r"_(bucket|sum|count)$", "", kind), re.sub(r',?le="[^"]*"', "", labels)


def _is_over(request: Mapping[str, Any], now: datetime) -> bool:
    return request["ended"] is not None and request["ended"] <= naive(now)


def _slas(asset: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return (12.0, 24.0) if asset["site"] == "default" else (2.0, None)
