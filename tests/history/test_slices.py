"""A table is read for an export without keeping anybody from the file."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from exporter.collectors.assets.judging import SCHEMA
from exporter.errors import HistoryBusy, HistoryError, HistoryUnwritable
from exporter.history.file import HistoryFile, Limits
from exporter.history.schema import AUDIT
from exporter.history.slices import Slices
from tests.history.past import Past
from tests.history.test_auditing import AT, HOUR, NOON, audit
from tests.history.test_file import held

HOURS = 10


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten audits of three assets each."""
    past = Past(tmp_path_factory.mktemp("audited") / "history.duckdb")
    for hour in range(HOURS):
        rows = [{"asset_id": f"luid-{number}", "status": f"{hour}"} for number in range(3)]
        assert audit(past, NOON + hour * HOUR, *rows) == 3
    return past.file.path.read_bytes()


@pytest.fixture
def past(audited: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    """These audits, of which few are read at a time."""
    monkeypatch.setattr("exporter.history.slices.SLICE_ROWS", 7)
    path = tmp_path / "history.duckdb"
    path.write_bytes(audited)
    return Past(path)


def slices(past: Past) -> Slices:
    """Begin to read."""
    file = HistoryFile(past.file.path, Limits(patience_seconds=0.0), lambda _: None, read_only=True)
    return Slices(file, AUDIT, "audit_timestamp")


def test_every_row_comes_once(past: Past) -> None:
    """All slices together are the table, in its order, with its columns."""
    found = slices(past).after(None).read_all()
    assert found.schema == SCHEMA
    assert [row["status"] for row in found.to_pylist()] == [f"{hour}" for hour in range(HOURS) for _ in range(3)]


@pytest.mark.parametrize("hour", [0, 4, HOURS - 1])
def test_what_is_after_an_instant(past: Past, hour: int) -> None:
    """Rows of the instant itself have been taken before."""
    for at, left in (
        (AT + hour * HOUR, HOURS - 1 - hour),
        (AT + hour * HOUR - timedelta(microseconds=1), HOURS - hour),
    ):
        assert slices(past).after(at).read_all().num_rows == 3 * left


def test_the_file_is_let_go_between_slices(past: Past) -> None:
    """While the rows are on their way the agent polls; what it writes waits for the next export."""
    rows = slices(past)
    written = 0
    batches = []
    for batch in rows.after(None):
        batches.append(batch)
        written += audit(past, NOON + 20 * HOUR + len(batches) * HOUR, {"status": f"later {len(batches)}"})
    assert written == len(batches) > 3
    assert sum(batch.num_rows for batch in batches) == 3 * HOURS
    assert rows.newest == AT + (HOURS - 1) * HOUR
    assert slices(past).after(rows.newest).read_all().num_rows == written


def test_all_of_an_instant_is_in_one_slice(past: Past) -> None:
    """However many assets were audited at once: else an export that broke off would leave some out for ever."""
    sizes = [batch.num_rows for batch in slices(past).after(None)]
    assert all(size % 3 == 0 for size in sizes)
    assert len(sizes) > 3


def test_a_file_that_is_held(past: Past) -> None:
    """Whoever holds it in the middle of an export is told of as everywhere."""
    reader = slices(past).after(None)
    assert reader.read_next_batch().num_rows
    with held(past.file.path), pytest.raises(HistoryBusy):
        reader.read_all()


def test_a_table_without_rows(tmp_path: Path) -> None:
    """It is empty, which is no error."""
    past = Past(tmp_path / "history.duckdb")
    past.history.prepare(NOON)
    assert slices(past).is_empty
    assert slices(past).after(None).read_all().num_rows == 0


def test_another_versions_file(past: Past) -> None:
    """A file that this version has not prepared is refused, and one without a beginning."""
    with duckdb.connect(str(past.file.path)) as connection:
        connection.execute("DELETE FROM marks WHERE name = 'begun'")
    with pytest.raises(HistoryError, match="when it was begun"):
        slices(past)
    with duckdb.connect(str(past.file.path)) as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 5")
    with pytest.raises(HistoryUnwritable, match="let the agent of this version open it once"):
        slices(past)
