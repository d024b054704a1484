"""Parquet by day: each row once, whatever breaks off, and every reader finds the same."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from exporter.errors import OutputUnwritable
from exporter.exports import ExportOptions
from exporter.exports.parquet import by_day, encode, export
from tests.exports.killed_at_step import killed_at
from tests.exports.requests import HISTORY, NOON, OURS, Requests, ids

STEPS = 60


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "lake" / "http_requests"


def read(target: Path) -> list[int]:
    """Return the ids of all rows, each as often as it is there."""
    found: list[int] = sorted(ds.dataset(target, partitioning="hive").to_table()["id"].to_pylist())
    return found


def files(target: Path) -> list[str]:
    """Return the names of all files."""
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


def test_files_by_day(target: Path) -> None:
    """A folder for each day of the rows' own time, one for rows without, and the position beside."""
    assert export(Requests(5, a_slice=5), str(target), OURS) == 10
    assert files(target) == [
        "_tableau_exporter/http_requests.json",
        "_tableau_exporter/http_requests.lock",
        "day=2025-11-18/http_requests-0.parquet",
        "day=2025-11-19/http_requests-0.parquet",
        "day=__HIVE_DEFAULT_PARTITION__/http_requests-0.parquet",
    ]
    state = json.loads((target / "_tableau_exporter/http_requests.json").read_text())
    assert (state["history"], state["position"]) == (HISTORY, "2025-11-19T16:00:00")
    metadata = pq.ParquetFile(target / "day=2025-11-18/http_requests-0.parquet").metadata
    assert {metadata.row_group(0).column(number).compression for number in range(4)} == {"ZSTD"}


@pytest.mark.attack("links")
def test_no_link_is_followed(target: Path, tmp_path: Path) -> None:
    """A link in the place of the lock is refused, one in the place of a file that is being made is removed."""
    elsewhere, beside = tmp_path / "elsewhere", target / "_tableau_exporter"
    beside.mkdir(parents=True)
    (beside / "http_requests.lock").symlink_to(elsewhere)
    with pytest.raises(OutputUnwritable, match="symbolic link"):
        export(Requests(1), str(target), OURS)
    assert not elsewhere.exists()
    (beside / "http_requests.lock").unlink()
    elsewhere.write_text("mine")
    (beside / ".http_requests.json.new").symlink_to(elsewhere)
    assert export(Requests(1), str(target), OURS) == 2
    assert elsewhere.read_text() == "mine"


def test_every_reader_finds_the_same(target: Path) -> None:
    """DuckDB, pyarrow and Polars count the same rows of each day, and the same sums."""
    requests = Requests(40, a_slice=7)
    export(requests, str(target), OURS)
    expected = (80, sum(ids(40)), 8)
    table = ds.dataset(target, partitioning="hive").to_table()
    assert (len(table), sum(table["id"].to_pylist()), table["created_at"].null_count) == expected
    query = f"SELECT count(*), sum(id), count(*) FILTER (created_at IS NULL) FROM '{target}/**/*.parquet'"
    assert duckdb.execute(query).fetchall() == [expected]
    by_days = (
        "SELECT count(*) FROM read_parquet(?, hive_partitioning = true) WHERE day IS DISTINCT FROM created_at::DATE"
    )
    assert duckdb.execute(by_days, [f"{target}/**/*.parquet"]).fetchall() == [(0,)]
    frame = pl.scan_parquet(f"{target}/**/*.parquet", hive_partitioning=True).collect()
    assert (frame.height, frame["id"].sum(), frame["created_at"].null_count()) == expected


def test_appended_once(target: Path) -> None:
    """A second export finds no new row, a third those archived since."""
    assert export(Requests(5), str(target), OURS) == 10
    before = files(target)
    assert export(Requests(5), f"file://{target}", OURS) == 0
    assert files(target) == before
    assert export(Requests(8), str(target), OURS) == 6
    assert read(target) == ids(8)


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Killed before any step, while the history grows: the next has each row once, though its slices are shorter."""
    outcomes = []
    for step in range(STEPS):
        target = tmp_path / str(step)
        export(Requests(3), str(target), OURS)
        outcomes.append(killed_at(step, partial(export, Requests(8, a_slice=3), str(target), OURS)))
        assert not [row for row in read(target) if read(target).count(row) > 1]
        export(Requests(12, a_slice=1), str(target), OURS)
        assert read(target) == ids(12), step
        assert not [name for name in files(target) if name.endswith(".new")]
    assert outcomes == sorted(outcomes, reverse=True)
    assert (outcomes[0], outcomes[-1]) == (True, False)


def test_pruned_between_two_attempts(target: Path) -> None:
    """Rows written by a broken export and pruned by now stay, once."""
    export(Requests(2), str(target), OURS)
    requests = Requests(8, meanwhile=interruption(2))
    with pytest.raises(KeyboardInterrupt):
        export(requests, str(target), OURS)
    export(Requests(9, first=3), str(target), OURS)
    found = read(target)
    assert len(found) == len(set(found))
    assert set(found) >= {*ids(2), *range(6, 18)}


def test_a_first_export_lasts_until_one_comes_to_its_end(target: Path) -> None:
    """The bounds of a first export bound the rest of one that broke off, and none after that."""
    with pytest.raises(KeyboardInterrupt):
        export(Requests(8, meanwhile=interruption(2)), str(target), OURS)
    for first in (True, False):
        requests = Requests(8)
        export(requests, str(target), OURS)
        assert requests.first is first


def interruption(times: int) -> Callable[[], None]:
    """Return a function that interrupts an export when it was called so often."""
    calls = iter(range(times - 1))

    def interrupt() -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    return interrupt


def test_begun_anew(target: Path) -> None:
    """Previous files are removed, and none of others; an interrupted rewrite is continued."""
    export(Requests(8), str(target), OURS)
    (target / "day=2025-11-19/theirs.parquet").write_bytes(encode(Requests(0).table))
    again = replace(OURS, rewrite=True)
    with pytest.raises(KeyboardInterrupt):
        export(Requests(8, meanwhile=interruption(1)), str(target), again)
    assert export(Requests(8), str(target), OURS) > 0
    assert read(target) == ids(8)
    assert export(Requests(5, a_slice=5), str(target), again) == 10
    assert read(target) == ids(5)
    assert (target / "day=2025-11-19/theirs.parquet").exists()


def test_killed_while_it_begins_anew(tmp_path: Path) -> None:
    """The next export, with the flag or without, removes the rest of the old one."""
    for step in range(30):
        target = tmp_path / str(step)
        export(Requests(6, a_slice=1), str(target), OURS)
        killed_at(step, partial(export, Requests(6), str(target), replace(OURS, rewrite=True)))
        export(Requests(6, a_slice=6), str(target), OURS)
        assert read(target) == ids(6), step


def test_two_exports_at_once(target: Path) -> None:
    """The second is refused while the first is at work; no row is doubled."""
    refused: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(OutputUnwritable) as error:
            export(Requests(9), str(target), OURS)
        refused.append(str(error.value))

    export(Requests(4, meanwhile=meanwhile), str(target), OURS)
    assert refused == [f"{target}: another export writes it; try again"] * 2
    assert read(target) == ids(4)


def test_targets_that_are_refused(target: Path) -> None:
    """Another history's, another table's, one without its state or with a broken one."""
    export(Requests(2), str(target), OURS)
    state = target / "_tableau_exporter/http_requests.json"
    kept = state.read_text()
    with pytest.raises(OutputUnwritable, match="has the rows of another history; name another --output, or --rewrite"):
        export(Requests(2), str(target), ExportOptions("2024-01-01T00:00:00", "http_requests"))
    with pytest.raises(OutputUnwritable, match="holds the table http_requests: each has a folder of its own"):
        export(Requests(2), str(target), ExportOptions(HISTORY, "usage"))
    for broken in ("{", "[]", '{"history": "x", "position": "y"}'):
        state.write_text(broken)
        with pytest.raises(OutputUnwritable, match=r"http_requests\.json cannot be read"):
            export(Requests(2), str(target), OURS)
    state.unlink()
    with pytest.raises(OutputUnwritable, match=r"holds day=.+\.parquet, but its .+ is gone"):
        export(Requests(2), str(target), OURS)
    state.write_text(kept)
    assert export(Requests(3), str(target), OURS) == 2


def test_an_export_with_an_end(target: Path) -> None:
    """Nothing is appended to it, and it is appended to nothing."""
    bounded = replace(OURS, until=NOON)
    export(Requests(2), str(target), bounded)
    for options in (OURS, bounded):
        with pytest.raises(OutputUnwritable, match="an export with --until is appended to nothing"):
            export(Requests(3), str(target), options)
    export(Requests(3), str(target), replace(OURS, rewrite=True))
    with pytest.raises(OutputUnwritable, match="--until"):
        export(Requests(3), str(target), bounded)
    assert read(target) == ids(3)


def test_a_table_that_is_replaced(target: Path) -> None:
    """It is one file, whole at each time."""
    options = ExportOptions(HISTORY, "poll_log")
    for transactions in (3, 2):
        assert export(Requests(transactions), str(target), options) == 2 * transactions
        assert read(target) == ids(transactions)
        assert files(target)[-1] == "poll_log.parquet"


@pytest.mark.parametrize(
    "instant",
    [datetime(1, 1, 1), datetime(1969, 12, 31, 23, 59), datetime(9999, 12, 31)],  # noqa: DTZ001
)
def test_days_long_ago_and_far_ahead(instant: datetime) -> None:
    """A day is that of the instant, before 1970 too."""
    rows = pa.table({"at": pa.array([None, instant], pa.timestamp("us"))})
    folders = [folder for folder, _ in by_day(rows, "at")]
    assert folders == ["day=__HIVE_DEFAULT_PARTITION__/", f"day={instant:%Y-%m-%d}/".replace("day=1-", "day=0001-")]


def test_a_full_disk(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is whole or unchanged; the line names the target."""
    options = ExportOptions(HISTORY, "poll_log")
    export(Requests(3), str(target), options)
    before = files(target)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OutputUnwritable, match=f"{target}: No space left on device; check --output"):
            export(Requests(2), str(target), options)
    assert (files(target), read(target)) == (before, ids(3))


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """Each is one line that names the place."""
    (tmp_path / "file").write_text("")
    for place, message in (
        (f"{tmp_path}/file", "Not a directory"),
        ("/proc/nowhere", "No such file"),
        ("nothing://here/table", "unknown scheme; there are s3://"),
        ("file://elsewhere/folder", "a file of another host"),
        ("s3://me:canary@bucket/folder", "credentials come from the environment"),
        ("s3://me:can/ary@bucket/folder", "--output: .a URI that is not shown"),
        ("az://container/folder", "set AZURE_STORAGE_ACCOUNT_NAME"),
    ):
        with pytest.raises(OutputUnwritable, match=message) as error:
            export(Requests(1), place, OURS)
        assert "\n" not in str(error.value)
        assert "canary" not in str(error.value)
