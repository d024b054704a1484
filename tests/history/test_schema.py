"""The tables are made once, grow with their sources, and leave no DDL in a write-ahead log."""

from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from exporter.collectors import discover
from exporter.history.file import STORAGE_VERSION
from exporter.history.schema import STEPS, _archive_order, ensure_columns, prepare
from exporter.history.tables import REQUEST_COLUMNS, table_columns


def test_preparing_twice(tmp_path: Path) -> None:
    """Preparing is done once; the second time changes nothing, and no write-ahead log is left."""
    path = tmp_path / "history.duckdb"
    found = []
    for _ in range(2):
        with duckdb.connect(str(path)) as connection:
            prepare(connection, discover())
            assert not path.with_name(path.name + ".wal").exists()
            question = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
            found.append(connection.execute(question).fetchall())
            steps = connection.execute("SELECT count(*), count(DISTINCT version) FROM schema_version").fetchall()
            assert steps[0][0] == steps[0][1]
    assert found[0] == found[1]
    assert {"http_requests", "http_requests_open", "usage", "latest_workbooks"} <= {table for table, _, _ in found[0]}


def test_requests_have_no_cookies() -> None:
    """No column of a request is retained that holds a secret."""
    assert not any("cookie" in name for name in REQUEST_COLUMNS)


def test_uris_are_kept_by_zstd(tmp_path: Path) -> None:
    """URIs need the least room and time by zstd, and it stays so when another column changes."""
    with duckdb.connect(
        str(tmp_path / "history.duckdb"), config={"storage_compatibility_version": STORAGE_VERSION}
    ) as file:
        prepare(file, discover())
        ensure_columns(file, "http_requests", {"port": "VARCHAR", "new": "BIGINT"})
        file.execute(
            "INSERT INTO http_requests (id, http_request_uri) SELECT id, '/views/' || id FROM range(5000) AS _(id)"
        )
        file.execute("CHECKPOINT")
        kept = file.execute(
            "SELECT DISTINCT compression FROM pragma_storage_info('http_requests')"
            " WHERE column_name = 'http_request_uri' AND segment_type = 'VARCHAR'"
        ).fetchall()
    assert kept == [("ZSTD",)]


def test_columns_that_come_and_change() -> None:
    """A missing column is added, one whose type no longer fits becomes text, and text stays text."""
    with duckdb.connect() as connection:
        assert ensure_columns(connection, "t", {"id": "BIGINT", "status": "BIGINT"}) == []
        connection.execute("INSERT INTO t VALUES (1, 200)")
        assert ensure_columns(connection, "t", {"id": "BIGINT", "status": "BIGINT"}) == []
        assert ensure_columns(connection, "t", {"status": "VARCHAR", 'odd "name"': "DOUBLE"}) == [
            "status",
            'odd "name"',
        ]
        assert ensure_columns(connection, "t", {"status": "BIGINT"}) == []
        assert table_columns(connection, "t") == {"id": "BIGINT", "status": "VARCHAR", 'odd "name"': "DOUBLE"}
        assert connection.execute("FROM t").fetchall() == [(1, "200", None)]


def test_events_of_an_older_file_have_a_place_in_the_archive() -> None:
    """They begin at the file's beginning, at most 100,000 of an instant; rows archived later come after them."""
    begun = datetime(2025, 1, 1)  # noqa: DTZ001 - naive, as in the history
    with duckdb.connect() as connection:
        prepare(connection, discover())
        connection.execute("UPDATE marks SET marked_at = ? WHERE name = 'begun'", [begun])
        connection.execute("DELETE FROM marks WHERE name = 'archived'")
        for table, rows in (("http_requests", 150_000), ("background_jobs", 3)):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN archived_at")
            connection.execute(f"INSERT INTO {table} (id) FROM range({rows})")
        connection.execute("DELETE FROM schema_version WHERE version > ?", [STEPS.index(_archive_order)])
        prepare(connection, discover())
        dated = "SELECT count(*), count(DISTINCT archived_at), min(archived_at), max(archived_at) FROM {}"
        requests = connection.execute(dated.format("http_requests")).fetchall()[0]
        jobs = connection.execute(dated.format("background_jobs")).fetchall()[0]
        assert requests == (150_000, 2, begun, begun + timedelta(microseconds=1))
        assert jobs[0] == 3
        assert jobs[3] <= begun + timedelta(microseconds=2)
        most = "SELECT max(count) FROM (SELECT count(*) AS count FROM http_requests GROUP BY archived_at)"
        assert connection.execute(most).fetchall() == [(100_000,)]
        marked = connection.execute("SELECT marked_at FROM marks WHERE name = 'archived'").fetchall()[0][0]
        assert marked >= jobs[3]
        connection.execute("INSERT INTO http_requests (id) VALUES (1)")
        assert connection.execute("SELECT count(*) FROM http_requests WHERE archived_at IS NULL").fetchall() == [(1,)]
