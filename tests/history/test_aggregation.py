"""Counters and histograms grow by exactly the rows that are folded."""

from collections import Counter
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.collector import Count, Distribution
from exporter.history.aggregation import add, fold
from exporter.history.schema import prepare
from exporter.metrics import Family

COUNT = Family("tableau_x_total", "counter", "x.", ("site", "action"), "x")
SECONDS = Family("tableau_x_seconds", "histogram", "x.", ("site",), "x", (1.0, 5.0))
FOLDS = (
    Count(COUNT, {"action": "action", "site": "site"}, "site <> 'left out'"),
    Distribution(SECONDS, {"site": "site"}, "seconds", "seconds >= 0"),
)

Rows = list[tuple[str | None, str | None, float]]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A prepared database in memory."""
    with duckdb.connect() as connection:
        prepare(connection, {})
        yield connection


def _fold(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE arrived (site VARCHAR, action VARCHAR, seconds DOUBLE)")
    for row in rows:
        connection.execute("INSERT INTO arrived VALUES (?, ?, ?)", list(row))
    fold(connection, FOLDS, "arrived")


def test_labels_and_buckets(connection: duckdb.DuckDBPyConnection) -> None:
    """Labels stand in the family's order, NULL is empty, and an observation is in the least bucket that holds it."""
    _fold(connection, [("a", "view", 1.0), ("a", None, 1.1), ("left out", "view", 5.0), ("a", "view", 99.0)])
    _fold(connection, [("a", "view", -1.0)])
    counters = connection.execute("SELECT labels, value FROM counters ORDER BY ALL").fetchall()
    assert counters == [(["a", ""], 1.0), (["a", "view"], 3.0)]
    buckets = connection.execute("SELECT labels, le, observations, seconds FROM histograms ORDER BY ALL").fetchall()
    infinite = float("inf")
    assert buckets == [
        (["a"], 1.0, 1, 1.0),
        (["a"], 5.0, 1, 1.1),
        (["a"], infinite, 1, 99.0),
        (["left out"], 5.0, 1, 5.0),
    ]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "", None]), st.sampled_from(["x", "'", None]), st.just(1.0)),
            max_size=6,
        ),
        max_size=4,
    )
)
def test_batches_add_up(batches: list[Rows]) -> None:
    """However rows are cut into batches, the counters are those of all rows together."""
    with duckdb.connect() as connection:
        prepare(connection, {})
        for batch in batches:
            _fold(connection, batch)
        found = {
            tuple(labels): value
            for labels, value in connection.execute("SELECT labels, value FROM counters").fetchall()
        }
    assert found == Counter(
        (site or "", action or "") for batch in batches for site, action, _ in batch if site is not None
    )


def test_adding(connection: duckdb.DuckDBPyConnection) -> None:
    """One counter is made by its first addition and grows by the next."""
    add(connection, "f", ["x"], 2)
    add(connection, "f", ["x"], 3)
    add(connection, "f", [], 1)
    assert connection.execute("SELECT labels, value FROM counters ORDER BY ALL").fetchall() == [([], 1.0), (["x"], 5.0)]
