"""Requests of files joined with archived ones: each once, with any rows before and after."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import HistoryLocked
from exporter.history import staging
from exporter.history.cleaner import Cleaner
from exporter.history.file import HistoryFile
from exporter.history.importing import Folding, Imported, Importer
from exporter.history.redaction import Privacy
from exporter.history.verification import verify
from exporter.imports import FileOptions, Reject, open_reader
from exporter.imports.zones import parse_zone
from tests.history.synthetic_history import EVENTS, LOOKUPS, REQUESTS, SyntheticHistory, copied
from tests.imports.older_tool import BEGIN, Request, request, written

NOW = BEGIN + timedelta(days=2)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which nothing is archived yet."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("begun") / "history.duckdb")
    synthetic.poll(BEGIN)
    return synthetic.file.path


@pytest.fixture
def synthetic(begun: Path, tmp_path: Path) -> SyntheticHistory:
    """A copy of it."""
    return SyntheticHistory(copied(begun, tmp_path))


def importer(synthetic: SyntheticHistory, privacy: Privacy | None = None, **options: Any) -> Importer:
    """Return an importer of a history."""
    chosen = privacy or Privacy()
    return Importer(
        HistoryFile(synthetic.file.path, synthetic.file.limits, sleep=lambda _seconds: None),
        REQUESTS,
        Cleaner(chosen),
        NOW.replace(tzinfo=UTC),
        stores_users=chosen.users != "none",
        **options,
    )


def bring_in(synthetic: SyntheticHistory, requests: Iterable[Request], zone: str = "UTC", **options: Any) -> Imported:
    """Import requests as a text file of the older tool."""
    path = synthetic.file.path.with_name("http_requests.txt")
    path.write_text(written(requests), encoding="utf-8")
    rejects: list[Reject] = []
    reader = open_reader(path, FileOptions(parse_zone(zone)))
    imported = importer(synthetic, **options).bring_in(reader, rejects.append, lambda _share: None)
    assert rejects == []
    return imported


def numbered(requests: Sequence[Mapping[str, object]], first: int = 100) -> pa.Table:
    """Return requests as the repository delivers them."""
    rows = [{"id": first + place, "status": 200} | dict(values) for place, values in enumerate(requests)]
    table = pa.Table.from_pylist(rows)
    kinds = {"created_at": pa.timestamp("us"), "completed_at": pa.timestamp("us"), "user_id": pa.int64()}
    for name, kind in kinds.items():
        table = table.set_column(table.column_names.index(name), name, table.column(name).cast(kind))
    return table


def stored(synthetic: SyntheticHistory, columns: str = "session_id, id") -> list[tuple[Any, ...]]:
    """Return the archived rows, in order."""
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        return connection.execute(f"SELECT {columns} FROM http_requests ORDER BY ALL").fetchall()


def counters(synthetic: SyntheticHistory) -> list[tuple[Any, ...]]:
    """Return everything that is counted."""
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        return connection.execute(
            "SELECT family, labels::VARCHAR, value FROM counters"
            " UNION ALL SELECT family, labels::VARCHAR || le, observations FROM histograms ORDER BY ALL"
        ).fetchall()


def assert_whole(synthetic: SyntheticHistory) -> None:
    """Verify the history."""
    file = replace(synthetic.file, read_only=True)
    assert [verdict for verdict in verify(file, EVENTS) if verdict.ok is not True] == []


def test_a_file_is_imported_once(synthetic: SyntheticHistory) -> None:
    """Every request is archived without an id and in no counter; a second time nothing is new, and all is whole."""
    before = counters(synthetic)
    requests = [request(number) for number in range(50)]
    first = bring_in(synthetic, requests)
    assert (first.new, first.known, first.oldest, first.newest) == (50, 0, BEGIN, requests[-1]["created_at"])
    assert stored(synthetic) == [(values["session_id"], None) for values in requests]
    assert counters(synthetic) == before
    assert_whole(synthetic)
    second = bring_in(synthetic, requests)
    assert (second.new, second.known) == (0, 50)
    assert len(stored(synthetic)) == 50
    assert_whole(synthetic)


def test_what_is_archived_already(synthetic: SyntheticHistory) -> None:
    """An archived request is recognised without its id; its missing fields are added."""
    synthetic.poll(NOW, numbered([request(number) for number in range(10)]))
    imported = bring_in(synthetic, [request(number) for number in range(5, 15)])
    assert (imported.new, imported.known) == (5, 5)
    assert [key for key, _ in stored(synthetic)] == [f"S{number:06d}" for number in range(15)]
    assert_whole(synthetic)


def test_what_is_open_is_archived(synthetic: SyntheticHistory) -> None:
    """A request that the agent waits for is not imported, completed or not."""
    synthetic.poll(BEGIN, numbered([request(1, completed_at=None), request(2, completed_at=None)]))
    assert bring_in(synthetic, [request(1), request(2, completed_at=None)]).new == 0
    assert stored(synthetic) == []


def test_before_and_after_its_completion(synthetic: SyntheticHistory) -> None:
    """A file that has a request before and after its completion brings it in once, completed."""
    imported = bring_in(synthetic, [request(1, completed_at=None), request(1), request(2, completed_at=None)])
    assert (imported.new, imported.known) == (2, 1)
    assert [at is None for _, at in stored(synthetic, "session_id, completed_at")] == [False, True]
    assert bring_in(synthetic, [request(1, completed_at=None)]).new == 0


def test_lines_that_stand_there_again(synthetic: SyntheticHistory) -> None:
    """Equal lines are one request, as after a second run of the older tool."""
    imported = bring_in(synthetic, [request(1), request(2), request(1)])
    assert (imported.new, imported.repeated) == (2, 1)


def test_requests_that_only_the_redaction_makes_equal(synthetic: SyntheticHistory) -> None:
    """Two requests that differ in columns that are not stored are two, however often the file is imported."""
    both = [request(1, http_request_uri=f"/views/Sales/Overview?secret={number}") for number in (1, 2)]
    assert bring_in(synthetic, both).new == 2
    assert bring_in(synthetic, both).new == 0
    assert [uri for (uri,) in stored(synthetic, "http_request_uri")] == ["/views/Sales/Overview"] * 2
    synthetic.poll(NOW, numbered([*both, request(3)]))
    assert len(stored(synthetic)) == 3


PRIVACIES = [Privacy(), Privacy("pseudonym", "truncated", ()), Privacy("none", "none"), Privacy("name", "full", ("f",))]
PERSONAL = request(
    1,
    currentsheet="Sales/Overview/jane@example.com/Mine",
    http_request_uri="/views/Sales/Overview/jane@example.com/Mine?f=1&:embed=y",
    http_referer="https://tableau.example.com/users/jane?f=2",
)


@pytest.mark.parametrize("later", PRIVACIES, ids=["all", "truncated", "nobody", "parameters"])
@pytest.mark.parametrize("earlier", PRIVACIES, ids=["all", "truncated", "nobody", "parameters"])
def test_options_that_changed(tmp_path: Path, earlier: Privacy, later: Privacy) -> None:
    """A request is recognised with any fields that the privacy options removed when it was archived, or remove now."""
    synthetic = SyntheticHistory(tmp_path / "history.duckdb", privacy=earlier)
    requests = [PERSONAL, *(request(number) for number in range(2, 5))]
    synthetic.poll(BEGIN, numbered(requests))
    assert bring_in(synthetic, requests, privacy=later).new == 0


def test_the_privacy_options(synthetic: SyntheticHistory) -> None:
    """Imported rows obey the options as all archived ones, and their assets are parsed."""
    bring_in(synthetic, [PERSONAL], privacy=Privacy("none", "none"))
    columns = "user_id, user_ip, remote_ip, currentsheet, http_request_uri, http_referer, workbook, view, asset_type"
    ((*found,),) = stored(synthetic, columns)
    assert found[:4] == [None, None, None, "Sales/Overview"]
    assert "jane" not in str(found)
    assert found[6:] == ["Sales", "Overview", "view"]


def test_an_hour_that_is_repeated(synthetic: SyntheticHistory) -> None:
    """A request of the repeated hour is recognised by either reading of its time."""
    zone = "Europe/Berlin"
    utc = BEGIN.replace(month=10, day=26, hour=0, minute=30, year=2024) + timedelta(days=1)
    assert utc.strftime("%m-%d") == "10-27"
    archived = [request(number, created_at=utc + timedelta(hours=number), completed_at=None) for number in (0, 1)]
    synthetic.poll(NOW, numbered(archived))
    local = utc + timedelta(hours=2)
    same = [values | {"created_at": local} for values in archived]
    assert bring_in(synthetic, same, zone).known == 2
    assert bring_in(synthetic, [request(9, created_at=local, completed_at=None)], zone).new == 1
    assert stored(synthetic, "created_at")[1] == (utc,)


def test_an_end_in_an_hour_that_is_repeated(synthetic: SyntheticHistory) -> None:
    """A request of more than an hour, of which the end alone has the second reading, is recognised too."""
    zone = "Europe/Berlin"
    utc = BEGIN.replace(month=10, day=26, hour=23, minute=40, year=2024)
    begun = [utc, utc + timedelta(minutes=20)]
    archived = [request(n, created_at=at, completed_at=at + timedelta(minutes=90)) for n, at in enumerate(begun)]
    synthetic.poll(NOW, numbered(archived))
    local = [
        request(n, created_at=at + timedelta(hours=2), completed_at=at + timedelta(hours=1, minutes=90))
        for n, at in enumerate(begun)
    ]
    found = bring_in(synthetic, local, zone)
    assert (found.known, found.new) == (2, 0)


def test_what_the_agent_reads_later(synthetic: SyntheticHistory) -> None:
    """Rows imported before the agent reads them get their id, their status and their place in the counters then."""
    requests = [request(number) for number in range(5)]
    bring_in(synthetic, requests)
    synthetic.poll(NOW, numbered(requests[2:], first=2))
    assert stored(synthetic, "session_id, id, status") == [
        (f"S{number:06d}", *((number, 200) if number >= 2 else (None, None))) for number in range(5)
    ]
    assert {row[0]: row[2] for row in counters(synthetic) if "rows_total" in row[0] and "http" in row[1]} == {
        "tableau_history_rows_total": 3.0
    }
    assert_whole(synthetic)
    synthetic.poll(NOW, numbered(requests[2:], first=2))
    assert (len(stored(synthetic)), bring_in(synthetic, requests).new) == (5, 0)
    assert_whole(synthetic)


def test_what_was_counted_is_not_counted_again(synthetic: SyntheticHistory) -> None:
    """With counting, requests are in the counters when they are imported, and only then."""
    counted = Folding(REQUESTS.folds, LOOKUPS)
    requests = [request(number) for number in range(5)]
    assert bring_in(synthetic, requests, counted=counted).new == 5
    before = counters(synthetic)
    assert ("tableau_history_rows_total", "[http_requests]", 5.0) in before
    assert_whole(synthetic)
    synthetic.poll(NOW, numbered(requests), others=False)
    assert (counters(synthetic), len(stored(synthetic))) == (before, 5)
    assert_whole(synthetic)


def test_what_is_too_old(synthetic: SyntheticHistory) -> None:
    """Rows that the retention would remove, or that were pruned, are left out and counted as such."""
    requests = [request(number) for number in range(10)]
    imported = bring_in(synthetic, requests, before=BEGIN + timedelta(seconds=4))
    assert (imported.new, imported.too_old) == (6, 4)
    with synthetic.history.transaction(NOW) as transaction:
        transaction.prune(BEGIN + timedelta(seconds=7))
    assert (bring_in(synthetic, requests).too_old, len(stored(synthetic))) == (7, 3)
    assert_whole(synthetic)


def test_pruning_and_the_marks(synthetic: SyntheticHistory) -> None:
    """Imported requests are pruned as others are; the oldest mark is theirs, and the counters stay whole."""
    synthetic.poll(NOW, numbered([request(number) for number in range(3)]))
    old = [request(number - 1000) for number in range(3)]
    bring_in(synthetic, old)
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        ((oldest,),) = connection.execute("SELECT marked_at FROM marks WHERE name = 'oldest'").fetchall()
    assert oldest == old[0]["created_at"]
    before = counters(synthetic)
    with synthetic.history.transaction(NOW) as transaction:
        assert transaction.prune(BEGIN - timedelta(days=-1)).rows["http_requests"] == 6
    assert_whole(synthetic)
    pruned = [row for row in counters(synthetic) if row not in before]
    assert ("tableau_history_pruned_rows_total", "[http_requests]", 3.0) in pruned


def test_a_dry_run(synthetic: SyntheticHistory) -> None:
    """The importable requests are counted, and no byte of the history is changed."""
    synthetic.poll(NOW, numbered([request(1)]))
    before = synthetic.file.path.read_bytes()
    path = synthetic.file.path.with_name("http_requests.txt")
    path.write_text(written([request(1), request(2), request(2), request(3, completed_at=None), request(3)]))
    dry = importer(synthetic)
    dry.file.read_only = True
    found = dry.bring_in(open_reader(path, FileOptions()), lambda _reject: None, lambda _share: None)
    assert (found.new, found.known, found.repeated) == (2, 2, 1)
    assert synthetic.file.path.read_bytes() == before
    assert sorted(left.name for left in synthetic.file.path.parent.iterdir()) == [
        "history.duckdb",
        "history.duckdb.import.lock",
        "http_requests.txt",
    ]


def test_polls_between_slices(synthetic: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent archives between two slices; an import that ends in the middle goes on when it is run again."""
    monkeypatch.setattr(staging, "SLICE_ROWS", 10)
    path = synthetic.file.path.with_name("http_requests.txt")
    path.write_text(written(request(number) for number in range(95)))
    polled: list[float] = []

    def poll(share: float) -> None:
        if share <= 0.5:
            return
        polled.append(share)
        place = len(polled) * 12
        synthetic.poll(NOW, numbered([request(number) for number in range(place, place + 5)], first=place))
        if len(polled) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importer(synthetic).bring_in(open_reader(path, FileOptions()), lambda _reject: None, poll)
    assert 60 < len(stored(synthetic)) < 95
    assert_whole(synthetic)
    imported = importer(synthetic).bring_in(open_reader(path, FileOptions()), lambda _reject: None, lambda _share: None)
    assert imported.new + imported.known == 95
    assert [key for key, _ in stored(synthetic)] == [f"S{number:06d}" for number in range(95)]
    assert_whole(synthetic)


def test_one_import_at_a_time(synthetic: SyntheticHistory) -> None:
    """A second import is refused while one is running; files of a killed one are removed."""
    left = synthetic.file.path.with_name("history.duckdb.import")
    left.write_bytes(b"half a database")
    spilled = synthetic.file.path.with_name("history.duckdb.import.tmp")
    spilled.mkdir()
    with staging.staging(synthetic.file):
        with pytest.raises(HistoryLocked, match="another import"), staging.staging(synthetic.file):
            pass
        assert left.stat().st_mode & 0o777 == 0o600
    assert not left.exists()
    assert not spilled.exists()


def test_what_waits_leaves_memory_to_the_history(synthetic: SyntheticHistory) -> None:
    """While a slice is archived, the stage needs little memory, however much it holds and was just read."""
    texts = pa.array([f"{number:064b}" * 30 for number in range(12_000)])
    instants = pa.array([BEGIN] * 12_000, pa.timestamp("us"))
    with staging.staging(synthetic.file) as stage:
        stage.add(pa.table({"created_at": instants, "http_user_agent": texts}))
        for rows in stage.slices():
            held = stage._connection.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall()[0][0]
            assert rows.nbytes > 23_000_000
            assert held <= 16_000_000


def test_our_own_parquet(synthetic: SyntheticHistory, tmp_path: Path) -> None:
    """Rows with an id are recognised by it, those without by their content; nothing is cleaned away twice."""
    synthetic.poll(NOW, numbered([PERSONAL, request(2)]))
    bring_in(synthetic, [request(3), request(3, http_request_uri="/a?x"), request(3, http_request_uri="/a?y")])
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        rows = connection.sql("SELECT * FROM http_requests").to_arrow_table()
    path = tmp_path / "part.parquet"
    pq.write_table(rows, path)
    assert importer(synthetic).bring_in(open_reader(path, FileOptions()), _refuse, lambda _share: None).new == 0
    other = SyntheticHistory(tmp_path / "other.duckdb")
    other.poll(BEGIN)
    assert importer(other).bring_in(open_reader(path, FileOptions()), _refuse, lambda _share: None).new == 5
    columns = ", ".join(name for name in rows.column_names if name != "archived_at")
    assert stored(other, columns) == stored(synthetic, columns)
    assert_whole(other)


def test_times_without_an_end(synthetic: SyntheticHistory, tmp_path: Path) -> None:
    """Rows without a time, and of an infinite one, are imported from Parquet too, once."""
    rows = numbered([request(number) for number in range(3)])
    times = pa.array([None, 2**63 - 1, -(2**63) + 1], pa.int64()).cast(pa.timestamp("us"))
    path = tmp_path / "part.parquet"
    pq.write_table(rows.set_column(rows.column_names.index("created_at"), "created_at", times), path)
    for new in (3, 0):
        found = importer(synthetic).bring_in(open_reader(path, FileOptions()), _refuse, lambda _share: None)
        assert (found.new, found.known, found.oldest) == (new, 3 - new, None)
    assert_whole(synthetic)


def _refuse(reject: Reject) -> None:
    raise AssertionError(reject)


SUBSETS = st.lists(st.integers(0, 11), max_size=12)


@given(SUBSETS, SUBSETS, SUBSETS, st.booleans())
@settings(deadline=None, max_examples=8)
def test_whatever_is_there_in_whatever_order(
    tmp_path_factory: pytest.TempPathFactory,
    before: Sequence[int],
    files: Sequence[int],
    after: Sequence[int],
    again: bool,
) -> None:
    """Polls and files may overlap in any way: at the end each request stands there once."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("any") / "history.duckdb")
    synthetic.poll(BEGIN)
    for numbers in (before, after):
        imported = bring_in(synthetic, [_either(number) for number in files]) if numbers is after else None
        assert imported is None or imported.new == len(set(files) - set(before))
        if numbers:
            ids = sorted(set(numbers))
            synthetic.poll(NOW, pa.concat_tables(numbered([_either(number)], first=number) for number in ids))
    if again:
        assert bring_in(synthetic, [_either(number) for number in files]).new == 0
    assert [key for key, _ in stored(synthetic)] == [f"S{number:06d}" for number in sorted({*before, *files, *after})]
    assert_whole(synthetic)


def _either(number: int) -> dict[str, object]:
    """Return a request; some share an instant, some never completed."""
    values = request(number) | {"created_at": request(number // 3)["created_at"]}
    return values | ({"completed_at": None, "created_at": BEGIN - timedelta(days=9)} if number % 4 == 3 else {})
