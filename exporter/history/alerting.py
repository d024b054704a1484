"""What the agent's alerts are and were: kept over restarts, as tables that their owner may read.

``alerts`` has a line for each alert that is pending, firing, or whose end somebody must still be told of; what is over
is gone. ``alert_past`` has what rules that ask for growth need of the last hour and week.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from exporter.agent_families import NOTIFICATIONS_FAILED, NOTIFICATIONS_SENT
from exporter.collectors.assets.refresh_jobs import IS_REFRESH, TASK
from exporter.history.folding import add
from exporter.history.registering import registered
from exporter.history.totals import instant, naive

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
# A refresh that failed longer ago says nothing of today's.
_ERRORS = f"""
    SELECT {TASK} AS task, arg_max(notes, completed_at)
    FROM background_jobs
    WHERE finish_code = 1 AND notes IS NOT NULL AND completed_at > $1::TIMESTAMP - INTERVAL 7 DAY AND {IS_REFRESH}
        AND task IN (SELECT unnest($2::BIGINT[]))
    GROUP BY task
"""
_READ_OF_JOBS = ("task_id", "correlation_id", "job_name", "job_type", "notes")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class KeptAlert:
    """An alert as the history keeps it: all its labels, sorted; instants are Unix seconds."""

    state: str
    labels: Pairs
    value: float
    active_since: float
    fired_at: float | None
    ended_at: float | None
    resolved_at: float | None
    told: tuple[str, ...]
    acknowledged: tuple[str, ...]


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables."""
    connection.execute(
        "CREATE TABLE alerts (identity VARCHAR, state VARCHAR, labels MAP(VARCHAR, VARCHAR), value DOUBLE,"
        " active_since TIMESTAMP, fired_at TIMESTAMP, ended_at TIMESTAMP, resolved_at TIMESTAMP, told VARCHAR[],"
        " acknowledged VARCHAR[])"
    )
    connection.execute("CREATE TABLE alert_past (family VARCHAR, labels VARCHAR[], seen_at TIMESTAMP, value DOUBLE)")


def read(connection: duckdb.DuckDBPyConnection) -> list[KeptAlert]:
    """Return every alert."""
    columns = ", ".join(_ALERTS.names[1:])
    rows = connection.sql(f"SELECT {columns} FROM alerts").to_arrow_table().to_pylist()
    return [
        KeptAlert(
            row["state"],
            tuple(sorted(row["labels"])),
            row["value"],
            _seconds(row["active_since"]) or 0.0,
            _seconds(row["fired_at"]),
            _seconds(row["ended_at"]),
            _seconds(row["resolved_at"]),
            tuple(row["told"]),
            tuple(row["acknowledged"]),
        )
        for row in rows
    ]


def replace(connection: duckdb.DuckDBPyConnection, changed: Iterable[Pairs], alerts: Iterable[KeptAlert]) -> None:
    """Put alerts in the place of those with the labels that changed; what is not among them any more is gone."""
    gone = pa.table({"identity": pa.array([identity(labels) for labels in changed], pa.string())})
    rows = pa.Table.from_pylist([_row(alert) for alert in alerts], schema=_ALERTS)
    with registered(connection, gone=gone, new_alerts=rows):
        connection.execute("DELETE FROM alerts WHERE identity IN (SELECT identity FROM gone)")
        connection.execute("INSERT INTO alerts BY NAME SELECT * FROM new_alerts")


def read_past(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, list[str], float, float]]:
    """Return what was kept of the past: family, labels, instant (Unix seconds), value."""
    return connection.execute("SELECT family, labels, epoch(seen_at), value FROM alert_past").fetchall()


def keep_past(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, Sequence[str], float, float]]) -> None:
    """Put what is known of the past in the place of what was."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    columns[2] = [_instant(at) for at in columns[2]]
    table = pa.Table.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, _PAST.types, strict=True)], schema=_PAST
    )
    with registered(connection, past=table):
        connection.execute("DELETE FROM alert_past")
        connection.execute("INSERT INTO alert_past SELECT * FROM past")


def count(connection: duckdb.DuckDBPyConnection, sent: Mapping[str, int], failed: Mapping[str, int]) -> None:
    """Count notifications by Alertmanager."""
    for family, counts in ((NOTIFICATIONS_SENT, sent), (NOTIFICATIONS_FAILED, failed)):
        for url, number in counts.items():
            add(connection, family.name, [url], number)


def errors(connection: duckdb.DuckDBPyConnection, tasks: Sequence[int], now: datetime) -> dict[int, str]:
    """Return what Tableau said of the last failure of each task, as far as it was archived of late."""
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'background_jobs'"
    ).fetchall()
    if not tasks or not {(name,) for name in _READ_OF_JOBS} <= {*found}:
        return {}
    return dict(connection.execute(_ERRORS, [now, list(tasks)]).fetchall())


def identity(labels: Pairs) -> str:
    """Return what an alert is told by: the same for the same labels."""
    text = "\x00".join(f"{name}\x01{value}" for name, value in labels)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _row(alert: KeptAlert) -> dict[str, object]:
    row = {name: getattr(alert, name) for name in _ALERTS.names[1:]}
    instants = ("active_since", "fired_at", "ended_at", "resolved_at")
    return row | {"identity": identity(alert.labels)} | {name: _instant(row[name]) for name in instants}


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else naive(instant(seconds))


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.replace(tzinfo=UTC).timestamp()
