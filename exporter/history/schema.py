"""The tables of the history, made and changed by an ordered list of steps.

No primary keys and no indexes: DuckDB's cost memory and have had corruption bugs. Duplicates are kept out by an
anti-join in the archiving transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import duckdb

from exporter.collector import Collector, Column, columns_of
from exporter.history import alert_store, ledger, refreshes, usage, usage_view
from exporter.history.opening import NAMED

# The columns of http_requests since Tableau 2020.2, without user_cookie; others are added as they are met.
REQUEST_COLUMNS: Mapping[str, str] = {
    "id": "BIGINT",
    "controller": "VARCHAR",
    "action": "VARCHAR",
    "http_referer": "VARCHAR",
    "http_user_agent": "VARCHAR",
    "http_request_uri": "VARCHAR",
    "remote_ip": "VARCHAR",
    "created_at": "TIMESTAMP",
    "session_id": "VARCHAR",
    "completed_at": "TIMESTAMP",
    "port": "BIGINT",
    "user_id": "BIGINT",
    "worker": "VARCHAR",
    "status": "BIGINT",
    "user_ip": "VARCHAR",
    "vizql_session": "VARCHAR",
    "site_id": "BIGINT",
    "currentsheet": "VARCHAR",
    "flags_used": "BIGINT",
    "asset_type": "VARCHAR",
    "workbook": "VARCHAR",
    "view": "VARCHAR",
}

AUDIT = "freshness_audit"

REQUESTS = "http_requests"
ARCHIVED_AT = "archived_at"
"""The instant of the transaction that archived an event; each transaction's is later than all before it."""
IMPORTED = f"{ARCHIVED_AT} IN (SELECT {ARCHIVED_AT} FROM imports)"
NOT_COUNTED = f"{ARCHIVED_AT} IN (SELECT {ARCHIVED_AT} FROM imports WHERE NOT counted)"
"""The conditions that a request was imported, and that it is in no counter."""
# Of events that were archived before that column was there, so many share an instant.
_UNDATED_ROWS = 100_000

# Texts that hardly repeat: this takes a fifth of the time of what DuckDB would choose, and half the room.
_HARDLY_REPEATED = "http_request_uri"


def _requests(connection: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, kind in REQUEST_COLUMNS.items())
    stored = columns.replace(f'"{_HARDLY_REPEATED}" VARCHAR', f'"{_HARDLY_REPEATED}" VARCHAR USING COMPRESSION zstd')
    connection.execute(f"CREATE TABLE http_requests ({stored})")
    connection.execute(f"CREATE TABLE http_requests_open ({columns}, first_seen_at TIMESTAMP)")


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
    ledger.create(connection)
    for table, key in (("http_requests", "created_at"), ("background_jobs", "created_at"), ("logins", "login_at")):
        if not table_columns(connection, table):
            continue
        ledger.archived(connection, table, key, f'(SELECT * FROM "{table}")')
        counted = "family = 'tableau_history_rows_total' AND labels = [$1]"
        held = f'(SELECT count(*) FROM "{table}")'
        pruned = f"(SELECT coalesce(sum(value), 0)::BIGINT FROM counters WHERE {counted}) - {held}"
        gone = int(connection.execute(f"SELECT {pruned}", [table]).fetchall()[0][0])
        if gone > 0:
            # Of which days they were is not known any more.
            unknown = f"(SELECT TIMESTAMP '-infinity' AS {key} FROM range({gone}))"
            ledger.archived(connection, table, key, unknown)
            ledger.pruned(connection, table, key, unknown)
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
    """Tell this history from every other: no two are begun in the same microsecond."""
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
    refreshes.create,
    alert_store.create,
    usage.create,
    usage.create_waiting,
    refreshes.create_freshness,
    _archive_order,
    _removals,
    _imports,
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
    for collector in collectors.values():
        _collector_tables(connection, collector)
    create_views(connection)
    connection.execute("COMMIT")
    connection.execute("CHECKPOINT")


def _collector_tables(connection: duckdb.DuckDBPyConnection, collector: Collector) -> None:
    if collector.events and collector.events.row:
        types = _types(columns_of(collector.events.row))
        ensure_columns(connection, collector.events.table, {**types, ARCHIVED_AT: "TIMESTAMP"})
    for state in collector.states:
        if state.history.table:
            ensure_columns(connection, state.history.table, {"day": "DATE", **_types(columns_of(state.row))})


def _types(columns: Sequence[Column]) -> dict[str, str]:
    return {column.name: column.type.duckdb for column in columns}


def ensure_columns(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> list[str]:
    """Make a table, or add the columns it lacks; one whose type no longer fits becomes text. Return the changed."""
    there = table_columns(connection, table)
    if not there:
        listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        connection.execute(f'CREATE TABLE "{table}" ({listed})')
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


def quoted(name: str) -> str:
    """Return a name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def table_columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns and types of a table; empty when there is no such table."""
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE table_name = ? AND NOT internal ORDER BY column_index",
        [table],
    ).fetchall()
    return dict(rows)


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views anew: DuckDB refuses one whose table has gained a column since."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables.issuperset({*NAMED, "removals"}):
        return
    for table in NAMED:
        connection.execute(_LATEST.format(table=table))
    connection.execute(WORKBOOK_DATASOURCES)
    usage_view.create(connection)


_LATEST = """
    CREATE OR REPLACE VIEW latest_{table} AS
    SELECT
        versions.*,
        removals.day AS removed_on
    FROM {table} AS versions
    LEFT JOIN removals ON removals.source = '{table}' AND removals.id = versions.id
    QUALIFY row_number() OVER (PARTITION BY versions.id ORDER BY versions.day DESC) = 1
"""


# A published source is named by its repository_url, which is unique on its site only, and may be given again. A version
# holds from its day until that of the next, or until its row is no longer listed.
WORKBOOK_DATASOURCES = """
    CREATE OR REPLACE VIEW workbook_datasources AS
    WITH
        links AS (
            SELECT
                versions.owner_id AS workbook_id,
                versions.owner_type AS owner_type,
                versions.dbclass AS dbclass,
                versions.dbname AS dbname,
                versions.day AS since,
                coalesce(lead(versions.day) OVER of_row, removals.day) AS until
            FROM data_connections AS versions
            LEFT JOIN removals ON removals.source = 'data_connections' AND removals.id = versions.id
            WINDOW of_row AS (PARTITION BY versions.id ORDER BY versions.day)
        ),
        sources AS (
            SELECT
                versions.id AS datasource_id,
                versions.site_id AS site_id,
                versions.repository_url AS repository_url,
                versions.published AS published,
                versions.day AS since,
                coalesce(lead(versions.day) OVER of_row, removals.day) AS until
            FROM datasources AS versions
            LEFT JOIN removals ON removals.source = 'datasources' AND removals.id = versions.id
            WINDOW of_row AS (PARTITION BY versions.id ORDER BY versions.day)
        ),
        uses AS (
            SELECT
                books.site_id AS site_id,
                books.id AS workbook_id,
                sources.datasource_id AS datasource_id,
                greatest(links.since, sources.since) AS since,
                least(
                    coalesce(links.until, 'infinity'),
                    coalesce(sources.until, 'infinity'),
                    coalesce(books.removed_on, 'infinity')
                ) AS until
            FROM links
            JOIN latest_workbooks AS books ON books.id = links.workbook_id
            JOIN sources ON sources.site_id = books.site_id AND sources.repository_url = links.dbname
            WHERE lower(links.owner_type) = 'workbook' AND lower(links.dbclass) = 'sqlproxy' AND sources.published
        )
    SELECT
        min(since) AS day,
        site_id,
        workbook_id,
        datasource_id,
        nullif(max(until), 'infinity') AS removed_on
    FROM uses
    WHERE since < until
    GROUP BY site_id, workbook_id, datasource_id
"""
