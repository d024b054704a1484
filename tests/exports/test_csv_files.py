"""CSV: one file that is appended to, which every reader of RFC 4180 understands."""

import csv
from dataclasses import replace
from datetime import UTC
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from exporter.errors import OutputUnwritable
from exporter.exports import ExportOptions
from exporter.exports.csv_files import encode, export
from tests.exports.killed_at_step import killed_at
from tests.exports.requests import HISTORY, NOON, OURS, Requests, ids

FIRST = b"""\
"id","action","created_at","archived_at"
0,"show","2025-11-19T12:00:00.000000Z","2025-11-19T12:00:00.000000Z"
1,"=1+1","2025-11-18T12:00:00.000000Z","2025-11-19T12:00:00.000000Z"
2,"a ""quoted"", text
of two lines","2025-11-19T13:00:00.000000Z","2025-11-19T13:00:00.000000Z"
3,"=1+1","2025-11-18T13:00:00.000000Z","2025-11-19T13:00:00.000000Z"
4,"","2025-11-19T14:00:00.000000Z","2025-11-19T14:00:00.000000Z"
5,"=1+1","2025-11-18T14:00:00.000000Z","2025-11-19T14:00:00.000000Z"
6,,"2025-11-19T15:00:00.000000Z","2025-11-19T15:00:00.000000Z"
7,"=1+1","2025-11-18T15:00:00.000000Z","2025-11-19T15:00:00.000000Z"
"""


def read(path: Path) -> list[int]:
    """Return the ids of all rows, by the reader of Python."""
    with path.open(newline="") as file:
        return [int(row["id"]) for row in csv.DictReader(file)]


def test_quoting(tmp_path: Path) -> None:
    """Texts and times are quoted, NULL is empty, an empty text is two quotes, a formula stays as it is."""
    assert export(Requests(4), str(tmp_path / "new" / "folder"), OURS) == 8
    assert (tmp_path / "new" / "folder" / "http_requests.csv").read_bytes() == FIRST


def test_duckdb_reads_the_same(tmp_path: Path) -> None:
    """Types, NULL and empty text come back as they were."""
    path = tmp_path / "requests.csv"
    export(Requests(20), str(path), OURS)
    actions = "count(*) FILTER (action IS NULL), count(*) FILTER (action = '')"
    query = f"SELECT count(*), sum(id), {actions}, epoch(min(created_at))"
    found = duckdb.execute(f"{query} FROM read_csv(?, allow_quoted_nulls = false)", [str(path)]).fetchall()
    assert found == [(40, sum(ids(20)), 5, 5, NOON.replace(day=18, tzinfo=UTC).timestamp())]


def test_appended_once(tmp_path: Path) -> None:
    """A second export adds no row, a third those archived since, in the existing file."""
    path = tmp_path / "http_requests.csv"
    for transactions, new in ((4, 8), (4, 0), (7, 6)):
        assert export(Requests(transactions), str(tmp_path), OURS) == new
        assert read(path) == ids(transactions)
    assert path.read_bytes().startswith(FIRST)
    assert export(Requests(3), f"file://{path}", replace(OURS, rewrite=True)) == 6
    assert read(path) == ids(3)


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Killed before any step, the next export has each row once."""
    outcomes = []
    for step in range(25):
        path = tmp_path / f"{step}.csv"
        export(Requests(2), str(path), OURS)
        outcomes.append(killed_at(step, partial(export, Requests(7), str(path), OURS)))
        export(Requests(9), str(path), OURS)
        assert read(path) == ids(9), step
    assert (outcomes[0], outcomes[-1]) == (True, False)


def test_a_column_that_was_added(tmp_path: Path) -> None:
    """The file keeps the columns that it was begun with; one that is begun anew has all."""
    export(Requests(1), str(tmp_path), OURS)
    path = tmp_path / "http_requests.csv"

    class Wider(Requests):
        schema = pa.schema([("added", pa.int64()), *Requests.schema])

        def __init__(self, transactions: int) -> None:
            super().__init__(transactions)
            self.table = self.table.add_column(0, "added", pa.array([9] * len(self.table), pa.int64()))

    export(Wider(2), str(path), OURS)
    assert path.read_text().splitlines()[0] == '"id","action","created_at","archived_at"'
    assert read(path) == ids(2)
    export(Wider(2), str(path), replace(OURS, rewrite=True))
    assert path.read_text().splitlines()[:2] == [
        '"added","id","action","created_at","archived_at"',
        '9,0,"show","2025-11-19T12:00:00.000000Z","2025-11-19T12:00:00.000000Z"',
    ]


def test_an_export_with_an_end(tmp_path: Path) -> None:
    """Nothing is appended to it, and it is appended to nothing."""
    path = str(tmp_path / "yesterday.csv")
    bounded = replace(OURS, until=NOON)
    export(Requests(1), path, bounded)
    for options in (OURS, bounded):
        with pytest.raises(OutputUnwritable, match=r"yesterday\.csv: an export with --until is appended to nothing"):
            export(Requests(2), path, options)
    assert export(Requests(2), path, replace(bounded, rewrite=True)) == 4


def test_a_table_that_is_replaced(tmp_path: Path) -> None:
    """The file is whole at each time, also where it was moved away; another's is left alone."""
    options = ExportOptions(HISTORY, "poll_log")
    path = tmp_path / "poll_log.csv"
    for transactions in (3, 2):
        assert export(Requests(transactions), str(tmp_path), options) == 2 * transactions
        assert read(path) == ids(transactions)
    path.unlink()
    assert export(Requests(1), str(tmp_path), options) == 2
    (tmp_path / "theirs.csv").write_text("theirs")
    with pytest.raises(OutputUnwritable, match="was not written by an export"):
        export(Requests(1), str(tmp_path / "theirs.csv"), options)


def test_lists_and_maps() -> None:
    """They are JSON, days ISO 8601, numbers and truths as they are."""
    rows = pa.table(
        {
            "list": pa.array([["a", 'b"'], None], pa.list_(pa.string())),
            "map": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
            "day": pa.array([NOON.date(), None]),
            "hours": [0.5, None],
            "whole": [True, None],
        }
    )
    first = r'"[""a"", ""b\""""]","{""k"": ""v""}",2025-11-19,0.5,true'
    assert bytes(encode(rows, header=False)).decode().splitlines() == [first, ",,,,"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """Each is one line that names the place."""
    (tmp_path / "file").write_text("")
    for place, message in (
        (f"{tmp_path}/file/folder", "Not a directory"),
        (f"{tmp_path}/nowhere/requests.csv", "nowhere: no such folder; make it"),
        ("nothing://here/table", "unknown scheme"),
    ):
        with pytest.raises(OutputUnwritable, match=message):
            export(Requests(1), place, OURS)
