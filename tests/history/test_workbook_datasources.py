"""Which workbook uses which published source, from the connections and sources that are retained by day."""

from datetime import date

import duckdb
import pytest

from exporter.collectors import discover
from exporter.history.schema import prepare

DAYS = [date(2025, 11, day) for day in range(1, 10)]


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    """A history with two workbooks, and a source of the same name on each of two sites."""
    connection = duckdb.connect()
    prepare(connection, discover())
    for number, site in ((1, 1), (2, 2)):
        insert(connection, "workbooks", day=DAYS[0], id=number, site_id=site)
        insert(connection, "datasources", day=DAYS[0], id=number, site_id=site, repository_url="Orders", published=True)
    return connection


def insert(connection: duckdb.DuckDBPyConnection, table: str, **values: object) -> None:
    """Store one version of a row."""
    columns = ", ".join(values)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", [*values.values()])


def connect(
    connection: duckdb.DuckDBPyConnection,
    number: int,
    day: date,
    dbname: str | None = "Orders",
    dbclass: str = "sqlproxy",
) -> None:
    """Store a version of the connection of workbook 1."""
    values = {"owner_type": "Workbook", "owner_id": 1, "dbclass": dbclass, "dbname": dbname}
    insert(connection, "data_connections", day=day, id=number, **values)


def uses(connection: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    """Return the view."""
    columns = "day, site_id, workbook_id, datasource_id, removed_on"
    return connection.execute(f"SELECT {columns} FROM workbook_datasources ORDER BY ALL").fetchall()


def test_a_source_is_found_within_the_site(connection: duckdb.DuckDBPyConnection) -> None:
    """Another site has a source of the same name; a database of that name is none."""
    connect(connection, 1, DAYS[1])
    connect(connection, 2, DAYS[1], dbclass="postgres")
    assert uses(connection) == [(DAYS[1], 1, 1, 1, None)]


def test_a_workbook_that_changes_its_source(connection: duckdb.DuckDBPyConnection) -> None:
    """The old use ends on the day on which the new one was first seen; a source that has the name later is not used."""
    insert(connection, "datasources", day=DAYS[0], id=3, site_id=1, repository_url="Costs", published=True)
    connect(connection, 1, DAYS[1])
    connect(connection, 1, DAYS[3], "Costs")
    insert(connection, "datasources", day=DAYS[5], id=4, site_id=1, repository_url="Orders", published=True)
    assert uses(connection) == [(DAYS[1], 1, 1, 1, DAYS[3]), (DAYS[3], 1, 1, 3, None)]


@pytest.mark.parametrize("source", ["data_connections", "datasources", "workbooks"])
def test_what_is_removed_is_not_used_any_more(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """The connection, the source or the workbook."""
    connect(connection, 1, DAYS[1])
    connection.execute("INSERT INTO removals VALUES (?, 1, ?)", [source, DAYS[4]])
    assert uses(connection) == [(DAYS[1], 1, 1, 1, DAYS[4])]


def test_a_name_that_is_given_again(connection: duckdb.DuckDBPyConnection) -> None:
    """Each source is used as long as it has the name."""
    connect(connection, 1, DAYS[1])
    connection.execute("INSERT INTO removals VALUES ('datasources', 1, ?)", [DAYS[3]])
    insert(connection, "datasources", day=DAYS[5], id=3, site_id=1, repository_url="Orders", published=True)
    assert uses(connection) == [(DAYS[1], 1, 1, 1, DAYS[3]), (DAYS[5], 1, 1, 3, None)]
