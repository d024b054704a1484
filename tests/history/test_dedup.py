"""Which of the rows that arrive are known, and which of them stand for the same."""

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from exporter.collector import Events
from exporter.history.dedup import mark_new
from tests.history.synthetic_history import BEGIN, SyntheticHistory, requests


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("at", [BEGIN, None])
def test_twice_in_one_batch(tmp_path: Path, times: int, at: datetime | None) -> None:
    """A key that is read twice, as without a primary key it may, is archived and counted once."""
    synthetic = SyntheticHistory(tmp_path / "history.duckdb")
    rows = pa.concat_tables([requests(1, 5, BEGIN)] * times)
    if at is None:
        rows = rows.set_column(1, "created_at", pa.nulls(rows.num_rows, pa.timestamp("us")))
    synthetic.poll(BEGIN + timedelta(hours=1), rows, others=False)
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        assert connection.execute("SELECT id FROM http_requests ORDER BY id").fetchall() == [(n,) for n in range(1, 6)]
    assert synthetic.history.totals.counter("tableau_history_rows_total", "http_requests") == 5


def test_a_row_that_another_source_brought() -> None:
    """A job is one by its LUID, with any number and any precision of its time."""
    events = Events(table="jobs", reads=(), row=None, folds=(), alias="luid")
    schema = pa.schema({"id": pa.int64(), "created_at": pa.timestamp("us"), "luid": pa.string()})

    def jobs(*rows: tuple[int, datetime, str | None]) -> pa.Table:
        return pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)

    with duckdb.connect() as connection:
        stored = jobs((1, BEGIN, "a"), (2, BEGIN, None))
        connection.execute("CREATE TABLE jobs AS SELECT * FROM stored")
        arriving = jobs(
            (71, BEGIN + timedelta(milliseconds=417), "a"), (72, BEGIN, "b"), (73, BEGIN, "b"), (74, BEGIN, None)
        )
        marked, _ = mark_new(connection, events, arriving, None)
    assert stored.num_rows == 2
    assert marked.column("fresh").to_pylist() == [False, True, False, True]
