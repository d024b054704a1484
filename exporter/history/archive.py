"""Inserts arriving rows: known rows are skipped, new rows are stored and aggregated in the same transaction.

Everything here runs inside a transaction of the history file. Rows arrive as Arrow columns, in ranges, and are
registered, not inserted one by one; each range is stored as it comes, and all are counted together after the last. The
rules are docs/decisions/0003-exactly-once.md.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Events, Fold
from exporter.history import aggregation, usage
from exporter.history.aggregation import Lookups
from exporter.history.arrow import registered
from exporter.history.dedup import mark_new
from exporter.history.request_identity import identities, pair
from exporter.history.tables import ARCHIVED_AT, IMPORTED, NOT_COUNTED, REQUEST_COLUMNS, quoted

# A request that is still open after a day will not complete: it is final without completion, for good.
OPEN_FOR = timedelta(days=1)

_MARKS = frozenset({"row_number", "fresh"})
_SAME_KEY = "{a}.id = {b}.id AND {a}.created_at IS NOT DISTINCT FROM {b}.created_at"


@dataclass(frozen=True)
class Instants:
    """When a transaction is made by the agent's clock, and by the order of the archive (UTC, naive)."""

    now: datetime
    archived_at: datetime


@dataclass(frozen=True)
class Appended:
    """What became of rows."""

    read: int = 0
    new: int = 0
    open: int = 0
    seen: int = 0
    """How many had never been read before, open or final."""
    reused_ids: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def __add__(self, other: "Appended") -> "Appended":
        """Add up two ranges; what time they span is found for all of them together."""
        return Appended(
            self.read + other.read,
            self.new + other.new,
            self.open + other.open,
            self.seen + other.seen,
            self.reused_ids + other.reused_ids,
        )


def append(
    connection: duckdb.DuckDBPyConnection,
    events: Events,
    ranges: Iterable[pa.Table],
    lookups: Lookups,
    folds: Sequence[Fold],
    *,
    at: Instants,
    hidden: Collection[str] = (),
    count_people: bool = False,
) -> Appended:
    """Archive rows that are final as they come: jobs, logins, events of Tableau Cloud.

    Of requests of people the ``hidden`` columns are not stored.
    """
    total, stored = Appended(), []
    for rows in filter(len, ranges):
        marked, reused = mark_new(connection, events, rows, lookups.pruned_before)
        columns = ", ".join(_stored(name, hidden if events.counts_usage else ()) for name in rows.column_names)
        with registered(connection, arriving=marked):
            new = _store(connection, events.table, f"SELECT {columns} FROM arriving WHERE fresh", at.archived_at)
        total += Appended(rows.num_rows, new, seen=new, reused_ids=reused)
        stored.append(aggregation.narrowed(marked, events, folds))
    if total.new:
        with aggregation.counted(connection, stored, lookups) as fresh:
            aggregation.count_events(connection, events, fresh, folds, lookups.earlier_clock(at.now))
            if events.counts_usage:
                _count_usage(connection, fresh, fresh, lookups, at.now, hidden, count_people=count_people)
    return total


def append_requests(
    connection: duckdb.DuckDBPyConnection,
    events: Events,
    ranges: Iterable[pa.Table],
    lookups: Lookups,
    folds: Sequence[Fold],
    *,
    hidden: Collection[str],
    at: Instants,
    count_people: bool,
) -> Appended:
    """Archive clean requests: the final ones for good, the open ones apart; the ``hidden`` columns are not stored."""
    now = lookups.earlier_clock(at.now)
    final = f"(completed_at IS NOT NULL OR coalesce(created_at < TIMESTAMP '{now - OPEN_FOR}', false))"
    total, stored = Appended(), []
    for rows in filter(len, ranges):
        marked, reused = mark_new(connection, events, rows, lookups.pruned_before)
        marked = _supersede(connection, events, marked)
        columns = ", ".join(_stored(name, hidden) for name in rows.column_names)
        with registered(connection, arriving=marked):
            opened, completed = _keep_open(connection, marked, final, columns, at.now)
            select = f"SELECT {columns} FROM arriving WHERE fresh AND {final}"
            new = _store(connection, events.table, select, at.archived_at)
        total += Appended(rows.num_rows, new, opened, new - completed + opened, reused)
        stored.append(aggregation.narrowed(marked, events, folds))
    if not total.read:
        return total
    with aggregation.counted(connection, stored, lookups) as fresh:
        done = f"(FROM {fresh} WHERE {final})" if total.new else None
        _count_usage(connection, fresh, done, lookups, at.now, hidden, count_people=count_people)
        if done:
            aggregation.count(connection, events.table, events.key[1], done, folds)
        oldest, newest = aggregation.plausible_span(connection, fresh, now)
    return replace(total, oldest=oldest, newest=newest)


def _count_usage(
    connection: duckdb.DuckDBPyConnection,
    seen: str,
    done: str | None,
    lookups: Lookups,
    now: datetime,
    hidden: Collection[str],
    *,
    count_people: bool,
) -> None:
    """Count who made the requests ``seen``, and by hour and view those that are ``done``: relations of fresh rows."""
    if count_people:
        aggregation.update_last_seen(connection, seen, lookups.earlier_clock(now))
        if aggregation.USER not in hidden:
            usage.store_people_by_hour(connection, seen, lookups.clocks(now))
    if done:
        usage.count_usage(connection, done, lookups.clocks(now), with_users=aggregation.USER not in hidden)


def _stored(name: str, hidden: Collection[str]) -> str:
    return f"NULL AS {quoted(name)}" if name in hidden else quoted(name)


def promote(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    gone: pa.Table,
    lookups: Lookups,
    folds: Sequence[Fold],
    at: Instants,
) -> int:
    """Make open requests final that the source no longer has (``gone``: id, created_at), or that are a day old."""
    limit = f"TIMESTAMP '{lookups.earlier_clock(at.now) - OPEN_FOR}'"
    # Our own clock may have been behind when a request was first seen: it decides only where the source has no clock.
    unknown = f"(created_at IS NULL OR created_at > TIMESTAMP '{at.now}')"
    same = _SAME_KEY.format(a="waiting", b="gone")
    with registered(connection, gone=gone, site_labels=lookups.site_labels()):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE promoted AS SELECT * FROM {table}_open AS waiting"
            f" WHERE created_at < {limit} OR (first_seen_at < {limit} AND {unknown})"
            f" OR EXISTS (SELECT 1 FROM gone WHERE {same})"
        )
        new = _store(connection, table, "SELECT * EXCLUDE (first_seen_at) FROM promoted", at.archived_at)
        if new:
            typed = f"(SELECT {aggregation.typed(REQUEST_COLUMNS)} FROM promoted)"
            aggregation.count(connection, table, "created_at", typed, folds)
            usage.count_usage(connection, typed, lookups.clocks(at.now))
            same = _SAME_KEY.format(a="waiting", b="promoted")
            connection.execute(f"DELETE FROM {table}_open AS waiting USING promoted WHERE {same}")
        connection.execute("DROP TABLE promoted")
    return new


def _store(connection: duckdb.DuckDBPyConnection, table: str, rows: str, archived_at: datetime) -> int:
    """Store the rows of a SELECT; return how many."""
    dated = f"SELECT *, TIMESTAMP '{archived_at}' AS {ARCHIVED_AT} FROM ({rows})"
    stored = connection.execute(f'INSERT INTO "{table}" BY NAME {dated}').fetchall()
    return int(stored[0][0])


def _keep_open(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, final: str, stored: str, now: datetime
) -> tuple[int, int]:
    """Keep what is open apart, as it was read last; forget there what is final now. Return how many were each."""
    completed = 0
    if connection.execute("SELECT EXISTS (FROM http_requests_open)").fetchall()[0][0]:
        completed = _forget(connection, f"SELECT id, created_at FROM arriving WHERE {final}")
    if not rows.column("completed_at").null_count:
        return 0, completed
    opened = f"SELECT {stored} FROM arriving WHERE fresh AND NOT {final}"
    names = [name for name in rows.column_names if name not in _MARKS]
    changed = " OR ".join(f"waiting.{quoted(name)} IS DISTINCT FROM opened.{quoted(name)}" for name in names)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE kept AS
        SELECT opened.*, waiting.first_seen_at AS first_seen_at
        FROM ({opened}) AS opened
        LEFT JOIN http_requests_open AS waiting ON {_SAME_KEY.format(a="waiting", b="opened")}
        WHERE waiting.first_seen_at IS NULL OR {changed}
        """
    )
    _forget(connection, "SELECT id, created_at FROM kept")
    connection.execute(
        "INSERT INTO http_requests_open BY NAME"
        f" SELECT * REPLACE (coalesce(first_seen_at, TIMESTAMP '{now}') AS first_seen_at) FROM kept"
    )
    new = connection.execute("SELECT count(*) FILTER (first_seen_at IS NULL) FROM kept").fetchall()
    connection.execute("DROP TABLE kept")
    return int(new[0][0]), completed


def _forget(connection: duckdb.DuckDBPyConnection, keys: str) -> int:
    """Take requests out of the open ones; return how many."""
    same = _SAME_KEY.format(a="waiting", b="done")
    gone = connection.execute(f"DELETE FROM http_requests_open AS waiting USING ({keys}) AS done WHERE {same}")
    return int(gone.fetchall()[0][0])


def keys_table(ids: Sequence[int], created: Sequence[datetime | None]) -> pa.Table:
    """Return keys of requests as a table of id and created_at."""
    return pa.table({"id": pa.array(ids, pa.int64()), "created_at": pa.array(created, pa.timestamp("us"))})


def _supersede(connection: duckdb.DuckDBPyConnection, events: Events, marked: pa.Table) -> pa.Table:
    """Remove what was imported of the requests that arrive and are marked as fresh: they are archived and counted.

    Requests that were counted when they were imported stay, and the arriving row is marked as known.
    A file may be imported before the agent has read the repository's rows of its time.
    """
    if not connection.execute("SELECT EXISTS (FROM imports)").fetchall()[0][0]:
        return marked
    with registered(connection, arriving=marked):
        bounds = "SELECT min(created_at)::VARCHAR, max(created_at)::VARCHAR FROM arriving WHERE fresh"
        ((first, last),) = connection.execute(bounds).fetchall()
        if first is None:
            return marked
        imported = f"id IS NULL AND created_at BETWEEN TIMESTAMP '{first}' AND TIMESTAMP '{last}' AND {IMPORTED}"
        archived = identities(connection, events.table, "rows.rowid", imported)
        found = pair(identities(connection, "arriving", "row_number", "fresh"), archived) if archived else {}
    return _supersede_pairs(connection, events, marked, found) if found else marked


def _supersede_pairs(
    connection: duckdb.DuckDBPyConnection, events: Events, marked: pa.Table, found: dict[int, int]
) -> pa.Table:
    with registered(connection, pairs=pa.table({"place": list(found), "imported": list(found.values())})):
        counted = connection.execute(
            f"SELECT place FROM pairs JOIN {events.table} AS rows ON rows.rowid = imported WHERE NOT {NOT_COUNTED}"
        ).fetchall()
        uncounted = f"{events.table} AS rows WHERE rows.rowid IN (SELECT imported FROM pairs) AND {NOT_COUNTED}"
        for source in (events.table, aggregation.UNCOUNTED):
            aggregation.add_pruned(connection, source, events.key[1], f"(SELECT rows.* FROM {uncounted})")
        connection.execute(f"DELETE FROM {uncounted}")
    known = pc.is_in(marked.column("row_number"), pa.array([place for (place,) in counted], pa.int64()))
    fresh = pc.and_(marked.column("fresh"), pc.invert(known))
    return marked.set_column(marked.column_names.index("fresh"), "fresh", fresh)
