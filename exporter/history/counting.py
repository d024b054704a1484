"""What a transaction counts of the rows it has stored: their days, folds and people, and the time they span.

It is done once for all ranges of a transaction, from the few columns that it needs: over one range, planning these
statements would cost as much as running them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from exporter.collector import Events, Fold
from exporter.history import ledger, usage
from exporter.history.arrow import registered
from exporter.history.folding import fold, read_by
from exporter.history.schema import REQUEST_COLUMNS
from exporter.history.totals import earlier_clock

BEFORE_TABLEAU = datetime(2000, 1, 1)  # noqa: DTZ001 - naive, as in the history
USER = "user_id"
_COUNTED = frozenset({"completed_at", "site_id", USER, "fresh"})


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
    counted = _COUNTED | {events.key[1]} | read_by(folds, marked.column_names)
    counted |= usage.READ if events.keeps_open else set()
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
    ledger.archived(connection, table, key, relation)
    fold(connection, folds, labelled(relation))


def labelled(relation: str) -> str:
    """Return the relation with the label of each row's site."""
    return (
        f"(SELECT rows.*, coalesce(site_labels.site, '') AS site FROM {relation} AS rows"
        " LEFT JOIN site_labels ON site_labels.site_id = rows.site_id)"
    )


def see_people(connection: duckdb.DuckDBPyConnection, relation: str, now: datetime) -> None:
    """Move each person's last request on a site forward. A clock that is an hour ahead is not believed."""
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


def span(
    connection: duckdb.DuckDBPyConnection, relation: str, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return the oldest and the newest time that can be believed: retention is reckoned from them."""
    rows = connection.execute(
        f"SELECT min(created_at), max(created_at) FROM {relation} WHERE created_at BETWEEN ? AND ?",
        [BEFORE_TABLEAU, now + timedelta(hours=1)],
    ).fetchall()
    return rows[0][0], rows[0][1]
