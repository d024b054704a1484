"""Requests are cleaned in their order, batch after batch, whatever columns the source has; others are not stored."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from exporter.collectors import discover
from exporter.history.aggregation import Lookups
from exporter.history.cleaner import Cleaner
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.tables import REQUEST_COLUMNS

NOW = datetime(2025, 11, 19)  # noqa: DTZ001 - naive, as in the history


def requests(first: int, count: int, kind: pa.DataType) -> pa.Table:
    """Return requests whose URIs hold their own number, and a secret."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "http_request_uri": pa.array([f"/views/Book{n}/Sheet?secret={n}" for n in numbers], kind),
            "user_id": pa.array(numbers, pa.int64()),
        }
    )


@pytest.mark.parametrize("users", ["name", "none"])
def test_batch_after_batch(users: str) -> None:
    """Each row retains its place and its own values, also when the types of the next batch are others."""
    cleaner = Cleaner(Privacy(users=users))  # type: ignore[arg-type]
    for first, count, kind in (
        (1, 3, pa.string()),
        (9, 20_000, pa.large_string()),
        (5, 0, pa.string()),
        (7, 2, pa.string()),
    ):
        cleaned = cleaner.clean(requests(first, count, kind))
        numbers = [*range(first, first + count)]
        assert set(cleaned.column_names) == set(REQUEST_COLUMNS)
        assert cleaned.column("id").to_pylist() == numbers
        assert cleaned.column("http_request_uri").to_pylist() == [f"/views/Book{n}/Sheet" for n in numbers]
        assert cleaned.column("workbook").to_pylist() == [f"Book{n}" for n in numbers]
        # Active users are counted; the archive does not store them.
        assert cleaned.column("user_id").to_pylist() == numbers
        assert cleaned.column("status").null_count == count


def test_what_was_not_cleaned_is_refused(tmp_path: Path) -> None:
    """A writer accepts only requests that come from the cleaner."""
    collectors = {"http_requests": discover()["http_requests"]}
    history = History(HistoryFile(tmp_path / "history.duckdb"), collectors, Privacy())
    events = collectors["http_requests"].events
    assert events is not None
    rows = requests(1, 1, pa.string())
    people = pa.table({"user_id": pa.array([], pa.int64()), "person": pa.array([], pa.int64())})
    with pytest.raises(ValueError, match="not cleaned"), history.transaction(NOW) as transaction:
        transaction.append_requests(events, [rows], Lookups({}, people), (), count_people=False)
