"""Opens of workbooks and views, from a history made for the query."""

from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pytest

from exporter.collectors.content.views_sql import VIEWS_RECALL, WORKBOOKS_RECALL

TODAY = date(2026, 7, 27)
NOW = datetime(2026, 7, 27, 10)  # noqa: DTZ001 - naive, as in the history


@pytest.fixture
def history() -> duckdb.DuckDBPyConnection:
    """A history of three workbooks on two sites, the first and the last of the same address."""
    connection = duckdb.connect()
    connection.execute(
        'CREATE TABLE views_by_day (day DATE, site_id BIGINT, workbook VARCHAR, "view" VARCHAR, loads BIGINT)'
    )
    connection.execute("CREATE TABLE workbook_opens (slot TIMESTAMP, site_id BIGINT, workbook VARCHAR, user_id BIGINT)")
    connection.execute(
        """
        CREATE TABLE books AS
        SELECT * FROM (VALUES
            (1, 'one', 1, 'Sales', 'Sales', false),
            (2, 'two', 1, 'Costs', 'Costs', NULL),
            (3, 'three', 2, 'Sales of others', 'Sales', false),
            (4, 'gone', 1, 'Gone', 'Gone', true)
        ) AS books (id, luid, site_id, name, repository_url, is_deleted)
        """
    )
    return connection


def load(history: duckdb.DuckDBPyConnection, days: int, site: int, view: str, loads: int) -> None:
    """Note that a view was loaded so many times, so many days ago."""
    workbook, sheet = view.split("/")
    history.execute(
        "INSERT INTO views_by_day VALUES (?, ?, ?, ?, ?)", [TODAY - timedelta(days), site, workbook, sheet, loads]
    )


def ask(history: duckdb.DuckDBPyConnection, question: str, state: str) -> dict[Any, tuple[Any, ...]]:
    """Return the rows by LUID: loads over 7, 30 and 90 days, and the last day."""
    history.execute(f"CREATE OR REPLACE VIEW state AS {state}")
    rows = history.sql(question, params={"now": NOW}).to_arrow_table().to_pylist()
    return {row["asset_id"]: (row["loads_7d"], row["loads_30d"], row["loads_90d"], row["last_day"]) for row in rows}


BOOKS = "SELECT *, TIMESTAMP '2025-01-01' AS created_at FROM books"
SHEETS = (
    "SELECT id, luid, site_id, name, repository_url || '/Map' AS view_url, is_deleted,"
    " TIMESTAMP '2025-01-01' AS created_at FROM books"
)


def test_workbooks(history: duckdb.DuckDBPyConnection) -> None:
    """A workbook's loads are those of its views, on its site, over the last days; an unopened one is there too."""
    for days, loads in ((0, 1), (6, 2), (7, 4), (29, 8), (30, 16), (89, 32), (90, 64)):
        load(history, days, 1, "Sales/Map", loads)
    load(history, 3, 1, "Sales/List", 128)
    load(history, 40, 2, "Sales/Map", 5)
    assert ask(history, WORKBOOKS_RECALL, BOOKS) == {
        "one": (131, 143, 191, TODAY),
        "two": (0, 0, 0, None),
        "three": (0, 0, 5, TODAY - timedelta(40)),
    }


def test_users_of_workbooks(history: duckdb.DuckDBPyConnection) -> None:
    """Each user of the last 30 days counts once, on the workbook's site; where none is known, there is no number."""
    for days, site, user in ((0, 1, 7), (3, 1, 7), (29, 1, 8), (31, 1, 9), (0, 1, None), (0, 2, None)):
        at = NOW - timedelta(days=days)
        history.execute("INSERT INTO workbook_opens VALUES (?, ?, 'Sales', ?)", [at, site, user])
    history.execute(f"CREATE VIEW state AS {BOOKS}")
    rows = history.sql(WORKBOOKS_RECALL, params={"now": NOW}).to_arrow_table().to_pylist()
    assert {row["asset_id"]: row["users_30d"] for row in rows} == {"one": 2, "two": None, "three": None}


def test_nothing_was_ever_opened(history: duckdb.DuckDBPyConnection) -> None:
    """Before anything is counted every workbook is there, unopened."""
    assert set(ask(history, WORKBOOKS_RECALL, BOOKS).values()) == {(0, 0, 0, None)}


def test_views(history: duckdb.DuckDBPyConnection) -> None:
    """Of views only those are there that were opened in 30 days, the most opened first."""
    load(history, 1, 1, "Costs/Map", 3)
    load(history, 1, 1, "Sales/Map", 5)
    load(history, 50, 2, "Sales/Map", 9)
    load(history, 1, 1, "Gone/Map", 9)
    found = ask(history, VIEWS_RECALL, SHEETS)
    assert list(found) == ["one", "two"]
    assert found["one"] == (5, 5, 5, TODAY - timedelta(1))
