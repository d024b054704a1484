"""A position moves only from where its rows were read."""

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest

from exporter.errors import HistoryError
from exporter.history.positions import Position, move, read_positions
from exporter.history.schema import STEPS, prepare


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A prepared database in memory."""
    with duckdb.connect() as connection:
        prepare(connection, {})
        yield connection


def test_a_position_is_read_as_it_was_moved(connection: duckdb.DuckDBPyConnection) -> None:
    """Everything of a position comes back, and its version counts the moves."""
    old = Position("http_requests")
    new = replace(
        old, horizon=2**40, xmax=2**40 + 5, max_id=2**63 - 1, identity={"node": "a:1"}, columns={"id": "bigint"}
    )
    move(connection, old, new)
    assert read_positions(connection) == {"http_requests": replace(new, version=1)}
    move(connection, read_positions(connection)["http_requests"], replace(new, truncated=True))
    assert read_positions(connection)["http_requests"].version == 2


def test_a_file_from_before_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A position of an older version is continued, without statistics."""
    with duckdb.connect() as connection:
        with monkeypatch.context() as patch:
            patch.setattr("exporter.history.schema.STEPS", STEPS[:2])
            prepare(connection, {})
        connection.execute(
            "INSERT INTO positions VALUES ('http_requests', 7, 9, 5, '{}', '{}', false, 3, TIMESTAMP '2025-11-19')"
        )
        prepare(connection, {})
        position = read_positions(connection)["http_requests"]
        assert (position.horizon, position.version, position.accounted, position.settling) == (7, 3, None, False)
        move(connection, position, replace(position, accounted=12, settling=True))
        assert read_positions(connection)["http_requests"].accounted == 12


def test_compare_and_set(connection: duckdb.DuckDBPyConnection) -> None:
    """Who read from another position than the file's moves nothing."""
    old = Position("http_requests")
    move(connection, old, replace(old, horizon=1))
    with pytest.raises(HistoryError, match="not the agent's"):
        move(connection, old, replace(old, horizon=2))
    assert read_positions(connection)["http_requests"].horizon == 1
    move(connection, Position("background_jobs"), Position("background_jobs", horizon=3))
    assert set(read_positions(connection)) == {"http_requests", "background_jobs"}
