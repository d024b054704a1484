"""Deletion of old rows in steps, each of a bounded number of rows, so that the file is never held for long.

Several processes may run steps in any order: each step records its deletions in the same transaction.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb

from exporter.collector import Events
from exporter.history import aggregation, usage
from exporter.history.activity import LEDGER, REJECTS
from exporter.history.aggregation import add
from exporter.history.file import HOLD_SECONDS, HistoryFile
from exporter.history.refreshes import TABLE as REFRESHES
from exporter.history.schema import refuse_other_versions
from exporter.history.tables import AUDIT, NOT_COUNTED, REQUESTS, table_columns
from exporter.history.totals import mark
from exporter.self_metrics import HISTORY_PRUNED

# A whole row group of DuckDB: its blocks are free as soon as all of its rows are gone.
STEP_ROWS = 122_880
DAY = "day"
"""The mode of a line of the poll log that stands for all polls of a day."""


@dataclass(frozen=True)
class Pruned:
    """What a step removed, by table, whether anything older is left, and than what.

    ``uncounted`` are those of the rows that were imported and are in no counter.
    """

    rows: Mapping[str, int]
    finished: bool
    before: datetime
    uncounted: Mapping[str, int] = field(default_factory=dict)


def pruned_before(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Return the instant (UTC, naive) before which every row was deleted; None before the first pruning."""
    marks = connection.execute("SELECT marked_at FROM marks WHERE name = 'pruned'").fetchall()
    return marks[0][0] if marks else None


def prune(
    connection: duckdb.DuckDBPyConnection, events: Sequence[Events], before: datetime, pruned_before: datetime | None
) -> Pruned:
    """Delete some of the events that are older; counters and positions stay.

    A pruning that another process began is continued. Open requests are waited for: they are counted once final.
    """
    waiting = connection.execute("SELECT min(created_at) FROM http_requests_open").fetchall()[0][0]
    before = min(before, waiting or before)
    before = max(before, pruned_before or before)
    mark(connection, "pruned", before)
    pruned = _prune_step(connection, events, before)
    for table, rows in pruned.rows.items():
        add(connection, HISTORY_PRUNED.name, [table], rows - pruned.uncounted.get(table, 0))
    if pruned.finished:
        mark(connection, "oldest", before)
    return pruned


def newest_request(file: HistoryFile) -> datetime | None:
    """Return when the newest request was made (UTC, naive), where there are none when the newest audit was.

    Raises HistoryError where the tables are not ours.
    """
    with file.open() as connection:
        refuse_other_versions(connection, file.path)
        rows = connection.execute(
            "SELECT marked_at FROM marks WHERE name IN ('newest', 'audited') ORDER BY name DESC"
        ).fetchall()
    return rows[0][0] if rows else None


def prune_in_steps(file: HistoryFile, events: Sequence[Events], before: datetime) -> Generator[Pruned, None, None]:
    """Remove what is older than an instant (UTC, naive), a transaction at a time; yield what became of each."""
    with file.kept_open(HOLD_SECONDS):
        while True:
            pruned = _locked_step(file, events, before)
            yield pruned
            if pruned.finished:
                return


def _locked_step(file: HistoryFile, events: Sequence[Events], before: datetime) -> Pruned:
    with file.open() as connection:
        there = [item for item in events if table_columns(connection, item.table)]
        connection.execute("BEGIN")
        pruned = prune(connection, there, before, pruned_before(connection))
        connection.execute("COMMIT")
    return pruned


def _prune_step(connection: duckdb.DuckDBPyConnection, events: Sequence[Events], before: datetime) -> Pruned:
    """Remove the next rows that are older, and make the lines of an old day of the poll log one."""
    removed = {item.table: _prune_table(connection, item.table, item.key[1], before) for item in events}
    rows = {table: count for table, (count, _) in removed.items()}
    rows[AUDIT] = prune_audits(connection, before)
    rows[REFRESHES] = prune_refreshes(connection, before)
    # Files of that time are not listed again: reading begins with what is kept.
    rows[LEDGER] = _delete(connection, _doomed(connection, LEDGER, "hour", before))
    _delete(connection, _doomed(connection, REJECTS, "hour", before))
    usage.prune_usage(connection, before)
    summed = _sum_polls(connection, before)
    return Pruned(
        {table: count for table, count in rows.items() if count},
        summed and all(count < STEP_ROWS for count in rows.values()),
        before,
        {table: uncounted for table, (_, uncounted) in removed.items() if uncounted},
    )


def prune_audits(connection: duckdb.DuckDBPyConnection, before: datetime) -> int:
    """Remove the next audits that are older; what an asset was found to be last is younger, as long as it is there."""
    return _delete(connection, _doomed(connection, AUDIT, "audit_timestamp", before))


def prune_refreshes(connection: duckdb.DuckDBPyConnection, before: datetime) -> int:
    """Remove the next refreshes that were noted before."""
    return _delete(connection, _doomed(connection, REFRESHES, "noted_at", before))


def _prune_table(connection: duckdb.DuckDBPyConnection, table: str, key: str, before: datetime) -> tuple[int, int]:
    """Remove the next rows; return how many, and how many of these were imported and not counted."""
    doomed, uncounted = _doomed(connection, table, key, before), 0
    if doomed:
        aggregation.add_pruned(connection, table, key, f"(SELECT * FROM {doomed})")
        if table == REQUESTS:
            imported = f"(SELECT * FROM {doomed} AND {NOT_COUNTED})"
            aggregation.add_pruned(connection, aggregation.UNCOUNTED, key, imported)
            uncounted = int(connection.execute(f"SELECT count(*) FROM {imported} AS rows").fetchall()[0][0])
    return _delete(connection, doomed), uncounted


def _doomed(connection: duckdb.DuckDBPyConnection, table: str, key: str, before: datetime) -> str | None:
    """Return what names the first rows, as they stand in the file, that are older; None where there are none."""
    older = f"\"{key}\" < TIMESTAMP '{before}'"
    count, last = connection.execute(
        f'SELECT count(*), max(place) FROM (SELECT rowid AS place FROM "{table}" WHERE {older} LIMIT {STEP_ROWS})'
    ).fetchall()[0]
    return f'"{table}" WHERE rowid <= {last} AND {older}' if count else None


def _delete(connection: duckdb.DuckDBPyConnection, doomed: str | None) -> int:
    return int(connection.execute(f"DELETE FROM {doomed}").fetchall()[0][0]) if doomed else 0


def _sum_polls(connection: duckdb.DuckDBPyConnection, before: datetime) -> bool:
    """Replace the polls of the oldest day that is over by one line for each source; return whether it was the last."""
    oldest = "SELECT min(started_at)::DATE FROM poll_log WHERE mode <> ? AND started_at < ?::DATE"
    day = connection.execute(oldest, [DAY, before]).fetchall()[0][0]
    if day is None:
        return True
    of_day = f"started_at >= DATE '{day}' AND started_at < DATE '{day}' + INTERVAL 1 DAY"
    lines = connection.execute(
        f"""
        SELECT
            DATE '{day}'::TIMESTAMP AS started_at,
            source,
            '{DAY}' AS mode,
            sum(seconds) AS seconds,
            sum(rows_read)::BIGINT AS rows_read,
            sum(rows_new)::BIGINT AS rows_new,
            sum(rows_open)::BIGINT AS rows_open,
            max(horizon) AS horizon,
            max(max_id) AS max_id,
            arg_max(node, started_at) AS node
        FROM poll_log
        WHERE {of_day}
        GROUP BY source
        ORDER BY source
        """
    ).fetchall()
    connection.execute(f"DELETE FROM poll_log WHERE {of_day}")
    for line in lines:
        connection.execute("INSERT INTO poll_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", list(line))
    return connection.execute(oldest, [DAY, before]).fetchall()[0][0] is None
