"""Counters, histograms, active users and rows by day, aggregated from the rows that a transaction stores.

In one transaction with the rows, so that counters never fall, and the file can be compared with all that was archived.
It is done once for all ranges of a transaction: over one range, planning these statements would cost as much as running
them. In ``archived_days`` a row's day is that of its own key; rows without a time have a day of their own, and so have
those whose time is infinite.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from exporter.collector import Count, Distribution, Events, FirstValues, Fold, Latest
from exporter.history import usage
from exporter.history.arrow import registered
from exporter.history.tables import REQUEST_COLUMNS
from exporter.history.totals import earlier_clock, mark

BEFORE_TABLEAU = datetime(2000, 1, 1)  # noqa: DTZ001 - naive, as in the history
USER = "user_id"
_COUNTED = frozenset({"completed_at", "site_id", USER, "fresh"})
UNCOUNTED = "http_requests:uncounted"
"""The ledger of the imported requests that are in no counter; that of ``http_requests`` has them too."""
_SAME_DAY = "archived_days.source = new.source AND archived_days.day IS NOT DISTINCT FROM new.day"


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

    def earlier_clock(self, now: datetime) -> datetime:
        """Return the earlier of the agent's and the source's clock."""
        return earlier_clock(now, self.source_at)

    def clocks(self, now: datetime) -> usage.Clocks:
        """Return both clocks, for what is counted by the hour."""
        return usage.Clocks(self.earlier_clock(now), max(now, self.source_at or now))

    def site_labels(self) -> pa.Table:
        """Return the sites as columns site_id and site."""
        sites = {"site_id": pa.array(self.sites.keys(), pa.int64()), "site": pa.array(self.sites.values(), pa.string())}
        return pa.table(sites)


def narrowed(marked: pa.Table, events: Events, folds: Sequence[Fold]) -> pa.Table:
    """Return the columns that are counted."""
    counted = _COUNTED | {events.key[1]} | read_by(folds, marked.column_names, events.joined or "")
    counted |= usage.READ if events.keeps_open or events.counts_usage else set()
    return marked.select([name for name in marked.column_names if name in counted])


@contextmanager
def counted(connection: duckdb.DuckDBPyConnection, stored: Sequence[pa.Table], lookups: Lookups) -> Iterator[str]:
    """Make all ranges readable, and what their ids stand for; yield the relation of their rows."""
    rows = pa.concat_tables(stored)
    with registered(connection, counted=rows, people=lookups.people, site_labels=lookups.site_labels()):
        yield f"(SELECT {typed(rows.column_names)} FROM counted WHERE fresh)"


def typed(names: Collection[str]) -> str:
    """Return the columns; a source may keep a number as text some day, and is counted by the number all the same."""
    numbers = [name for name, kind in REQUEST_COLUMNS.items() if kind == "BIGINT" and name in names]
    return "* REPLACE (" + ", ".join(f"TRY_CAST({name} AS BIGINT) AS {name}" for name in numbers) + ")"


def count(connection: duckdb.DuckDBPyConnection, table: str, key: str, relation: str, folds: Sequence[Fold]) -> None:
    """Count the rows of a relation, which have just been stored in a table, by day and by folds."""
    add_archived(connection, table, key, relation)
    fold(connection, folds, labelled(relation))


def count_events(
    connection: duckdb.DuckDBPyConnection, events: Events, relation: str, folds: Sequence[Fold], now: datetime
) -> None:
    """Count the rows of a relation, which have just been stored, with all that their folds need beside them."""
    if events.first_values:
        _keep_first_values(connection, events.table, events.first_values, relation)
    if events.joined:
        joined = events.joined.format(rows=f"(FROM {relation} AS fresh_rows)")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE joined AS {joined}")
    rows = "joined" if events.joined else relation
    count(connection, events.table, events.key[1], rows, folds)
    _update_latest(connection, folds, labelled(rows), now)
    if events.joined:
        connection.execute("DROP TABLE joined")


def create_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of the values that are labels, and of the gauges that are the latest of some events."""
    connection.execute("CREATE TABLE IF NOT EXISTS label_values (source VARCHAR, value VARCHAR)")
    connection.execute("CREATE TABLE IF NOT EXISTS newest_events (family VARCHAR, labels VARCHAR[], latest TIMESTAMP)")


def _keep_first_values(connection: duckdb.DuckDBPyConnection, table: str, first: FirstValues, relation: str) -> None:
    """Keep the values that are new, the earliest first, as long as there is room."""
    known = f"FROM label_values WHERE source = '{table}'"
    ((room,),) = connection.execute(f"SELECT {first.most} - count(*) {known}").fetchall()
    if room > 0:
        connection.execute(
            f"""
            INSERT INTO label_values
            SELECT '{table}' AS source, value
            FROM (
                SELECT {first.column} AS value, min(created_at) AS first_at
                FROM {relation} AS rows
                WHERE {first.column} <> '' AND {first.column} NOT IN (SELECT value {known})
                GROUP BY ALL
                ORDER BY first_at, value
                LIMIT {room}
            )
            """
        )


def _update_latest(connection: duckdb.DuckDBPyConnection, folds: Sequence[Fold], relation: str, now: datetime) -> None:
    """Move gauges forward. Times more than an hour ahead are ignored."""
    queries = [latest_query(item, relation, now + timedelta(hours=1)) for item in folds if isinstance(item, Latest)]
    if queries:
        connection.execute(
            f"""
            MERGE INTO newest_events USING ({" UNION ALL ".join(queries)}) AS folded
            ON newest_events.family = folded.family AND newest_events.labels = folded.labels
            WHEN MATCHED AND folded.latest > newest_events.latest THEN UPDATE SET latest = folded.latest
            WHEN NOT MATCHED THEN INSERT (family, labels, latest) VALUES (folded.family, folded.labels, folded.latest)
            """
        )


def labelled(relation: str) -> str:
    """Return the relation with the label of each row's site."""
    return (
        f"(SELECT rows.*, coalesce(site_labels.site, '') AS site FROM {relation} AS rows"
        " LEFT JOIN site_labels ON site_labels.site_id = rows.site_id)"
    )


def update_last_seen(connection: duckdb.DuckDBPyConnection, relation: str, now: datetime) -> None:
    """Move each person's last request on a site forward. Times more than an hour ahead are ignored."""
    connection.execute(
        f"""
        MERGE INTO last_seen USING ({seen_query(relation, now + timedelta(hours=1))}) AS seen
        ON last_seen.site = seen.site AND last_seen.person = seen.person
        WHEN MATCHED AND seen.seen_at > last_seen.seen_at THEN UPDATE SET seen_at = seen.seen_at
        WHEN NOT MATCHED THEN INSERT (site, person, seen_at) VALUES (seen.site, seen.person, seen.seen_at)
        """
    )


def seen_query(relation: str, until: datetime, by: str = "") -> str:
    """Return when each person was last seen on each site: site, person, seen_at; ``by`` names further columns."""
    return f"""
        SELECT
            coalesce(site_labels.site, '') AS site,
            coalesce(people.person, -users.user_id) AS person,
            {by}max(users.seen_at) AS seen_at
        FROM (
            SELECT site_id, user_id, {by}max(created_at) AS seen_at
            FROM {relation} AS counted
            WHERE user_id IS NOT NULL AND isfinite(created_at) AND created_at <= TIMESTAMP '{until}'
            GROUP BY ALL
        ) AS users
        LEFT JOIN site_labels ON site_labels.site_id = users.site_id
        LEFT JOIN people ON people.user_id = users.user_id
        GROUP BY ALL
    """


def plausible_span(
    connection: duckdb.DuckDBPyConnection, relation: str, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return the oldest and the newest plausible time: retention is computed from them."""
    rows = connection.execute(
        f"SELECT min(created_at), max(created_at) FROM {relation} WHERE created_at BETWEEN ? AND ?",
        [BEFORE_TABLEAU, now + timedelta(hours=1)],
    ).fetchall()
    return rows[0][0], rows[0][1]


def mark_span(connection: duckdb.DuckDBPyConnection, times: pa.ChunkedArray, now: datetime) -> datetime | None:
    """Move the marks of the oldest and the newest event that is archived; return the newest plausible of these."""
    with registered(connection, seen=pa.table({"created_at": times})):
        oldest, newest = plausible_span(connection, "seen", now)
    if oldest is None or newest is None:
        return None
    mark(connection, "newest", newest)
    mark(connection, "oldest", oldest, keep="least")
    return newest


def fold(connection: duckdb.DuckDBPyConnection, folds: Sequence[Fold], relation: str) -> None:
    """Fold the rows of a relation into the counters and histograms."""
    counts = [count_query(item, relation) for item in folds if isinstance(item, Count)]
    if counts:
        connection.execute(
            f"""
            MERGE INTO counters USING ({" UNION ALL ".join(counts)}) AS folded
            ON counters.family = folded.family AND counters.labels = folded.labels
            WHEN MATCHED THEN UPDATE SET value = counters.value + folded.value
            WHEN NOT MATCHED THEN INSERT (family, labels, value) VALUES (folded.family, folded.labels, folded.value)
            """
        )
    distributions = [distribution_query(item, relation) for item in folds if isinstance(item, Distribution)]
    if distributions:
        connection.execute(
            f"""
            MERGE INTO histograms USING ({" UNION ALL ".join(distributions)}) AS folded
            ON histograms.family = folded.family AND histograms.labels = folded.labels AND histograms.le = folded.le
            WHEN MATCHED THEN UPDATE SET
                observations = histograms.observations + folded.observations,
                seconds = histograms.seconds + folded.seconds
            WHEN NOT MATCHED THEN INSERT (family, labels, le, observations, seconds)
                VALUES (folded.family, folded.labels, folded.le, folded.observations, folded.seconds)
            """
        )


def read_by(folds: Sequence[Fold], columns: Iterable[str], joined: str = "") -> set[str]:
    """Return which columns the folds' expressions, and a query for more columns, name; perhaps more, never fewer."""
    texts = [joined, *(text for item in folds for text in (*item.by.values(), item.where))]
    texts += [item.seconds for item in folds if isinstance(item, Distribution)]
    texts += [item.at for item in folds if isinstance(item, Latest)]
    return {name for name in columns if any(name in text for text in texts)}


def add(connection: duckdb.DuckDBPyConnection, family: str, labels: Sequence[str], value: float) -> None:
    """Add to one counter."""
    connection.execute(
        """
        MERGE INTO counters USING (SELECT ? AS family, ?::VARCHAR[] AS labels, ?::DOUBLE AS value) AS folded
        ON counters.family = folded.family AND counters.labels = folded.labels
        WHEN MATCHED THEN UPDATE SET value = counters.value + folded.value
        WHEN NOT MATCHED THEN INSERT (family, labels, value) VALUES (folded.family, folded.labels, folded.value)
        """,
        [family, list(labels), value],
    )


def count_query(item: Count, relation: str, by: str = "") -> str:
    """Return what a counter counts: family, labels, value; ``by`` are further columns, a comma behind each."""
    grouped, names = _labels(item.by, item.family.labels)
    return (
        f"SELECT '{item.family.name}' AS family, {names} AS labels, {by}value FROM"
        f" (SELECT {grouped}{by}count(*)::DOUBLE AS value FROM {relation} AS rows WHERE {item.where} GROUP BY ALL)"
    )


def distribution_query(item: Distribution, relation: str, by: str = "") -> str:
    """Return what a histogram counts: family, labels, le, observations, seconds; ``by`` as of a counter."""
    grouped, names = _labels(item.by, item.family.labels)
    bounds = " ".join(f"WHEN ({item.seconds}) <= {bound} THEN {bound}" for bound in item.family.buckets)
    return (
        f"SELECT '{item.family.name}' AS family, {names} AS labels, {by}le, observations, seconds FROM"
        f" (SELECT {grouped}{by}(CASE {bounds} ELSE 'infinity'::DOUBLE END)::DOUBLE AS le, count(*) AS observations,"
        f" sum({item.seconds})::DOUBLE AS seconds FROM {relation} AS rows WHERE {item.where} GROUP BY ALL)"
    )


def latest_query(item: Latest, relation: str, until: datetime) -> str:
    """Return the latest instants: family, labels, latest."""
    grouped, names = _labels(item.by, item.family.labels)
    plausible = f"({item.at}) BETWEEN TIMESTAMP '{BEFORE_TABLEAU}' AND TIMESTAMP '{until}'"
    return (
        f"SELECT '{item.family.name}' AS family, {names} AS labels, latest FROM"
        f" (SELECT {grouped}max({item.at}) AS latest FROM {relation} AS rows WHERE ({item.where}) AND {plausible}"
        " GROUP BY ALL)"
    )


def _labels(by: Mapping[str, str], order: Sequence[str]) -> tuple[str, str]:
    """Return the grouping expressions, named l0, l1, ..., and the list made of them afterwards: one list a group."""
    grouped = "".join(f"coalesce(({by[name]})::VARCHAR, '') AS l{index}, " for index, name in enumerate(order))
    names = "[" + ", ".join(f"l{index}" for index in range(len(order))) + "]"
    return grouped, names


def create_archived_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table."""
    connection.execute('CREATE TABLE archived_days (source VARCHAR, day DATE, "rows" BIGINT, pruned BIGINT)')


def add_archived(connection: duckdb.DuckDBPyConnection, table: str, key: str, relation: str) -> None:
    """Add the rows of a relation, which have just been stored in a table; ``key`` is the column of their time."""
    connection.execute(
        f"""
        MERGE INTO archived_days USING ({_by_day(table, key, relation)}) AS new ON {_SAME_DAY}
        WHEN MATCHED THEN UPDATE SET "rows" = archived_days."rows" + new.count
        WHEN NOT MATCHED THEN INSERT (source, day, "rows", pruned) VALUES (new.source, new.day, new.count, 0)
        """
    )


def add_pruned(connection: duckdb.DuckDBPyConnection, table: str, key: str, relation: str) -> None:
    """Take note of rows that are about to be removed; a day that nobody wrote down becomes a fault, not an error."""
    connection.execute(
        f"""
        MERGE INTO archived_days USING ({_by_day(table, key, relation)}) AS new ON {_SAME_DAY}
        WHEN MATCHED THEN UPDATE SET pruned = archived_days.pruned + new.count
        WHEN NOT MATCHED THEN INSERT (source, day, "rows", pruned) VALUES (new.source, new.day, 0, new.count)
        """
    )


def _by_day(table: str, key: str, relation: str) -> str:
    return (
        f"SELECT '{table}' AS source, \"{key}\"::DATE AS day, count(*) AS count FROM {relation} AS stored GROUP BY ALL"
    )
