"""A history for text files: names as they may be met, and requests of several archiving transactions."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from exporter.collectors import discover
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from tests.history.synthetic_history import BEGIN, SyntheticHistory, requests

DAY = date(2025, 1, 1)
HOSTILE = (
    "plain",
    "a|b",
    'a "quoted" text',
    '"',
    "two\nlines",
    "two\r\nlines\r",
    " blank at the beginning",
    "blank at the end ",
    "\ttab\t",
    "=1+1",
    "@SUM(A1)",
    "-1",
    "\x01\x02\x1b[0m",
    "\u2028\u0085\x0b\x0c",
    "Ünïcode 🎉 \U0001d518 漢字",
    "a;b,c\td",
    "NULL",
    "None",
    "\\N",
    "\ufeffmark",
)


def begin(path: Path) -> SyntheticHistory:
    """Make a history with all tables, in which two sites have workbooks of equal names."""
    History(HistoryFile(path), discover(), Privacy()).prepare(datetime(2025, 1, 1, tzinfo=UTC))
    synthetic = SyntheticHistory(path)
    with duckdb.connect(str(path)) as connection:
        for site in (1, 2):
            _site(connection, site)
        add(connection, "workbooks", id=90, site_id=1, name="Gone", repository_url="Gone", owner_id=10)
        add(connection, "views", id=90, site_id=1, workbook_id=90, name="Map", view_url="Gone/Map", owner_id=10)
        for table in ("workbooks", "views"):
            connection.execute("INSERT INTO removals VALUES (?, 90, '2025-01-05')", [table])
        add(connection, "workbooks", id=91, site_id=1, name="In the bin", repository_url="Bin", is_deleted=True)
        add(connection, "extracts", id=91, site_id=1, workbook_id=91)
    return synthetic


def _site(connection: duckdb.DuckDBPyConnection, site: int) -> None:
    """Add a site: workbook n with an extract of its own and one published source, n + 5 live, without anything."""
    first, at = 10 * site, BEGIN + timedelta(hours=site)
    add(connection, "sites", id=site, name=f"site {site}", url_namespace="")
    add(connection, "users", id=first, site_id=site, system_user_id=7, name=f"ann{site}", friendly_name=f"Ann {site}")
    add(connection, "users", id=first + 1, site_id=site, system_user_id=8, name=f"bob{site}", login_at=at)
    add(connection, "projects", id=site, site_id=site, name="EMEA", path="Finance/EMEA")
    shared = {"site_id": site, "owner_id": first, "project_id": site, "created_at": at}
    add(connection, "workbooks", id=first, name="Sales", repository_url="Sales", size=100 + site, **shared)
    add(connection, "workbooks", id=first + 5, name="Live", repository_url="Live", **shared)
    for number, book, sheet in ((first, first, "Map"), (first + 1, first, "Table"), (first + 5, first + 5, "Map")):
        url = f"{'Sales' if book == first else 'Live'}/{sheet}"
        add(connection, "views", id=number, site_id=site, workbook_id=book, name=sheet, view_url=url, owner_id=first)
    add(connection, "datasources", id=first, name=f"Orders {site}", repository_url="Orders", published=True, **shared)
    for number, kind, owner, dbclass, dbname in (
        (first, "Workbook", first, "postgres", "warehouse"),
        (first + 1, "Workbook", first, "sqlproxy", "Orders"),
        (first + 2, "Datasource", first, "oracle", "ledger"),
    ):
        values = {"owner_type": kind, "owner_id": owner, "dbclass": dbclass, "dbname": dbname, "username": "etl"}
        add(connection, "data_connections", id=number, site_id=site, **values)
    add(connection, "extracts", id=first, site_id=site, workbook_id=first, descriptor="own")
    add(connection, "extracts", id=first + 1, site_id=site, datasource_id=first, descriptor="published")


def add(connection: duckdb.DuckDBPyConnection, table: str, **values: object) -> None:
    """Store a version of a row, of the first day; columns not given are NULL."""
    names = ", ".join(f'"{name}"' for name in ("day", *values))
    marks = ", ".join("?" * (len(values) + 1))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [DAY, *values.values()])


def visits(first: int, at: Sequence[datetime | None], **columns: Sequence[object]) -> pa.Table:
    """Return requests that were completed at these times; every further column has a value for each."""
    rows = requests(first, len(at), BEGIN)
    values = {name: rows[name] for name in rows.column_names}
    values["created_at"] = values["completed_at"] = pa.array(at, pa.timestamp("us"))
    values |= {name: pa.array(column) for name, column in columns.items()}
    return pa.table(values)


def transactions(count: int, a_transaction: int = 20) -> Iterator[pa.Table]:
    """Yield requests with hostile texts, some for each transaction; their session ids are all different."""
    for number in range(count):
        first = number * a_transaction
        ids = range(first, first + a_transaction)
        yield visits(
            first,
            [BEGIN + timedelta(hours=number, seconds=each - first) for each in ids],
            session_id=[f"session {each}" for each in ids],
            http_user_agent=[HOSTILE[each % len(HOSTILE)] for each in ids],
        )
