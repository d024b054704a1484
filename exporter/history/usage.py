"""Usage for the pages, aggregated in the transaction that stores the requests: by hour for days, by day for months.

The tables are bounded: a page needs no more, and the archive itself has everything. Rows have the numbers of sites,
whose labels may change. Nothing here may stop the archive: its transaction touches the hours of its own requests, and
only adds loads of views to those that wait; summing them up by day is for a transaction of the pages' own.
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa
import structlog

from exporter.history import opens

log = structlog.get_logger()

WAITING = "views_waiting"
TABLES = ("requests_by_hour", "people_by_hour", "views_by_day", WAITING, opens.TABLE)
READ = frozenset({"action", "workbook", "view"})
"""What is read of a request beside what is counted of it anyway."""

HOURS_KEPT = "INTERVAL 9 DAY"
DAYS_KEPT = "INTERVAL 100 DAY"
# Clocks of nodes differ, and so do zones that somebody set wrong; what is farther ahead is no time at all.
AHEAD = "INTERVAL 1 DAY"
# So many days are summed up in one transaction, each by itself: memory is needed for the views of one day.
STEP_DAYS = 10
_BY_HOUR = "SELECT date_trunc('hour', created_at) AS hour, site_id, count(*) AS requests"
_BY_DAY = 'SELECT created_at::DATE AS day, site_id, workbook, "view", count(*) AS loads'


@dataclass(frozen=True)
class Use:
    """Requests (hour, site_id, requests) and people (hour, site_id, whole, people) of each hour.

    ``whole`` marks what is counted over all sites, each person once. ``people`` is None where users may not be
    distinguished. Hours are UTC, naive.
    """

    requests: pa.Table
    people: pa.Table | None
    loads_since: datetime | None
    """Since when views are counted by day."""


def create_usage(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables, and count the requests of an older file; their users are not known here."""
    if connection.execute("SELECT EXISTS (FROM http_requests)").fetchall()[0][0]:
        log.info("the history's requests are counted by the hour and the day, once: half a second for each million")
    connection.execute("CREATE TABLE requests_by_hour (hour TIMESTAMP, site_id BIGINT, requests BIGINT)")
    connection.execute("CREATE TABLE people_by_hour (hour TIMESTAMP, site_id BIGINT, person BIGINT)")
    connection.execute(
        'CREATE TABLE views_by_day (day DATE, site_id BIGINT, workbook VARCHAR, "view" VARCHAR, loads BIGINT)'
    )
    newest = "(SELECT marked_at FROM marks WHERE name = 'newest')"
    plausible = f"isfinite(created_at) AND created_at <= {newest} AND created_at >= {newest}"
    site = "TRY_CAST(site_id AS BIGINT)"
    connection.execute(
        f"INSERT INTO requests_by_hour {_BY_HOUR.replace('site_id', f'{site} AS site_id')}"
        f" FROM http_requests WHERE {plausible} - {HOURS_KEPT} GROUP BY ALL"
    )
    connection.execute(
        f"INSERT INTO views_by_day {_BY_DAY.replace('site_id', f'{site} AS site_id')}"
        f" FROM http_requests WHERE {plausible} - {DAYS_KEPT} AND {opens.IS_OPENING} GROUP BY ALL ORDER BY day"
    )


def create_waiting(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table of the loads that are not summed up yet."""
    connection.execute(
        f'CREATE TABLE {WAITING} (day DATE, site_id BIGINT, workbook VARCHAR, "view" VARCHAR, loads BIGINT)'
    )


@dataclass(frozen=True)
class Clocks:
    """The earlier and the later of our clock and the source's: one that is wrong neither loses nor lets in much."""

    earlier: datetime
    later: datetime

    def plausible(self, kept: str) -> str:
        """Return the condition that a request counts: not older than what is kept, not farther ahead than a day."""
        return (
            f"isfinite(created_at) AND created_at >= TIMESTAMP '{self.earlier}' - {kept}"
            f" AND created_at <= TIMESTAMP '{self.later}' + {AHEAD}"
        )


def count_usage(
    connection: duckdb.DuckDBPyConnection, relation: str, clocks: Clocks, *, with_users: bool = True
) -> None:
    """Count the requests of a relation, which have just been stored; ``with_users`` is whether users may be stored."""
    plausible = clocks.plausible(HOURS_KEPT)
    if hours := _hours(connection, relation, plausible):
        connection.execute(
            f"""
            MERGE INTO requests_by_hour
            USING ({_BY_HOUR} FROM {relation} AS rows WHERE {plausible} GROUP BY ALL) AS folded
            ON requests_by_hour.hour = folded.hour
                AND requests_by_hour.site_id IS NOT DISTINCT FROM folded.site_id
                AND requests_by_hour.hour {hours}
            WHEN MATCHED THEN UPDATE SET requests = requests_by_hour.requests + folded.requests
            WHEN NOT MATCHED THEN INSERT (hour, site_id, requests)
                VALUES (folded.hour, folded.site_id, folded.requests)
            """
        )
    connection.execute(
        f"INSERT INTO {WAITING} {_BY_DAY} FROM {relation} AS rows"
        f" WHERE {clocks.plausible(DAYS_KEPT)} AND {opens.IS_OPENING} GROUP BY ALL"
    )
    opens.store(connection, relation, clocks.plausible(opens.KEPT), with_users=with_users)


def store_people_by_hour(connection: duckdb.DuckDBPyConnection, relation: str, clocks: Clocks) -> None:
    """Store the users of each site in each hour, each once; ``people`` maps each user to a person."""
    plausible = f"user_id IS NOT NULL AND {clocks.plausible(HOURS_KEPT)}"
    hours = _hours(connection, relation, plausible)
    if hours is None:
        return
    connection.execute(
        f"""
        INSERT INTO people_by_hour
        SELECT seen.hour, seen.site_id, seen.person
        FROM (
            SELECT DISTINCT users.hour, users.site_id, coalesce(people.person, -users.user_id) AS person
            FROM (
                SELECT DISTINCT date_trunc('hour', created_at) AS hour, site_id, user_id
                FROM {relation} AS rows
                WHERE {plausible}
            ) AS users
            LEFT JOIN people ON people.user_id = users.user_id
        ) AS seen
        ANTI JOIN (FROM people_by_hour WHERE hour {hours}) AS known
            ON known.hour = seen.hour
            AND known.person = seen.person
            AND known.site_id IS NOT DISTINCT FROM seen.site_id
        """
    )


def _hours(connection: duckdb.DuckDBPyConnection, relation: str, condition: str) -> str | None:
    """Return between which hours the rows lie, as SQL has it, for other blocks are not read then; None without rows."""
    first, last = connection.execute(
        f"SELECT date_trunc('hour', min(created_at)), date_trunc('hour', max(created_at))"
        f" FROM {relation} AS rows WHERE {condition}"
    ).fetchall()[0]
    return None if first is None else f"BETWEEN TIMESTAMP '{first}' AND TIMESTAMP '{last}'"


def sum_up(connection: duckdb.DuckDBPyConnection) -> bool:
    """Sum up the loads of the next days that wait; return whether others wait still."""
    days = connection.execute(f"SELECT DISTINCT day FROM {WAITING} ORDER BY day LIMIT {STEP_DAYS + 1}").fetchall()
    for (day,) in days[:STEP_DAYS]:
        connection.execute(
            f"""
            MERGE INTO views_by_day USING (
                SELECT site_id, workbook, "view", sum(loads)::BIGINT AS loads
                FROM {WAITING}
                WHERE day = DATE '{day}'
                GROUP BY ALL
            ) AS folded
            ON views_by_day.day = DATE '{day}'
                AND views_by_day.site_id IS NOT DISTINCT FROM folded.site_id
                AND views_by_day.workbook = folded.workbook
                AND views_by_day."view" = folded."view"
            WHEN MATCHED THEN UPDATE SET loads = views_by_day.loads + folded.loads
            WHEN NOT MATCHED THEN INSERT (day, site_id, workbook, "view", loads)
                VALUES (DATE '{day}', folded.site_id, folded.workbook, folded."view", folded.loads)
            """
        )
        connection.execute(f"DELETE FROM {WAITING} WHERE day = DATE '{day}'")
    return len(days) > STEP_DAYS


def forget(connection: duckdb.DuckDBPyConnection, clocks: Clocks) -> None:
    """Delete rows older than any page displays, and rows from a clock that was ahead."""
    for table, key, kept in (
        ("requests_by_hour", "hour", HOURS_KEPT),
        ("people_by_hour", "hour", HOURS_KEPT),
        ("views_by_day", "day", DAYS_KEPT),
        (WAITING, "day", DAYS_KEPT),
        (opens.TABLE, "slot", opens.KEPT),
    ):
        later = f"{key} > TIMESTAMP '{clocks.later}' + {AHEAD}"
        connection.execute(f"DELETE FROM {table} WHERE {key} < TIMESTAMP '{clocks.earlier}' - {kept} OR {later}")


def forget_people(connection: duckdb.DuckDBPyConnection, now: datetime | None) -> None:
    """Remove who was there more than nine days before an instant; without one, who was there at all."""
    old = f"hour < TIMESTAMP '{now}' - {HOURS_KEPT}" if now else "true"
    connection.execute(f"DELETE FROM people_by_hour WHERE {old}")
    if now is None:
        opens.forget_users(connection)


def prune_usage(connection: duckdb.DuckDBPyConnection, before: datetime) -> None:
    """Remove what was counted of requests that are removed; an hour or a day that is cut would be too low."""
    for table, key in (
        ("requests_by_hour", "hour"),
        ("people_by_hour", "hour"),
        ("views_by_day", "day"),
        (WAITING, "day"),
        (opens.TABLE, "slot"),
    ):
        connection.execute(f"DELETE FROM {table} WHERE {key} < TIMESTAMP '{before}'")


def read_usage(connection: duckdb.DuckDBPyConnection, *, with_people: bool) -> Use:
    """Return the use of the hours that are kept; it costs as much as these are many, however long the history is."""
    requests = connection.sql("SELECT hour, site_id, requests FROM requests_by_hour ORDER BY ALL").to_arrow_table()
    since = connection.execute("SELECT min(day)::TIMESTAMP FROM views_by_day").fetchall()[0][0]
    if not with_people:
        return Use(requests, None, since)
    people = connection.sql(
        """
        SELECT hour, site_id, grouping(site_id) = 1 AS whole, count(DISTINCT person) AS people
        FROM people_by_hour
        GROUP BY GROUPING SETS ((hour, site_id), (hour))
        ORDER BY ALL
        """
    ).to_arrow_table()
    return Use(requests, people, since)
