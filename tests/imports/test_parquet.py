"""Parquet of http_requests, a file or partitions by day."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.errors import ImportUnreadable
from exporter.imports import FileOptions, open_reader
from tests.imports.older_tool import request


def rows(*numbers: int) -> pa.Table:
    """Return requests as an export has them."""
    return pa.Table.from_pylist([{"id": number, "status": 200, "view": "x"} | request(number) for number in numbers])


def test_partitions(tmp_path: Path) -> None:
    """All files of a folder are read, with the columns that requests have."""
    for day, numbers in (("2025-01-01", (1, 2)), ("2025-01-02", (3,))):
        (tmp_path / f"day={day}").mkdir()
        pq.write_table(rows(*numbers), tmp_path / f"day={day}" / "part-0.parquet")
    reader = open_reader(tmp_path, FileOptions())
    read = pa.concat_tables(reader.batches(lambda _reject: None)).to_pylist()
    assert [row["id"] for row in read] == [1, 2, 3]
    assert read[0] == {"id": 1, "status": 200} | request(1)
    assert (reader.size, reader.position) == (3, 3)


def test_other_units_and_zones(tmp_path: Path) -> None:
    """Times that another program wrote with a zone, or in nanoseconds, are the same instants."""
    table, path = rows(1), tmp_path / "requests.parquet"
    place = table.column_names.index("created_at")
    for kind in (pa.timestamp("us", "Europe/Berlin"), pa.timestamp("ns")):
        pq.write_table(table.set_column(place, "created_at", table.column(place).cast(kind)), path)
        (read,) = pa.concat_tables(open_reader(path, FileOptions()).batches(lambda _reject: None)).to_pylist()
        assert read["created_at"] == request(1)["created_at"]


def test_what_is_no_parquet_of_requests(tmp_path: Path) -> None:
    """Another table, and a file that is cut, are refused in one line."""
    path = tmp_path / "requests.parquet"
    pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(ImportUnreadable, match="lacks controller, created_at, session_id"):
        open_reader(path, FileOptions())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImportUnreadable, match="cannot be read as Parquet"):
        open_reader(path, FileOptions())
