"""Names by day: a version when something changed, at most one a day, and none for values that always change."""

from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa
import pytest

from exporter.collector import columns_of, volatile
from exporter.history.dimensions import keep

FIRST, SECOND, THIRD = (date(2025, 11, day) for day in (18, 19, 20))


@dataclass
class Asset:
    """A row of the state."""

    id: int
    name: str | None
    seen: int | None = volatile()


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    """A database with the table."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE assets (day DATE, id BIGINT, name VARCHAR, seen BIGINT)")
    connection.execute("CREATE TABLE removals (source VARCHAR, id BIGINT, day DATE)")
    return connection


def _keep(connection: duckdb.DuckDBPyConnection, day: date, **names: str | None) -> int:
    ids = [int(number[1:]) for number in names]
    rows = pa.table({"id": ids, "name": pa.array(names.values(), pa.string()), "seen": [day.day] * len(ids)})
    return keep(connection, "assets", columns_of(Asset), rows, day)


def test_versions_by_day(connection: duckdb.DuckDBPyConnection) -> None:
    """A row is stored when it is new or changed; twice on one day the later holds; volatile columns are no change."""
    assert _keep(connection, FIRST, a1="Sales", a2=None) == 2
    assert _keep(connection, FIRST, a1="Sales", a2=None) == 0
    assert _keep(connection, FIRST, a1="Revenue", a2=None) == 1
    assert _keep(connection, SECOND, a1="Revenue", a2=None) == 0
    assert _keep(connection, SECOND, a1="Turnover", a2="Plan") == 2
    kept = connection.execute("SELECT day, id, name FROM assets ORDER BY id, day").fetchall()
    assert kept == [
        (FIRST, 1, "Revenue"),
        (SECOND, 1, "Turnover"),
        (FIRST, 2, None),
        (SECOND, 2, "Plan"),
    ]


def test_what_is_gone_is_remembered(connection: duckdb.DuckDBPyConnection) -> None:
    """A row that the source no longer has stays, and is not stored again when it comes back unchanged."""
    _keep(connection, FIRST, a1="Sales")
    assert _keep(connection, SECOND) == 0
    assert _keep(connection, SECOND, a1="Sales") == 0
    assert connection.execute("SELECT count(*) FROM assets").fetchall() == [(1,)]


def test_what_is_removed_is_noted_with_the_first_day_of_that(connection: duckdb.DuckDBPyConnection) -> None:
    """A missing row is recorded once, of its own table, and no more once it is listed again."""
    noted = "SELECT id, day FROM removals WHERE source = 'assets' ORDER BY id"
    connection.execute("INSERT INTO removals VALUES ('others', 1, '2025-11-01')")
    _keep(connection, FIRST, a1="Sales", a2="Plan", a3="Stock")
    assert connection.execute(noted).fetchall() == []
    _keep(connection, SECOND, a1="Sales")
    _keep(connection, THIRD, a1="Sales", a4="New")
    assert connection.execute(noted).fetchall() == [(2, SECOND), (3, SECOND)]
    _keep(connection, THIRD, a2="Plan")
    assert connection.execute(noted).fetchall() == [(1, THIRD), (3, SECOND), (4, THIRD)]
    assert connection.execute("SELECT * FROM removals WHERE source = 'others'").fetchall() == [
        ("others", 1, date(2025, 11, 1))
    ]
