"""Values of an answer: every type as JSON, bounded by rows and bytes, in the order of the query."""

import json

import pytest

from exporter.errors import QueryFailed
from exporter.history.file import HistoryFile, Limits
from exporter.history.query import INSTANT, NESTED, VALUE, QueryResult, ResultColumn, run_query
from exporter.history.sandbox import parse
from tests.history.synthetic_history import SyntheticHistory


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> HistoryFile:
    """A history opened read-only."""
    path = tmp_path_factory.mktemp("query") / "history.duckdb"
    SyntheticHistory(path).live(3)
    return HistoryFile(path, Limits(patience_seconds=0.0, spills=False), read_only=True, repairs=False)


def answered(file: HistoryFile, sql: str, most_rows: int = 100, most_bytes: int = 1_000_000) -> QueryResult:
    """Return the answer to a statement."""
    with file.open() as connection:
        return run_query(connection, parse(sql), most_rows, most_bytes)


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        ("NULL", VALUE, None),
        ("true", VALUE, True),
        ("1::UTINYINT", VALUE, 1),
        ("(-9223372036854775808)::BIGINT", VALUE, -(2**63)),
        ("sum(2::BIGINT)", VALUE, 2),
        ("170141183460469231731687303715884105727::HUGEINT", VALUE, 2**127 - 1),
        ("1.50::DECIMAL(5, 2)", VALUE, 1.5),
        ("0.1::DOUBLE", VALUE, 0.1),
        ("''", VALUE, ""),
        ("chr(0) || 'ü\n'", VALUE, "\0ü\n"),
        ("DATE '2025-01-01'", VALUE, "2025-01-01"),
        ("TIME '10:00:00'", VALUE, "10:00:00"),
        ("INTERVAL 1 MONTH", VALUE, "1 month"),
        ("'\\xAA'::BLOB", VALUE, "\\xAA"),
        ("'a'::ENUM('a')", VALUE, "a"),
        ("'550e8400-e29b-41d4-a716-446655440000'::UUID", VALUE, "550e8400-e29b-41d4-a716-446655440000"),
        ("TIMESTAMP '2025-01-01 10:00:00.5'", INSTANT, "2025-01-01 10:00:00.5"),
        ("TIMESTAMP '290000-01-01'", INSTANT, "290000-01-01 00:00:00"),
        ("'infinity'::TIMESTAMP", INSTANT, "infinity"),
        ("TIMESTAMPTZ '2025-01-01 10:00:00+02'", INSTANT, "2025-01-01 08:00:00+00"),
        ("[1, NULL]", NESTED, "[1,null]"),
        ("{'a': {'b': [1]}}", NESTED, '{"a":{"b":[1]}}'),
        ("MAP {'k': 1}", NESTED, '{"k":1}'),
        ("""'{"a":1}'::JSON""", NESTED, '{"a":1}'),
    ],
)
def test_types(file: HistoryFile, value: str, kind: str, read: object) -> None:
    """Each type of DuckDB is passed on as the nearest that JSON has."""
    answer = answered(file, f"SELECT {value} AS value")
    assert answer.columns == [ResultColumn("value", kind)]
    assert list(answer.values()) == [[read]]


def test_order_and_limit(file: HistoryFile) -> None:
    """The first rows in the order of the query, and whether there are more."""
    sql = "SELECT id FROM http_requests ORDER BY id DESC"
    answer = answered(file, sql, most_rows=3)
    assert (list(answer.values()), answer.is_cut) == ([[29], [28], [27]], True)
    answer = answered(file, sql, most_rows=30)
    assert (len(answer.rows), answer.is_cut) == (30, False)


def test_columns_of_one_name(file: HistoryFile) -> None:
    """Columns retain their names and places, also where two have the same."""
    answer = answered(file, 'SELECT 1 AS a, 2 AS a, 3 AS "b,\'c"')
    assert [column.name for column in answer.columns] == ["a", "a", "b,'c"]
    assert json.loads(answer.rows[0]) == [1, 2, 3]


def test_too_many_bytes(file: HistoryFile) -> None:
    """An answer that is too large is refused with the remedy."""
    with pytest.raises(QueryFailed, match=r"larger than 1 MB: select fewer rows or columns"):
        answered(file, "SELECT repeat('x', 1000) FROM range(1100)", most_rows=2_000)


def test_no_answer(file: HistoryFile) -> None:
    """An answer without rows has its columns."""
    answer = answered(file, "SELECT id, created_at FROM http_requests WHERE false")
    assert [column.kind for column in answer.columns] == [VALUE, INSTANT]
    assert (list(answer.rows), answer.is_cut) == ([], False)
