"""Which of the rows that arrive are known, and which of them stand for the same."""

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tests.history.past import BEGIN, Past, requests


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("at", [BEGIN, None])
def test_twice_in_one_batch(tmp_path: Path, times: int, at: datetime | None) -> None:
    """A key that stands twice in what was read, as without a primary key it may, is archived and counted once."""
    past = Past(tmp_path / "history.duckdb")
    rows = pa.concat_tables([requests(1, 5, BEGIN)] * times)
    if at is None:
        rows = rows.set_column(1, "created_at", pa.nulls(rows.num_rows, pa.timestamp("us")))
    past.poll(BEGIN + timedelta(hours=1), rows, others=False)
    with duckdb.connect(str(past.file.path), read_only=True) as connection:
        assert connection.execute("SELECT id FROM http_requests ORDER BY id").fetchall() == [(n,) for n in range(1, 6)]
    assert past.history.totals.counter("tableau_history_rows_total", "http_requests") == 5
