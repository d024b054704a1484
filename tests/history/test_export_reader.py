"""A table is read for an export without blocking other users of the file."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from exporter.collectors import discover
from exporter.collectors.assets.status import SCHEMA
from exporter.errors import HistoryBusy, HistoryError, HistoryUnwritable
from exporter.history.export_reader import ExportSource, Slices
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.tables import AUDIT
from tests.history.synthetic_history import SyntheticHistory
from tests.history.test_file import held
from tests.history.test_freshness_audit import AT, HOUR, NOON, audit

HOURS = 10


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten audits of three assets each."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("audited") / "history.duckdb")
    for hour in range(HOURS):
        rows = [{"asset_id": f"luid-{number}", "status": f"{hour}"} for number in range(3)]
        assert audit(synthetic, NOON + hour * HOUR, *rows) == 3
    return synthetic.file.path.read_bytes()


@pytest.fixture
def synthetic(audited: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticHistory:
    """These audits, of which few are read at a time."""
    monkeypatch.setattr("exporter.history.export_reader.SLICE_ROWS", 7)
    path = tmp_path / "history.duckdb"
    path.write_bytes(audited)
    return SyntheticHistory(path)


SOURCE = ExportSource(AUDIT, "audit_timestamp", "audit_timestamp")


def slices(
    synthetic: SyntheticHistory, source: ExportSource = SOURCE, progress: Callable[[int, int], None] = lambda *_: None
) -> Slices:
    """Begin to read."""
    file = HistoryFile(synthetic.file.path, Limits(patience_seconds=0.0), lambda _: None, read_only=True)
    return Slices(file, source, progress)


def test_a_slice_is_read_again_to_the_same_end(synthetic: SyntheticHistory) -> None:
    """However many rows were written since, and wherever it would end now."""
    found = list(slices(synthetic).slices(AT, AT + 4 * HOUR))
    assert [(slice_.end, len(slice_.rows)) for slice_ in found] == [(AT + 4 * HOUR, 12)]


def test_bounds_of_the_rows_own_time(synthetic: SyntheticHistory) -> None:
    """``since`` bounds a first export alone, ``until`` each; positions go on in the table's order."""
    source = replace(SOURCE, since=AT + 3 * HOUR, until=AT + 6 * HOUR)
    assert sum(len(slice_.rows) for slice_ in slices(synthetic, source).slices(None)) == 9
    assert sum(len(slice_.rows) for slice_ in slices(synthetic, source).slices(AT)) == 15
    assert sum(len(slice_.rows) for slice_ in slices(synthetic, source).slices(AT, first=True)) == 9
    assert list(slices(synthetic, source).slices(None))[-1].end == AT + (HOURS - 1) * HOUR
    assert len(slices(synthetic, replace(source, order=None)).whole()) == 9


def test_progress_is_reported(synthetic: SyntheticHistory) -> None:
    """How many rows were read, and how many there are; it never goes back."""
    reported: list[tuple[int, int]] = []
    list(slices(synthetic, progress=lambda done, total: reported.append((done, total))).slices(None))
    assert reported == sorted(reported)
    assert (reported[0], reported[-1]) == ((0, 30), (30, 30))


def test_an_infinite_time_is_none(synthetic: SyntheticHistory) -> None:
    """PostgreSQL's infinity has no value elsewhere; every other column is unchanged."""
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute(f"UPDATE {AUDIT} SET last_refresh_utc = 'infinity', asset_name = 'infinity'")
    for slice_ in slices(synthetic).slices(None):
        assert slice_.rows["last_refresh_utc"].null_count == len(slice_.rows)
        assert set(slice_.rows["asset_name"].to_pylist()) == {"infinity"}


def test_a_view_is_read_in_the_order_of_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is in one slice, with the columns that the view adds."""
    monkeypatch.setattr("exporter.history.export_reader.SLICE_ROWS", 20)
    synthetic = SyntheticHistory(tmp_path / "history.duckdb")
    synthetic.live(days=9)
    found = list(
        slices(synthetic, ExportSource("usage", "archived_at", "created_at", "archived_requests")).slices(None)
    )
    assert len(found) > 3
    assert sorted(row for slice_ in found for row in slice_.rows["id"].to_pylist()) == list(range(90))
    assert "workbook_name" in found[0].rows.column_names


NAMED = """
    INSERT INTO sites BY NAME FROM (VALUES
        (DATE '2025-01-01', 1, 'Old', 'sales'), (DATE '2025-01-03', 1, 'Sales', 'sales'),
        (DATE '2025-01-01', 2, 'Main', '')
    ) AS rows(day, id, name, url_namespace);
    INSERT INTO users BY NAME FROM (VALUES
        (DATE '2025-01-01', 7, 'ann', 'Ann'), (DATE '2025-01-02', 7, 'ann.b', 'Ann B'),
        (DATE '2025-01-01', 8, 'bob', NULL)
    ) AS rows(day, id, name, friendly_name);
    INSERT INTO projects BY NAME FROM (VALUES (DATE '2025-01-01', 3, 'A/B')) AS rows(day, id, path);
    INSERT INTO workbooks BY NAME FROM (VALUES
        (DATE '2025-01-01', 20, 1, 'First', 'Book', 7, 3), (DATE '2025-01-04', 20, 1, 'Renamed', 'Book', 8, 3),
        (DATE '2025-01-01', 21, 2, 'Another', 'Book', 7, 3), (DATE '2025-01-05', 22, 1, 'Again', 'Book', 7, 99)
    ) AS rows(day, id, site_id, name, repository_url, owner_id, project_id);
    INSERT INTO views BY NAME FROM (VALUES
        (DATE '2025-01-01', 30, 1, 20, 'Map', 'Book/Map'), (DATE '2025-01-06', 31, 1, 22, 'New map', 'Book/Map'),
        (DATE '2025-01-01', 32, 2, 21, 'Map', 'Book/Map'), (DATE '2025-01-01', 33, 1, NULL, 'Lost', 'Book/Lost')
    ) AS rows(day, id, site_id, workbook_id, name, view_url);
    INSERT INTO removals VALUES ('views', 31, '2025-01-07'), ('users', 8, '2025-01-07');
    UPDATE http_requests SET
        site_id = [1, 2, 3, NULL][1 + id % 4],
        user_id = [7, 8, 9, NULL][1 + id % 5 % 4],
        workbook = ['Book', 'Book', 'Gone', NULL][1 + id % 7 % 4],
        "view" = ['Map', 'Lost', 'Nowhere', NULL][1 + id % 3];
    UPDATE http_requests SET completed_at = 'infinity' WHERE id = 5;
"""


def test_an_export_has_the_names_of_the_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that changed, were reused, were removed or are not known: those that ``usage`` has, row by row."""
    monkeypatch.setattr("exporter.history.export_reader.SLICE_ROWS", 20)
    synthetic = SyntheticHistory(tmp_path / "history.duckdb")
    History(synthetic.file, discover(), Privacy()).prepare(NOON)
    synthetic.live(days=9)
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute(NAMED)
        expected = connection.sql(
            "SELECT * REPLACE (CASE WHEN isfinite(completed_at) THEN completed_at END AS completed_at)"
            " FROM usage ORDER BY id"
        ).to_arrow_table()
    found = pa.concat_tables(
        slice_.rows
        for slice_ in slices(synthetic, ExportSource("usage", "archived_at", "created_at", "archived_requests")).slices(
            None
        )
    )
    assert found.sort_by("id").to_pylist() == expected.to_pylist()
    assert found.schema.names == expected.schema.names
    added = found.select(found.schema.names[-9:]).to_pylist()
    assert all({row[name] for row in added} - {None} for name in added[0])


def test_names_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To find the newest of all views again for each slice would keep the agent waiting: the file is open meanwhile."""
    monkeypatch.setattr("exporter.history.export_reader.SLICE_ROWS", 20)
    synthetic = SyntheticHistory(tmp_path / "history.duckdb")
    History(synthetic.file, discover(), Privacy()).prepare(NOON)
    synthetic.live(days=9)
    for slice_ in slices(synthetic, ExportSource("usage", "archived_at", "created_at", "archived_requests")).slices(
        None
    ):
        assert len(slice_.rows)
        with duckdb.connect(str(synthetic.file.path)) as connection:
            connection.execute("DROP VIEW IF EXISTS latest_views")


def test_every_row_comes_once(synthetic: SyntheticHistory) -> None:
    """All slices together are the table, in its order, with its columns."""
    found = pa.concat_tables(slice_.rows for slice_ in slices(synthetic).slices(None))
    assert found.schema == slices(synthetic).schema == SCHEMA
    assert [row["status"] for row in found.to_pylist()] == [f"{hour}" for hour in range(HOURS) for _ in range(3)]


@pytest.mark.parametrize("hour", [0, 4, HOURS - 1])
def test_what_is_after_an_instant(synthetic: SyntheticHistory, hour: int) -> None:
    """Rows of the instant itself have been read before."""
    for at, left in (
        (AT + hour * HOUR, HOURS - 1 - hour),
        (AT + hour * HOUR - timedelta(microseconds=1), HOURS - hour),
    ):
        assert sum(len(slice_.rows) for slice_ in slices(synthetic).slices(at)) == 3 * left


def test_the_file_is_let_go_between_slices(synthetic: SyntheticHistory) -> None:
    """The agent polls while the rows are read; its new rows wait for the next export."""
    rows = slices(synthetic)
    written = 0
    sizes = []
    for slice_ in rows.slices(None):
        sizes.append(len(slice_.rows))
        written += audit(synthetic, NOON + 20 * HOUR + len(sizes) * HOUR, {"status": f"later {len(sizes)}"})
    assert written == len(sizes) > 3
    assert sum(sizes) == 3 * HOURS
    assert rows.newest == AT + (HOURS - 1) * HOUR
    assert sum(len(slice_.rows) for slice_ in slices(synthetic).slices(rows.newest)) == written


def test_all_of_an_instant_is_in_one_slice(synthetic: SyntheticHistory) -> None:
    """However many assets were audited at once: else an export that broke off would leave some out for ever."""
    sizes = [len(slice_.rows) for slice_ in slices(synthetic).slices(None)]
    assert all(size % 3 == 0 for size in sizes)
    assert len(sizes) > 3


def test_a_file_that_is_held(synthetic: SyntheticHistory) -> None:
    """A program that holds the file in the middle of an export is reported as everywhere."""
    reader = slices(synthetic).slices(None)
    assert len(next(reader).rows)
    with held(synthetic.file.path), pytest.raises(HistoryBusy):
        next(reader)


def test_a_table_without_rows(tmp_path: Path) -> None:
    """It is empty, which is no error."""
    synthetic = SyntheticHistory(tmp_path / "history.duckdb")
    synthetic.history.prepare(NOON)
    assert slices(synthetic).newest is None
    assert list(slices(synthetic).slices(None)) == []


def test_another_versions_file(synthetic: SyntheticHistory) -> None:
    """A file that this version has not prepared is refused, and one without a beginning."""
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("DELETE FROM marks WHERE name = 'begun'")
    with pytest.raises(HistoryError, match="when it was begun is missing"):
        slices(synthetic)
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 5")
    with pytest.raises(HistoryUnwritable, match="let the agent of this version open it once"):
        slices(synthetic)
