"""The agent's alerts in the history: the tables ``alerts`` and ``alert_past``, which survive restarts.

``alerts`` has a row for each alert that is pending, firing, or resolved with an Alertmanager still to be notified.
``alert_past`` has the samples of the last hour and week that rules with an increase need.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import duckdb
import pyarrow as pa

from exporter.collectors.assets.refresh_jobs import IS_REFRESH, TASK
from exporter.history.aggregation import add
from exporter.history.arrow import registered
from exporter.history.totals import instant, naive
from exporter.self_metrics import NOTIFICATIONS_FAILED, NOTIFICATIONS_SENT

_TEXTS, _INSTANT = pa.map_(pa.string(), pa.string()), pa.timestamp("us")
_ALERTS = pa.schema(
    {
        "identity": pa.string(),
        "state": pa.string(),
        "labels": _TEXTS,
        "value": pa.float64(),
        "active_since": _INSTANT,
        "fired_at": _INSTANT,
        "ended_at": _INSTANT,
        "resolved_at": _INSTANT,
        "told": pa.list_(pa.string()),
        "acknowledged": pa.list_(pa.string()),
    }
)
_PAST = pa.schema({"family": pa.string(), "labels": pa.list_(pa.string()), "seen_at": _INSTANT, "value": pa.float64()})
# Older failures do not explain the current one.
_ERRORS = f"""
    SELECT {TASK} AS task, arg_max(notes, completed_at)
    FROM background_jobs
    WHERE finish_code = 1 AND notes IS NOT NULL AND completed_at > $1::TIMESTAMP - INTERVAL 7 DAY AND {IS_REFRESH}
        AND task IN (SELECT unnest($2::BIGINT[]))
    GROUP BY task
"""
_READ_OF_JOBS = ("task_id", "correlation_id", "job_name", "job_type", "notes")

Pairs = tuple[tuple[str, str], ...]


OWNER_EMAIL = "owner_email"
_ADDED = frozenset({"alertname", "severity", OWNER_EMAIL})
"""Labels that an alert has beside those of the series that its rule found."""


@dataclass
class Alert:
    """One alert of the agent's rules; instants are Unix seconds, labels are sorted by name.

    ``notified`` are the Alertmanagers that accepted it, ``acknowledged`` those that accepted its end.
    """

    labels: Pairs
    value: float
    active_since: float
    fired_at: float | None = None
    ended_at: float | None = None
    """Since when the condition does not hold."""
    resolved_at: float | None = None
    notified: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)

    @cached_property
    def series(self) -> Pairs:
        """The labels of the series that its rule found."""
        return tuple(pair for pair in self.labels if pair[0] not in _ADDED)

    @cached_property
    def rule(self) -> str:
        """Name and severity."""
        labels = dict(self.labels)
        return f"{labels.get('alertname', '')} {labels.get('severity', '')}"

    @property
    def state(self) -> str:
        """Pending, firing or resolved."""
        if self.resolved_at is not None:
            return "resolved"
        return "pending" if self.fired_at is None else "firing"


def create_alerts(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables."""
    connection.execute(
        "CREATE TABLE alerts (identity VARCHAR, state VARCHAR, labels MAP(VARCHAR, VARCHAR), value DOUBLE,"
        " active_since TIMESTAMP, fired_at TIMESTAMP, ended_at TIMESTAMP, resolved_at TIMESTAMP, told VARCHAR[],"
        " acknowledged VARCHAR[])"
    )
    connection.execute("CREATE TABLE alert_past (family VARCHAR, labels VARCHAR[], seen_at TIMESTAMP, value DOUBLE)")


def read_alerts(connection: duckdb.DuckDBPyConnection) -> list[Alert]:
    """Return every alert."""
    columns = ", ".join(_ALERTS.names[1:])
    rows = connection.sql(f"SELECT {columns} FROM alerts").to_arrow_table().to_pylist()
    return [
        Alert(
            tuple(sorted(row["labels"])),
            row["value"],
            _seconds(row["active_since"]) or 0.0,
            _seconds(row["fired_at"]),
            _seconds(row["ended_at"]),
            _seconds(row["resolved_at"]),
            set(row["told"]),
            set(row["acknowledged"]),
        )
        for row in rows
    ]


def replace(connection: duckdb.DuckDBPyConnection, changed: Iterable[Pairs], alerts: Iterable[Alert]) -> None:
    """Replace the alerts whose labels are given; those that are not among ``alerts`` are deleted."""
    gone = pa.table({"identity": pa.array([alert_key(labels) for labels in changed], pa.string())})
    rows = pa.Table.from_pylist([_row(alert) for alert in alerts], schema=_ALERTS)
    with registered(connection, gone=gone, new_alerts=rows):
        connection.execute("DELETE FROM alerts WHERE identity IN (SELECT identity FROM gone)")
        connection.execute("INSERT INTO alerts BY NAME SELECT * FROM new_alerts")


def read_past(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, list[str], float, float]]:
    """Return the samples of the past: family, labels, instant (Unix seconds), value."""
    return connection.execute("SELECT family, labels, epoch(seen_at), value FROM alert_past").fetchall()


def keep_past(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, Sequence[str], float, float]]) -> None:
    """Replace the samples of the past."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    columns[2] = [_instant(at) for at in columns[2]]
    table = pa.Table.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, _PAST.types, strict=True)], schema=_PAST
    )
    with registered(connection, past=table):
        connection.execute("DELETE FROM alert_past")
        connection.execute("INSERT INTO alert_past SELECT * FROM past")


def count_notifications(
    connection: duckdb.DuckDBPyConnection, sent: Mapping[str, int], failed: Mapping[str, int]
) -> None:
    """Count notifications by Alertmanager."""
    for family, counts in ((NOTIFICATIONS_SENT, sent), (NOTIFICATIONS_FAILED, failed)):
        for url, number in counts.items():
            add(connection, family.name, [url], number)


def notification_counts(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], int]:
    """Return how many notifications were counted: ``{(family, url): count}``."""
    names = [NOTIFICATIONS_SENT.name, NOTIFICATIONS_FAILED.name]
    rows = connection.execute("SELECT family, labels[1], value FROM counters WHERE list_contains(?, family)", [names])
    return {(family, url): int(value) for family, url, value in rows.fetchall()}


def errors(connection: duckdb.DuckDBPyConnection, tasks: Sequence[int], now: datetime) -> dict[int, str]:
    """Return Tableau's error message for the last failure of each task, archived within the last week."""
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'background_jobs'"
    ).fetchall()
    if not tasks or not {(name,) for name in _READ_OF_JOBS} <= {*found}:
        return {}
    return dict(connection.execute(_ERRORS, [now, list(tasks)]).fetchall())


def alert_key(labels: Pairs) -> str:
    """Return the key of an alert: the same for the same labels."""
    text = "\x00".join(f"{name}\x01{value}" for name, value in labels)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _row(alert: Alert) -> dict[str, object]:
    instants = ("active_since", "fired_at", "ended_at", "resolved_at")
    return {
        "identity": alert_key(alert.labels),
        "state": alert.state,
        "labels": alert.labels,
        "value": alert.value,
        **{name: _instant(getattr(alert, name)) for name in instants},
        "told": sorted(alert.notified),
        "acknowledged": sorted(alert.acknowledged),
    }


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else naive(instant(seconds))


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.replace(tzinfo=UTC).timestamp()
