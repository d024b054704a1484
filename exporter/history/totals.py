"""Totals of the history that are exposed: read once after each poll, so that a scrape never opens the file."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb
import numpy as np
import numpy.typing as npt

REMEMBERED = "INTERVAL 31 DAY"


@dataclass(frozen=True)
class SeenPeople:
    """When each person was last seen on each site, as columns; ``seen_at`` in Unix seconds."""

    sites: npt.NDArray[np.object_] = field(default_factory=lambda: np.array([], dtype=object))
    people: npt.NDArray[np.int64] = field(default_factory=lambda: np.array([], dtype=np.int64))
    seen_at: npt.NDArray[np.float64] = field(default_factory=lambda: np.array([], dtype=np.float64))


@dataclass(frozen=True)
class Totals:
    """Counters, histograms and marks as they stand in the file."""

    counters: dict[str, list[tuple[tuple[str, ...], float]]] = field(default_factory=dict)
    histograms: dict[str, dict[tuple[str, ...], dict[float, tuple[int, float]]]] = field(default_factory=dict)
    latest: dict[str, list[tuple[tuple[str, ...], float]]] = field(default_factory=dict)
    """Gauges that are the latest instant of some events within a month (Unix seconds)."""
    marks: dict[str, float] = field(default_factory=dict)
    seen: SeenPeople = field(default_factory=SeenPeople)
    open_requests: int = 0

    def counter(self, family: str, *labels: str) -> float:
        """Return one counter, 0 when it was never counted."""
        return dict(self.counters.get(family, ())).get(labels, 0.0)


def read_totals(connection: duckdb.DuckDBPyConnection, now: datetime) -> Totals:
    """Read everything the exposition needs; its size depends on labels and users, not on the length of the history."""
    counters: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    for family, labels, value in connection.execute("SELECT family, labels, value FROM counters").fetchall():
        counters.setdefault(family, []).append((tuple(labels), value))
    histograms: dict[str, dict[tuple[str, ...], dict[float, tuple[int, float]]]] = {}
    for family, labels, bound, count, seconds in connection.execute(
        "SELECT family, labels, le, observations, seconds FROM histograms"
    ).fetchall():
        histograms.setdefault(family, {}).setdefault(tuple(labels), {})[bound] = (count, seconds)
    latest: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    recent = f"latest > TIMESTAMP '{now}' - {REMEMBERED}"
    for family, labels, at in connection.execute(
        f"SELECT family, labels, epoch(latest) FROM newest_events WHERE {recent} ORDER BY ALL"
    ).fetchall():
        latest.setdefault(family, []).append((tuple(labels), at))
    marks = {name: epoch for name, epoch in connection.execute("SELECT name, epoch(marked_at) FROM marks").fetchall()}  # noqa: C416
    seen = connection.execute(
        "SELECT site, person, epoch(seen_at) AS seen_at FROM last_seen"
        f" WHERE seen_at > TIMESTAMP '{now}' - {REMEMBERED}"
    ).fetchnumpy()
    waiting = connection.execute("SELECT count(*) FROM http_requests_open").fetchall()
    people = SeenPeople(
        np.asarray(seen["site"], dtype=object),
        np.asarray(seen["person"], dtype=np.int64),
        np.asarray(seen["seen_at"], dtype=np.float64),
    )
    return Totals(counters, histograms, latest, marks, people, int(waiting[0][0]))


def mark(connection: duckdb.DuckDBPyConnection, name: str, at: datetime, keep: str = "greatest") -> None:
    """Move a mark forward (``greatest``) or back (``least``), never the other way; or anywhere (``last``)."""
    moved = "new.marked_at" if keep == "last" else f"{keep}(marks.marked_at, new.marked_at)"
    connection.execute(
        f"""
        MERGE INTO marks USING (SELECT ? AS name, ?::TIMESTAMP AS marked_at) AS new ON marks.name = new.name
        WHEN MATCHED THEN UPDATE SET marked_at = {moved}
        WHEN NOT MATCHED THEN INSERT (name, marked_at) VALUES (new.name, new.marked_at)
        """,
        [name, naive(at)],
    )


def instant(seconds: float) -> datetime:
    """Return an instant of a clock (Unix seconds), in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def earlier_clock(now: datetime, source_at: datetime | None) -> datetime:
    """Return the earlier of the agent's and the source's clock: one that jumps ahead is not followed."""
    return now if source_at is None else min(now, source_at)


def naive(at: datetime) -> datetime:
    """Return an instant as the history keeps it: UTC without a zone."""
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
