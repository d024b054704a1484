"""What the pages show of use: the same as the archive says, of the last days alone."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from exporter.history import usage
from exporter.history.redaction import Privacy
from exporter.history.schema import STEPS
from exporter.history.usage import Use
from tests.history.past import BEGIN, LOOKUPS, REQUESTS, Past, requests

NOW = BEGIN + timedelta(days=200)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """A history that nothing happened to yet."""
    return Past(tmp_path / "history.duckdb")


def visits(first: int, at: datetime, sheets: Sequence[str], user: int = 7, site: int = 1) -> pa.Table:
    """Return a rendering of each sheet, one a second."""
    rows = requests(first, len(sheets), at)
    rows = rows.set_column(rows.column_names.index("action"), "action", pa.array(["bootstrapSession"] * len(sheets)))
    rows = rows.set_column(rows.column_names.index("site_id"), "site_id", pa.array([site] * len(sheets), pa.int64()))
    rows = rows.append_column("currentsheet", pa.array(list(sheets)))
    return rows.append_column("user_id", pa.array([user] * len(sheets), pa.int64()))


def read(past: Past, *, with_people: bool = True, at: datetime = NOW, source_at: datetime | None = NOW) -> Use:
    """Return what the pages are given, after what is too old was forgotten and the rest summed up."""
    with past.history.page_transaction(at) as transaction:
        transaction.delete_old_usage(source_at)
        assert not usage.sum_up(transaction.connection)
        return transaction.read_usage(with_people=with_people)


def query(past: Past, sql: str) -> list[tuple[object, ...]]:
    """Ask the file."""
    with duckdb.connect(str(past.file.path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


HOURS = "SELECT date_trunc('hour', created_at), site_id, count(*) FROM http_requests GROUP BY ALL ORDER BY ALL"
BY_HOUR = "SELECT hour, site_id, requests FROM requests_by_hour ORDER BY ALL"


def test_hours_are_those_of_the_archive(past: Past) -> None:
    """Each hour counts the requests that the archive has of it, however often they are read."""
    for number in range(5):
        at = NOW - timedelta(minutes=50 * number)
        rows = visits(10 * number, at, ["Sales/Map"] * 7, site=1 + number % 2)
        past.poll(NOW, rows)
        past.poll(NOW, rows)
    assert query(past, BY_HOUR) == query(past, HOURS)
    assert read(past).requests.column("requests").to_pylist() == [row[2] for row in query(past, HOURS)]


def test_open_requests_are_counted_when_they_are_final(past: Past) -> None:
    """A request counts once: when it is archived, not while it is open."""
    at = NOW - timedelta(hours=2)
    past.poll(NOW - timedelta(hours=1), requests(1, 3, at, completed=False))
    assert query(past, BY_HOUR) == []
    past.poll(NOW, requests(1, 2, at))
    past.poll(NOW + timedelta(days=2), requests(50, 1, NOW + timedelta(days=2)))
    assert query(past, BY_HOUR) == query(past, HOURS)
    assert sum(row[2] for row in query(past, HOURS)) == 4  # type: ignore[misc]


def test_people_are_counted_once_an_hour(past: Past) -> None:
    """Somebody who comes again in the same hour is one; who comes to two sites is one on each, and one in all."""
    past.poll(NOW, visits(1, NOW - timedelta(minutes=20), ["a/b"] * 5, user=7, site=1))
    past.poll(NOW, visits(10, NOW - timedelta(minutes=15), ["a/b"] * 5, user=7, site=2))
    past.poll(NOW, visits(20, NOW - timedelta(minutes=10), ["a/b"] * 5, user=8, site=1))
    people = read(past).people
    assert people is not None
    found = {(row["site_id"], row["whole"]): row["people"] for row in people.to_pylist()}
    assert found == {(1, False): 2, (2, False): 1, (None, True): 2}
    assert query(past, "SELECT count(*) FROM people_by_hour") == [(3,)]


def test_nobody_is_noted_where_nobody_may_be_known(past: Past) -> None:
    """Where people are not stored, nothing tells in which hours somebody was there."""
    with past.history.transaction(NOW) as transaction:
        transaction.hidden = {"user_id"}
        rows = past.history.clean(REQUESTS, visits(1, NOW, ["a/b"]))
        transaction.append_requests(REQUESTS, [rows], LOOKUPS, REQUESTS.folds, count_people=True)
        assert transaction.read_usage(with_people=True).people is None
    assert query(past, "FROM people_by_hour") == []
    assert query(past, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]


def test_views_are_counted_by_day(past: Past) -> None:
    """Only renderings count as loads, each view of each site by itself."""
    past.poll(NOW, visits(1, NOW - timedelta(days=3), ["Sales/Map", "Sales/Map", "Sales/List"]))
    past.poll(NOW, visits(10, NOW - timedelta(days=3), ["Sales/Map"]))
    past.poll(NOW, requests(20, 5, NOW))
    read(past)
    rows = query(past, 'SELECT day, site_id, workbook, "view", loads FROM views_by_day ORDER BY loads')
    day = (NOW - timedelta(days=3)).date()
    assert rows == [(day, 1, "Sales", "List", 1), (day, 1, "Sales", "Map", 3)]
    assert query(past, "FROM views_waiting") == []


def test_many_days_are_summed_up_in_steps(past: Past) -> None:
    """A backlog of many days takes several transactions, each of which needs memory for one day at a time."""
    for days in range(usage.STEP_DAYS + 1):
        past.poll(NOW, visits(100 * days, NOW - timedelta(days=days), ["a/b"]))
    steps = []
    for _ in range(2):
        with past.history.page_transaction(NOW) as transaction:
            steps.append(usage.sum_up(transaction.connection))
    assert steps == [True, False]
    assert query(past, "SELECT count(*), sum(loads) FROM views_by_day") == [(11, 11)]


def test_the_tables_do_not_grow_with_the_history(past: Past) -> None:
    """Hours are kept for nine days and days for a hundred; a clock that jumps ahead takes nothing away."""
    for days in (150, 99, 12, 8, 0):
        past.poll(NOW - timedelta(days=days), visits(1000 - days, NOW - timedelta(days=days), ["a/b"]))
    assert len(read(past).requests) == 2
    assert len(read(past, at=NOW + timedelta(days=5000)).requests) == 2
    assert query(past, "SELECT count(*) FROM views_by_day") == [(4,)]
    assert query(past, "SELECT count(*) FROM people_by_hour") == [(2,)]


@pytest.mark.parametrize("source_at", [NOW + timedelta(days=10), None])
def test_people_are_forgotten_though_nobody_comes(past: Past, source_at: datetime | None) -> None:
    """After nine days nothing tells who was there, also where nothing is counted any more, or the source is silent."""
    past.poll(NOW, visits(1, NOW, ["a/b"]))
    read(past, at=NOW + timedelta(days=8), source_at=source_at and NOW + timedelta(days=8))
    assert query(past, "SELECT count(*) FROM people_by_hour") == [(1,)]
    read(past, at=NOW + timedelta(days=10), source_at=source_at)
    assert query(past, "SELECT count(*) FROM people_by_hour") == [(0,)]


def test_people_are_forgotten_once_they_are_hidden(past: Past) -> None:
    """Where people are not stored any more, those of before go at once."""
    past.poll(NOW, visits(1, NOW, ["a/b"]))
    with past.history.page_transaction(NOW) as transaction:
        transaction.hidden = {"user_id"}
        transaction.delete_old_usage(NOW)
    assert query(past, "FROM people_by_hour") == []
    assert query(past, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]


@pytest.mark.parametrize("wrong", [timedelta(hours=-3), timedelta(hours=3)])
def test_a_wrong_clock_loses_nothing(past: Past, wrong: timedelta) -> None:
    """An agent whose clock is hours behind or ahead counts what the source says happened just now."""
    lookups = replace(LOOKUPS, source_at=NOW)
    with past.history.transaction(NOW + wrong) as transaction:
        for first, ahead in ((1, 0), (10, 5)):
            rows = past.history.clean(REQUESTS, visits(first, NOW + timedelta(hours=ahead), ["a/b"]))
            transaction.append_requests(REQUESTS, [rows], lookups, REQUESTS.folds, count_people=True)
    assert query(past, BY_HOUR) == query(past, HOURS)
    assert query(past, "SELECT count(*) FROM people_by_hour") == [(2,)]
    assert query(past, "SELECT sum(loads) FROM views_waiting") == [(2,)]


def test_what_is_far_ahead_is_forgotten(past: Past) -> None:
    """What a clock years ahead let in goes when it is set right; requests that are far ahead are not counted."""
    future = NOW + timedelta(days=900)
    past.poll(future, visits(1, future, ["a/b"]))
    past.poll(NOW, visits(10, future, ["a/b"]))
    assert query(past, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]
    assert read(past).requests.num_rows == 0
    for table in usage.TABLES:
        assert query(past, f"FROM {table}") == []


def test_an_hour_that_is_cut_is_forgotten(past: Past) -> None:
    """Where a retention ends within an hour or a day, that one would say too little: it says nothing."""
    at = NOW.replace(hour=10) - timedelta(days=3)
    past.poll(NOW, visits(1, at + timedelta(minutes=5), ["a/b"] * 3))
    past.poll(NOW, visits(10, at + timedelta(minutes=45), ["a/b"] * 2))
    past.poll(NOW, visits(20, at + timedelta(days=1), ["a/b"]))
    with past.history.transaction(NOW) as transaction:
        transaction.prune(at + timedelta(minutes=30))
    assert query(past, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]
    for table in ("requests_by_hour", "people_by_hour", "views_waiting"):
        assert query(past, f"SELECT count(*) FROM {table}") == [(1,)]


def test_what_is_pruned_is_forgotten(past: Past) -> None:
    """A retention of a day leaves nothing older in these tables either."""
    for days in (6, 0):
        past.poll(NOW - timedelta(days=days), visits(1000 - days, NOW - timedelta(days=days), ["a/b"]))
    with past.history.transaction(NOW) as transaction:
        transaction.prune(NOW - timedelta(days=1))
    for table in ("requests_by_hour", "people_by_hour", "views_waiting"):
        assert query(past, f"SELECT count(*) FROM {table}") == [(1,)]


def test_an_older_file_is_counted(past: Past) -> None:
    """A file of before these tables gets them filled with what it holds; people are counted from then on."""
    past.poll(NOW, visits(1, NOW - timedelta(hours=3), ["Sales/Map"] * 3))
    read(past)
    before = {table: query(past, f"FROM {table} ORDER BY ALL") for table in usage.TABLES}
    with duckdb.connect(str(past.file.path)) as connection:
        for table in (*usage.TABLES, "asset_freshness", "freshness_sources"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM schema_version WHERE version > ?", [STEPS.index(usage.create_usage)])
    again = Past(past.file.path)
    again.history.prepare(NOW)
    assert query(again, "FROM requests_by_hour ORDER BY ALL") == before["requests_by_hour"]
    assert query(again, "FROM views_by_day ORDER BY ALL") == before["views_by_day"]
    assert query(again, "FROM workbook_opens ORDER BY ALL") == before["workbook_opens"]
    assert query(again, "FROM people_by_hour") == []


def test_the_archive_needs_no_sums(past: Past) -> None:
    """Whatever becomes of the sums by day, however large they are, requests are archived."""
    past.poll(NOW, visits(1, NOW, ["a/b"]))
    with duckdb.connect(str(past.file.path)) as connection:
        connection.execute("DROP TABLE views_by_day")
    past.poll(NOW, visits(10, NOW, ["a/b"] * 3))
    assert query(past, "SELECT count(*) FROM http_requests") == [(4,)]
    assert query(past, "SELECT sum(loads) FROM views_waiting") == [(4,)]


def test_an_upgrade_says_that_it_counts() -> None:
    """What takes seconds with millions of requests is said before it begins; an empty file has nothing to count."""
    with duckdb.connect() as connection, capture_logs() as logs:
        connection.execute("CREATE TABLE marks (name VARCHAR, marked_at TIMESTAMP)")
        connection.execute("CREATE TABLE http_requests AS FROM (VALUES (1)) AS rows (id) LIMIT 0")
        for name in ("created_at TIMESTAMP", "site_id BIGINT", "action VARCHAR", "workbook VARCHAR", '"view" VARCHAR'):
            connection.execute(f"ALTER TABLE http_requests ADD COLUMN {name}")
        usage.create_usage(connection)
        assert logs == []
        for table in ("requests_by_hour", "people_by_hour", "views_by_day"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("INSERT INTO http_requests (id) VALUES (1)")
        usage.create_usage(connection)
    assert [line["log_level"] for line in logs] == ["info"]


def test_openings_of_workbooks(past: Past) -> None:
    """An opening has its five minutes, workbook and user; what is older than eight weeks is forgotten."""
    past.poll(NOW, visits(1, NOW - timedelta(hours=2), ["Sales/Map", "Sales/Sums", "Costs/Map"]))
    past.poll(NOW, visits(10, NOW - timedelta(days=60), ["Old/Map"]))
    opened = "SELECT DISTINCT slot, site_id, workbook, user_id FROM workbook_opens ORDER BY ALL"
    at = (NOW - timedelta(hours=2)).replace(tzinfo=None)
    slot = at.replace(minute=at.minute // 5 * 5, second=0, microsecond=0)
    assert query(past, opened) == [(slot, 1, "Costs", 7), (slot, 1, "Sales", 7)]
    read(past, at=NOW + timedelta(days=60), source_at=NOW + timedelta(days=60))
    assert query(past, opened) == []


def test_openings_without_users(tmp_path: Path) -> None:
    """Where users are not stored they are in no opening; those of before are removed."""
    path = tmp_path / "history.duckdb"
    past = Past(path)
    past.poll(NOW, visits(1, NOW - timedelta(hours=2), ["Sales/Map"]))
    hidden = Past(path, privacy=Privacy(users="none"))
    hidden.poll(NOW, visits(2, NOW - timedelta(hours=1), ["Sales/Map"]))
    assert query(hidden, "SELECT user_id FROM workbook_opens ORDER BY slot") == [(7,), (None,)]
    read(hidden)
    assert query(hidden, "SELECT user_id FROM workbook_opens") == [(None,), (None,)]
