"""Rows into tables, once: what is known already is left out, what is new is stored and folded in the same transaction.

Everything here runs inside a transaction of the history file. Rows arrive as Arrow columns and are registered, not
inserted one by one; the rules are docs/decisions/0003-exactly-once.md.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from exporter.collector import Events, Fold
from exporter.history import ledger
from exporter.history.folding import fold
from exporter.history.recognition import mark_fresh
from exporter.history.registering import registered
from exporter.history.schema import REQUEST_COLUMNS, quoted

# A request that is still open after a day will not complete: it is final without completion, for good.
OPEN_FOR = timedelta(days=1)

BEFORE_TABLEAU = datetime(2000, 1, 1)  # noqa: DTZ001 - naive, as in the history

_MARKS = frozenset({"row_number", "fresh"})
# A source may keep a number as text some day; what counts and who was seen go by its number all the same.
_TYPED = ", ".join(
    f'TRY_CAST("{name}" AS BIGINT) AS "{name}"' for name, kind in REQUEST_COLUMNS.items() if kind == "BIGINT"
)

_SAME_KEY = "{a}.id = {b}.id AND {a}.created_at IS NOT DISTINCT FROM {b}.created_at"


@dataclass(frozen=True)
class Lookups:
    """What ids stand for while rows are archived: the label of each site, the person behind each user."""

    sites: Mapping[int, str]
    people: pa.Table
    """Columns user_id and person, 64-bit integers."""
    pruned_before: datetime | None = None
    """Rows older than this were removed by the retention: read again, they are not counted again."""
    source_at: datetime | None = None
    """The source's clock (UTC, naive)."""

    def believed(self, now: datetime) -> datetime:
        """Return the earlier of the two clocks, ours and the source's: one that jumps ahead is not followed."""
        return min(now, self.source_at or now)


@dataclass(frozen=True)
class Appended:
    """What became of the rows of one batch."""

    read: int
    new: int
    open: int = 0
    seen: int = 0
    """How many had never been read before, open or final."""
    reused_ids: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


def append(
    connection: duckdb.DuckDBPyConnection, events: Events, rows: pa.Table, lookups: Lookups, folds: Sequence[Fold]
) -> Appended:
    """Archive rows that are final as they come (jobs, logins)."""
    if not rows.num_rows:
        return Appended(0, 0)
    marked, reused = mark_fresh(connection, events, rows, lookups.pruned_before)
    with _arriving(connection, marked, lookups):
        fresh = "(SELECT * EXCLUDE (row_number, fresh) FROM arriving WHERE fresh)"
        new = _store(connection, events.table, events.key[1], f"FROM {fresh}", fresh, folds)
    return Appended(rows.num_rows, new, seen=new, reused_ids=reused)


def append_requests(
    connection: duckdb.DuckDBPyConnection,
    events: Events,
    rows: pa.Table,
    lookups: Lookups,
    folds: Sequence[Fold],
    *,
    hidden: Collection[str],
    now: datetime,
    count_people: bool,
) -> Appended:
    """Archive clean requests: the final ones for good, the open ones apart; the ``hidden`` columns are not stored."""
    if not rows.num_rows:
        return Appended(0, 0)
    marked, reused = mark_fresh(connection, events, rows, lookups.pruned_before)
    final = (
        f"(completed_at IS NOT NULL OR coalesce(created_at < TIMESTAMP '{lookups.believed(now) - OPEN_FOR}', false))"
    )
    stored = ", ".join(_stored(name, hidden) for name in rows.column_names)
    with _arriving(connection, marked, lookups):
        if count_people:
            _see_people(connection, lookups.believed(now))
        opened, completed = _keep_open(connection, marked, final, stored, now)
        new = _store(
            connection,
            events.table,
            events.key[1],
            f"SELECT {stored} FROM arriving WHERE fresh AND {final}",
            f"(SELECT * REPLACE ({_TYPED}) FROM arriving WHERE fresh AND {final})",
            folds,
        )
        oldest, newest = _span(connection, lookups.believed(now))
    return Appended(rows.num_rows, new, opened, new - completed + opened, reused, oldest, newest)


def _stored(name: str, hidden: Collection[str]) -> str:
    return f"NULL AS {quoted(name)}" if name in hidden else quoted(name)


def promote(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    gone: pa.Table,
    lookups: Lookups,
    folds: Sequence[Fold],
    now: datetime,
) -> int:
    """Make open requests final that the source no longer has (``gone``: id, created_at), or that are a day old."""
    limit = f"TIMESTAMP '{lookups.believed(now) - OPEN_FOR}'"
    # Our own clock may have been behind when a request was first seen: it decides only where the source says nothing.
    unknown = f"(created_at IS NULL OR created_at > TIMESTAMP '{now}')"
    same = _SAME_KEY.format(a="waiting", b="gone")
    with registered(connection, gone=gone, site_labels=_site_labels(lookups)):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE promoted AS SELECT * FROM {table}_open AS waiting"
            f" WHERE created_at < {limit} OR (first_seen_at < {limit} AND {unknown})"
            f" OR EXISTS (SELECT 1 FROM gone WHERE {same})"
        )
        rows = "SELECT * EXCLUDE (first_seen_at) {} FROM promoted"
        typed = f"({rows.format(f'REPLACE ({_TYPED})')})"
        new = _store(connection, table, "created_at", rows.format(""), typed, folds)
        if new:
            same = _SAME_KEY.format(a="waiting", b="promoted")
            connection.execute(f"DELETE FROM {table}_open AS waiting USING promoted WHERE {same}")
        connection.execute("DROP TABLE promoted")
    return new


def _store(
    connection: duckdb.DuckDBPyConnection, table: str, key: str, select: str, folded: str, folds: Sequence[Fold]
) -> int:
    """Store what ``select`` gives; count the same rows, as the relation ``folded`` gives them, by day and by folds."""
    stored = connection.execute(f'INSERT INTO "{table}" BY NAME {select}').fetchall()
    new = int(stored[0][0])
    if new:
        ledger.archived(connection, table, key, folded)
        labelled = (
            f"(SELECT rows.*, coalesce(site_labels.site, '') AS site FROM {folded} AS rows"
            " LEFT JOIN site_labels ON site_labels.site_id = rows.site_id)"
        )
        fold(connection, folds, labelled)
    return new


@contextmanager
def _arriving(connection: duckdb.DuckDBPyConnection, rows: pa.Table, lookups: Lookups) -> Iterator[None]:
    with registered(connection, arriving=rows, people=lookups.people, site_labels=_site_labels(lookups)):
        yield


def _site_labels(lookups: Lookups) -> pa.Table:
    return pa.table(
        {"site_id": pa.array(lookups.sites.keys(), pa.int64()), "site": pa.array(lookups.sites.values(), pa.string())}
    )


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


def _see_people(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """Move each person's last request on a site forward. A clock that is an hour ahead is not believed."""
    connection.execute(
        f"""
        MERGE INTO last_seen USING (
            SELECT
                coalesce(site_labels.site, '') AS site,
                coalesce(people.person, -users.user_id) AS person,
                max(users.seen_at) AS seen_at
            FROM (
                SELECT site_id, user_id, max(created_at) AS seen_at
                FROM (SELECT * REPLACE ({_TYPED}) FROM arriving) AS arriving
                WHERE fresh
                    AND user_id IS NOT NULL
                    AND isfinite(created_at)
                    AND created_at <= TIMESTAMP '{now + timedelta(hours=1)}'
                GROUP BY ALL
            ) AS users
            LEFT JOIN site_labels ON site_labels.site_id = users.site_id
            LEFT JOIN people ON people.user_id = users.user_id
            GROUP BY ALL
        ) AS seen
        ON last_seen.site = seen.site AND last_seen.person = seen.person
        WHEN MATCHED AND seen.seen_at > last_seen.seen_at THEN UPDATE SET seen_at = seen.seen_at
        WHEN NOT MATCHED THEN INSERT (site, person, seen_at) VALUES (seen.site, seen.person, seen.seen_at)
        """
    )


def _span(connection: duckdb.DuckDBPyConnection, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the oldest and the newest time that can be believed: retention is reckoned from them."""
    rows = connection.execute(
        "SELECT min(created_at), max(created_at) FROM arriving WHERE fresh AND created_at BETWEEN ? AND ?",
        [BEFORE_TABLEAU, now + timedelta(hours=1)],
    ).fetchall()
    return rows[0][0], rows[0][1]


def keys_table(ids: Sequence[int], created: Sequence[datetime | None]) -> pa.Table:
    """Return keys of requests as a table of id and created_at."""
    return pa.table({"id": pa.array(ids, pa.int64()), "created_at": pa.array(created, pa.timestamp("us"))})
