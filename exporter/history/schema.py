"""The tables of the history, made and changed by an ordered list of steps.

No primary keys and no indexes: DuckDB's cost memory and have had corruption bugs. Duplicates are kept out by an
anti-join in the archiving transaction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from exporter.collector import Collector, Column, columns_of
from exporter.errors import HistoryUnwritable
from exporter.history import activity, aggregation, alert_store, opens, refreshes, sizes, usage, view_totals
from exporter.history.tables import ARCHIVED_AT, REQUEST_COLUMNS, all_columns, quoted, table_columns
from exporter.history.views import create_views

# Of events that were archived before that column was there, so many share an instant.
_UNDATED_ROWS = 100_000

# Texts that hardly repeat: this needs a fifth of the time of what DuckDB would choose, and half the room.
_HARDLY_REPEATED = ("http_request_uri", "details")


def _requests(connection: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, kind in REQUEST_COLUMNS.items())
    connection.execute(f"CREATE TABLE http_requests ({_stored(REQUEST_COLUMNS)})")
    connection.execute(f"CREATE TABLE http_requests_open ({columns}, first_seen_at TIMESTAMP)")


def _stored(columns: Mapping[str, str]) -> str:
    """Return the columns of a new table."""
    return ", ".join(
        f"{quoted(name)} {kind}" + (" USING COMPRESSION zstd" if name in _HARDLY_REPEATED else "")
        for name, kind in columns.items()
    )


def _bookkeeping(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE counters (family VARCHAR, labels VARCHAR[], value DOUBLE)")
    connection.execute(
        "CREATE TABLE histograms (family VARCHAR, labels VARCHAR[], le DOUBLE, observations BIGINT, seconds DOUBLE)"
    )
    connection.execute("CREATE TABLE last_seen (site VARCHAR, person BIGINT, seen_at TIMESTAMP)")
    connection.execute(
        "CREATE TABLE positions (source VARCHAR, horizon BIGINT, xmax BIGINT, max_id BIGINT, identity VARCHAR,"
        " columns VARCHAR, truncated BOOLEAN, version BIGINT, polled_at TIMESTAMP)"
    )
    connection.execute(
        "CREATE TABLE poll_log (started_at TIMESTAMP, source VARCHAR, mode VARCHAR, seconds DOUBLE, rows_read BIGINT,"
        " rows_new BIGINT, rows_open BIGINT, horizon BIGINT, max_id BIGINT, node VARCHAR)"
    )
    connection.execute("CREATE TABLE incidents (happened_at TIMESTAMP, kind VARCHAR, detail VARCHAR)")
    connection.execute("CREATE TABLE marks (name VARCHAR, marked_at TIMESTAMP)")


def _archived_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Begin the ledger with what an older file holds, and write down what it had pruned and what it had not logged."""
    aggregation.create_archived_days(connection)
    for table, key in (("http_requests", "created_at"), ("background_jobs", "created_at"), ("logins", "login_at")):
        if not table_columns(connection, table):
            continue
        aggregation.add_archived(connection, table, key, f'(SELECT * FROM "{table}")')
        counted = "family = 'tableau_history_rows_total' AND labels = [$1]"
        held = f'(SELECT count(*) FROM "{table}")'
        pruned = f"(SELECT coalesce(sum(value), 0)::BIGINT FROM counters WHERE {counted}) - {held}"
        gone = int(connection.execute(f"SELECT {pruned}", [table]).fetchall()[0][0])
        if gone > 0:
            # Of which days they were is not known any more.
            unknown = f"(SELECT TIMESTAMP '-infinity' AS {key} FROM range({gone}))"
            aggregation.add_archived(connection, table, key, unknown)
            aggregation.add_pruned(connection, table, key, unknown)
            connection.execute(
                "INSERT INTO counters VALUES ('tableau_history_pruned_rows_total', [?], ?)", [table, float(gone)]
            )
        connection.execute(
            """
            INSERT INTO poll_log (started_at, source, mode, rows_read, rows_new)
            SELECT (SELECT min(started_at) FROM poll_log), $1, 'day', 0, archived - logged
            FROM
                (SELECT coalesce(sum("rows"), 0)::BIGINT AS archived FROM archived_days WHERE source = $1),
                (SELECT coalesce(sum(rows_new), 0)::BIGINT AS logged FROM poll_log WHERE source = $1)
            WHERE archived <> logged
            """,
            [table],
        )


def _accounted(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE positions ADD COLUMN accounted BIGINT")
    connection.execute("ALTER TABLE positions ADD COLUMN settling BOOLEAN DEFAULT false")


def _begun(connection: duckdb.DuckDBPyConnection) -> None:
    """Identify this history: no two are created in the same microsecond."""
    connection.execute("INSERT INTO marks VALUES ('begun', ?)", [datetime.now(UTC).replace(tzinfo=None)])


def _audits(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "CREATE TABLE freshness_audit (asset_type VARCHAR, asset_id VARCHAR, asset_name VARCHAR, owner_id VARCHAR,"
        " project_name VARCHAR, last_refresh_utc TIMESTAMP, hours_since_refresh DOUBLE, status VARCHAR,"
        " audit_timestamp TIMESTAMP, site VARCHAR, connection VARCHAR, sla_hours DOUBLE, freshness_source VARCHAR)"
    )


def _archive_order(connection: duckdb.DuckDBPyConnection) -> None:
    """Give every event the place in which it was archived; what an older file holds begins at the file's beginning."""
    connection.execute("CREATE SEQUENCE undated MINVALUE 0 START 0")
    begun = connection.execute("SELECT marked_at FROM marks WHERE name = 'begun'").fetchall()[0][0]
    place = f"TIMESTAMP '{begun}' + to_microseconds(nextval('undated') // {_UNDATED_ROWS})"
    for table in ("http_requests", "background_jobs", "logins"):
        columns = table_columns(connection, table)
        if columns and ARCHIVED_AT not in columns:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {ARCHIVED_AT} TIMESTAMP DEFAULT ({place})")
            connection.execute(f"ALTER TABLE {table} ALTER COLUMN {ARCHIVED_AT} DROP DEFAULT")
    connection.execute(
        f"INSERT INTO marks SELECT 'archived', {place} WHERE NOT EXISTS (FROM marks WHERE name = 'archived')"
    )
    connection.execute("DROP SEQUENCE undated")


def _removals(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS removals (source VARCHAR, id BIGINT, day DATE)")


def _imports(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS imports (archived_at TIMESTAMP, counted BOOLEAN)")


STEPS: Sequence[Callable[[duckdb.DuckDBPyConnection], None]] = (
    _requests,
    _bookkeeping,
    _archived_days,
    _accounted,
    _begun,
    _audits,
    refreshes.create_refreshes,
    alert_store.create_alerts,
    usage.create_usage,
    usage.create_waiting,
    refreshes.create_freshness,
    _archive_order,
    _removals,
    _imports,
    activity.create,
    aggregation.create_labels,
    view_totals.create,
    opens.create,
    sizes.create,
)
"""Each step is run once, in order; a step is never changed after a release, only added to."""


def prepare(connection: duckdb.DuckDBPyConnection, collectors: Mapping[str, Collector]) -> None:
    """Bring the file to this program's tables. Checkpoints: DDL is never left in a write-ahead log."""
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER)")
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchall()
    done = int(row[0][0])
    connection.execute("BEGIN")
    for number, step in enumerate(STEPS[done:], start=done + 1):
        step(connection)
        connection.execute("INSERT INTO schema_version VALUES (?)", [number])
    there = all_columns(connection)
    for collector in collectors.values():
        for table, columns in _collector_tables(collector):
            ensure_columns(connection, table, columns, there.get(table, {}))
            there[table] = {**columns, **there.get(table, {})}
    create_views(connection)
    connection.execute("COMMIT")
    connection.execute("CHECKPOINT")


def _collector_tables(collector: Collector) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the tables of a collector with their columns."""
    for events in collector.archived:
        if events.row:
            yield events.table, {**_types(columns_of(events.row)), ARCHIVED_AT: "TIMESTAMP"}
    for state in collector.states:
        if state.history.table:
            yield state.history.table, {"day": "DATE", **_types(columns_of(state.row))}


def _types(columns: Sequence[Column]) -> dict[str, str]:
    return {column.name: column.type.duckdb for column in columns}


def ensure_columns(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, str],
    there: Mapping[str, str] | None = None,
) -> list[str]:
    """Make a table, or add the columns it lacks; one whose type no longer fits becomes text. Return the changed.

    ``there`` are the columns that the table has, where these are known already.
    """
    there = table_columns(connection, table) if there is None else there
    if not there:
        connection.execute(f'CREATE TABLE "{table}" ({_stored(columns)})')
        return []
    changed = []
    for name, kind in columns.items():
        if name not in there:
            connection.execute(f'ALTER TABLE "{table}" ADD COLUMN {quoted(name)} {kind}')
            changed.append(name)
        elif there[name] != kind and there[name] != "VARCHAR":
            connection.execute(f'ALTER TABLE "{table}" ALTER COLUMN {quoted(name)} TYPE VARCHAR')
            changed.append(name)
    return changed


def refuse_other_versions(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise HistoryUnwritable where the tables are not this program's."""
    columns = table_columns(connection, "schema_version")
    version = connection.execute("SELECT max(version) FROM schema_version").fetchall()[0][0] if columns else None
    if version != len(STEPS):
        message = f"{path}: not written by this version; let the agent of this version open it once"
        raise HistoryUnwritable(message)
