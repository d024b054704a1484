"""Use on the pages equals the archive's, of the last days alone."""

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
from tests.history.synthetic_history import BEGIN, LOOKUPS, REQUESTS, SyntheticHistory, requests

NOW = BEGIN + timedelta(days=200)


@pytest.fixture
def synthetic(tmp_path: Path) -> SyntheticHistory:
    """A history that nothing happened to yet."""
    return SyntheticHistory(tmp_path / "history.duckdb")


def visits(first: int, at: datetime, sheets: Sequence[str], user: int = 7, site: int = 1) -> pa.Table:
    """Return a rendering of each sheet, one a second."""
    rows = requests(first, len(sheets), at)
    rows = rows.set_column(rows.column_names.index("action"), "action", pa.array(["bootstrapSession"] * len(sheets)))
    rows = rows.set_column(rows.column_names.index("site_id"), "site_id", pa.array([site] * len(sheets), pa.int64()))
    rows = rows.append_column("currentsheet", pa.array(list(sheets)))
    return rows.append_column("user_id", pa.array([user] * len(sheets), pa.int64()))


def read(
    synthetic: SyntheticHistory, *, with_people: bool = True, at: datetime = NOW, source_at: datetime | None = NOW
) -> Use:
    """Return the data of the pages, after old rows were removed and the rest aggregated."""
    with synthetic.history.page_transaction(at) as transaction:
        transaction.delete_old_usage(source_at)
        assert not usage.sum_up(transaction.connection)
        return transaction.read_usage(with_people=with_people)


def query(synthetic: SyntheticHistory, sql: str) -> list[tuple[object, ...]]:
    """Query the file."""
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


HOURS = "SELECT date_trunc('hour', created_at), site_id, count(*) FROM http_requests GROUP BY ALL ORDER BY ALL"
BY_HOUR = "SELECT hour, site_id, requests FROM requests_by_hour ORDER BY ALL"


def test_hours_are_those_of_the_archive(synthetic: SyntheticHistory) -> None:
    """Each hour counts the requests that the archive has of it, however often they are read."""
    for number in range(5):
        at = NOW - timedelta(minutes=50 * number)
        rows = visits(10 * number, at, ["Sales/Map"] * 7, site=1 + number % 2)
        synthetic.poll(NOW, rows)
        synthetic.poll(NOW, rows)
    assert query(synthetic, BY_HOUR) == query(synthetic, HOURS)
    assert read(synthetic).requests.column("requests").to_pylist() == [row[2] for row in query(synthetic, HOURS)]


def test_open_requests_are_counted_when_they_are_final(synthetic: SyntheticHistory) -> None:
    """A request counts once: when it is archived, not while it is open."""
    at = NOW - timedelta(hours=2)
    synthetic.poll(NOW - timedelta(hours=1), requests(1, 3, at, completed=False))
    assert query(synthetic, BY_HOUR) == []
    synthetic.poll(NOW, requests(1, 2, at))
    synthetic.poll(NOW + timedelta(days=2), requests(50, 1, NOW + timedelta(days=2)))
    assert query(synthetic, BY_HOUR) == query(synthetic, HOURS)
    assert sum(row[2] for row in query(synthetic, HOURS)) == 4  # type: ignore[misc]


def test_people_are_counted_once_an_hour(synthetic: SyntheticHistory) -> None:
    """A user who returns in the same hour is one; a user of two sites is one on each, and one in all."""
    synthetic.poll(NOW, visits(1, NOW - timedelta(minutes=20), ["a/b"] * 5, user=7, site=1))
    synthetic.poll(NOW, visits(10, NOW - timedelta(minutes=15), ["a/b"] * 5, user=7, site=2))
    synthetic.poll(NOW, visits(20, NOW - timedelta(minutes=10), ["a/b"] * 5, user=8, site=1))
    people = read(synthetic).people
    assert people is not None
    found = {(row["site_id"], row["whole"]): row["people"] for row in people.to_pylist()}
    assert found == {(1, False): 2, (2, False): 1, (None, True): 2}
    assert query(synthetic, "SELECT count(*) FROM people_by_hour") == [(3,)]


def test_nobody_is_noted_where_nobody_may_be_known(synthetic: SyntheticHistory) -> None:
    """Where users are not stored, no hours of active users remain."""
    with synthetic.history.transaction(NOW) as transaction:
        transaction.hidden = {"user_id"}
        rows = synthetic.history.clean(REQUESTS, visits(1, NOW, ["a/b"]))
        transaction.append_requests(REQUESTS, [rows], LOOKUPS, REQUESTS.folds, count_people=True)
        assert transaction.read_usage(with_people=True).people is None
    assert query(synthetic, "FROM people_by_hour") == []
    assert query(synthetic, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]


def test_views_are_counted_by_day(synthetic: SyntheticHistory) -> None:
    """Only renderings count as loads, each view of each site by itself."""
    synthetic.poll(NOW, visits(1, NOW - timedelta(days=3), ["Sales/Map", "Sales/Map", "Sales/List"]))
    synthetic.poll(NOW, visits(10, NOW - timedelta(days=3), ["Sales/Map"]))
    synthetic.poll(NOW, requests(20, 5, NOW))
    read(synthetic)
    rows = query(synthetic, 'SELECT day, site_id, workbook, "view", loads FROM views_by_day ORDER BY loads')
    day = (NOW - timedelta(days=3)).date()
    assert rows == [(day, 1, "Sales", "List", 1), (day, 1, "Sales", "Map", 3)]
    assert query(synthetic, "FROM views_waiting") == []


def test_many_days_are_summed_up_in_steps(synthetic: SyntheticHistory) -> None:
    """A backlog of many days needs several transactions, each with memory for one day at a time."""
    for days in range(usage.STEP_DAYS + 1):
        synthetic.poll(NOW, visits(100 * days, NOW - timedelta(days=days), ["a/b"]))
    steps = []
    for _ in range(2):
        with synthetic.history.page_transaction(NOW) as transaction:
            steps.append(usage.sum_up(transaction.connection))
    assert steps == [True, False]
    assert query(synthetic, "SELECT count(*), sum(loads) FROM views_by_day") == [(11, 11)]


def test_the_tables_do_not_grow_with_the_history(synthetic: SyntheticHistory) -> None:
    """Hours are retained for nine days and days for a hundred; a clock that jumps ahead removes nothing."""
    for days in (150, 99, 12, 8, 0):
        synthetic.poll(NOW - timedelta(days=days), visits(1000 - days, NOW - timedelta(days=days), ["a/b"]))
    assert len(read(synthetic).requests) == 2
    assert len(read(synthetic, at=NOW + timedelta(days=5000)).requests) == 2
    assert query(synthetic, "SELECT count(*) FROM views_by_day") == [(4,)]
    assert query(synthetic, "SELECT count(*) FROM people_by_hour") == [(2,)]


@pytest.mark.parametrize("source_at", [NOW + timedelta(days=10), None])
def test_people_are_forgotten_though_nobody_comes(synthetic: SyntheticHistory, source_at: datetime | None) -> None:
    """After nine days no user remains, also where counting has stopped, or the source is down."""
    synthetic.poll(NOW, visits(1, NOW, ["a/b"]))
    read(synthetic, at=NOW + timedelta(days=8), source_at=source_at and NOW + timedelta(days=8))
    assert query(synthetic, "SELECT count(*) FROM people_by_hour") == [(1,)]
    read(synthetic, at=NOW + timedelta(days=10), source_at=source_at)
    assert query(synthetic, "SELECT count(*) FROM people_by_hour") == [(0,)]


def test_people_are_forgotten_once_they_are_hidden(synthetic: SyntheticHistory) -> None:
    """Where users are not stored any more, earlier ones go at once."""
    synthetic.poll(NOW, visits(1, NOW, ["a/b"]))
    with synthetic.history.page_transaction(NOW) as transaction:
        transaction.hidden = {"user_id"}
        transaction.delete_old_usage(NOW)
    assert query(synthetic, "FROM people_by_hour") == []
    assert query(synthetic, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]


@pytest.mark.parametrize("wrong", [timedelta(hours=-3), timedelta(hours=3)])
def test_a_wrong_clock_loses_nothing(synthetic: SyntheticHistory, wrong: timedelta) -> None:
    """An agent whose clock is hours behind or ahead counts by the source's clock."""
    lookups = replace(LOOKUPS, source_at=NOW)
    with synthetic.history.transaction(NOW + wrong) as transaction:
        for first, ahead in ((1, 0), (10, 5)):
            rows = synthetic.history.clean(REQUESTS, visits(first, NOW + timedelta(hours=ahead), ["a/b"]))
            transaction.append_requests(REQUESTS, [rows], lookups, REQUESTS.folds, count_people=True)
    assert query(synthetic, BY_HOUR) == query(synthetic, HOURS)
    assert query(synthetic, "SELECT count(*) FROM people_by_hour") == [(2,)]
    assert query(synthetic, "SELECT sum(loads) FROM views_waiting") == [(2,)]


def test_what_is_far_ahead_is_forgotten(synthetic: SyntheticHistory) -> None:
    """Rows from a clock years ahead go when it is set right; requests that are far ahead are not counted."""
    future = NOW + timedelta(days=900)
    synthetic.poll(future, visits(1, future, ["a/b"]))
    synthetic.poll(NOW, visits(10, future, ["a/b"]))
    assert query(synthetic, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]
    assert read(synthetic).requests.num_rows == 0
    for table in usage.TABLES:
        assert query(synthetic, f"FROM {table}") == []


def test_an_hour_that_is_cut_is_forgotten(synthetic: SyntheticHistory) -> None:
    """Where a retention ends within an hour or a day, that one would count too little: it is absent."""
    at = NOW.replace(hour=10) - timedelta(days=3)
    synthetic.poll(NOW, visits(1, at + timedelta(minutes=5), ["a/b"] * 3))
    synthetic.poll(NOW, visits(10, at + timedelta(minutes=45), ["a/b"] * 2))
    synthetic.poll(NOW, visits(20, at + timedelta(days=1), ["a/b"]))
    with synthetic.history.transaction(NOW) as transaction:
        transaction.prune(at + timedelta(minutes=30))
    assert query(synthetic, "SELECT sum(requests) FROM requests_by_hour") == [(1,)]
    for table in ("requests_by_hour", "people_by_hour", "views_waiting"):
        assert query(synthetic, f"SELECT count(*) FROM {table}") == [(1,)]


def test_what_is_pruned_is_forgotten(synthetic: SyntheticHistory) -> None:
    """A retention of a day leaves nothing older in these tables either."""
    for days in (6, 0):
        synthetic.poll(NOW - timedelta(days=days), visits(1000 - days, NOW - timedelta(days=days), ["a/b"]))
    with synthetic.history.transaction(NOW) as transaction:
        transaction.prune(NOW - timedelta(days=1))
    for table in ("requests_by_hour", "people_by_hour", "views_waiting"):
        assert query(synthetic, f"SELECT count(*) FROM {table}") == [(1,)]


def test_an_older_file_is_counted(synthetic: SyntheticHistory) -> None:
    """A file of before these tables gets them filled from its rows; users are counted from then on."""
    synthetic.poll(NOW, visits(1, NOW - timedelta(hours=3), ["Sales/Map"] * 3))
    read(synthetic)
    before = {table: query(synthetic, f"FROM {table} ORDER BY ALL") for table in usage.TABLES}
    with duckdb.connect(str(synthetic.file.path)) as connection:
        for table in (*usage.TABLES, "asset_freshness", "freshness_sources"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM schema_version WHERE version > ?", [STEPS.index(usage.create_usage)])
    again = SyntheticHistory(synthetic.file.path)
    again.history.prepare(NOW)
    assert query(again, "FROM requests_by_hour ORDER BY ALL") == before["requests_by_hour"]
    assert query(again, "FROM views_by_day ORDER BY ALL") == before["views_by_day"]
    assert query(again, "FROM workbook_opens ORDER BY ALL") == before["workbook_opens"]
    assert query(again, "FROM people_by_hour") == []


def test_the_archive_needs_no_sums(synthetic: SyntheticHistory) -> None:
    """Whatever becomes of the sums by day, however large they are, requests are archived."""
    synthetic.poll(NOW, visits(1, NOW, ["a/b"]))
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("DROP TABLE views_by_day")
    synthetic.poll(NOW, visits(10, NOW, ["a/b"] * 3))
    assert query(synthetic, "SELECT count(*) FROM http_requests") == [(4,)]
    assert query(synthetic, "SELECT sum(loads) FROM views_waiting") == [(4,)]


def test_an_upgrade_says_that_it_counts() -> None:
    """An aggregation of seconds with millions of requests is logged before it begins; an empty file has none."""
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


def test_openings_of_workbooks(synthetic: SyntheticHistory) -> None:
    """An opening has its five minutes, workbook and user; what is older than eight weeks is forgotten."""
    synthetic.poll(NOW, visits(1, NOW - timedelta(hours=2), ["Sales/Map", "Sales/Sums", "Costs/Map"]))
    synthetic.poll(NOW, visits(10, NOW - timedelta(days=60), ["Old/Map"]))
    opened = "SELECT DISTINCT slot, site_id, workbook, user_id FROM workbook_opens ORDER BY ALL"
    at = (NOW - timedelta(hours=2)).replace(tzinfo=None)
    slot = at.replace(minute=at.minute // 5 * 5, second=0, microsecond=0)
    assert query(synthetic, opened) == [(slot, 1, "Costs", 7), (slot, 1, "Sales", 7)]
    read(synthetic, at=NOW + timedelta(days=60), source_at=NOW + timedelta(days=60))
    assert query(synthetic, opened) == []


def test_openings_without_users(tmp_path: Path) -> None:
    """Where users are not stored they are in no opening; those of before are removed."""
    path = tmp_path / "history.duckdb"
    synthetic = SyntheticHistory(path)
    synthetic.poll(NOW, visits(1, NOW - timedelta(hours=2), ["Sales/Map"]))
    hidden = SyntheticHistory(path, privacy=Privacy(users="none"))
    hidden.poll(NOW, visits(2, NOW - timedelta(hours=1), ["Sales/Map"]))
    assert query(hidden, "SELECT user_id FROM workbook_opens ORDER BY slot") == [(7,), (None,)]
    read(hidden)
    assert query(hidden, "SELECT user_id FROM workbook_opens") == [(None,), (None,)]
