"""A file that is mostly free space is rewritten; its content and its permissions stay."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exporter.errors import HistoryBusy, HistoryError, HistoryLocked, HistoryUnwritable
from exporter.history import compaction
from exporter.history.compaction import FREE_SHARE, compact, free_share, sweep
from exporter.history.file import HistoryFile, Limits
from exporter.history.pruning import prune_in_steps
from exporter.history.verification import verify
from tests.history.synthetic_history import BEGIN, EVENTS, SyntheticHistory, copied, requests
from tests.history.test_backup import contents
from tests.history.test_file import held

MANY = 150_000


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history most of which was pruned."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("pruned") / "history.duckdb")
    synthetic.poll(BEGIN + timedelta(days=2), requests(0, MANY, BEGIN))
    synthetic.poll(BEGIN + timedelta(days=9), requests(MANY, 100, BEGIN + timedelta(days=9)))
    list(prune_in_steps(synthetic.file, EVENTS, BEGIN + timedelta(days=8)))
    return synthetic.file.path


@pytest.fixture
def synthetic(pruned: Path, tmp_path: Path) -> SyntheticHistory:
    """A copy of it."""
    return SyntheticHistory(copied(pruned, tmp_path))


def test_room_is_used_again(synthetic: SyntheticHistory) -> None:
    """The file does not shrink by itself, and does not grow as long as there is room in it."""
    size = synthetic.file.bytes
    assert free_share(synthetic.file) > FREE_SHARE
    synthetic.poll(BEGIN + timedelta(days=10), requests(2 * MANY, MANY // 2, BEGIN + timedelta(days=9)))
    assert size is not None
    assert (synthetic.file.bytes or 0) - size < size / 5


def test_written_anew(synthetic: SyntheticHistory) -> None:
    """The file is smaller, holds the same, has the same rights, and the agent goes on with it."""
    synthetic.history.prepare(BEGIN)
    size, before = synthetic.file.bytes or 0, contents(synthetic.file.path)
    synthetic.file.path.chmod(0o640)
    compact(synthetic.file)
    assert (synthetic.file.bytes or 0) < size * 0.7
    assert contents(synthetic.file.path) == before
    assert synthetic.file.path.stat().st_mode & 0o777 == 0o640
    assert sorted(left.name for left in synthetic.file.path.parent.iterdir()) == [
        "history.duckdb",
        "history.duckdb.prune",
    ]
    synthetic.poll(BEGIN + timedelta(days=10), requests(2 * MANY, 10, BEGIN + timedelta(days=10)))
    file = HistoryFile(synthetic.file.path, read_only=True)
    assert all(verdict.ok for verdict in verify(file, EVENTS))
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        assert "v1.5.0" in str(connection.execute("SELECT tags FROM duckdb_databases()").fetchall())


def test_nobody_else_writes_meanwhile(synthetic: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """From before the copying until the new file stands in its place no other process can write the old one."""
    opens = "import sys, duckdb; duckdb.connect(sys.argv[1])"
    replaced, tried = Path.replace, []

    def replacing(anew: Path, path: Path) -> Path:
        tried.append(
            subprocess.run([sys.executable, "-c", opens, str(path)], capture_output=True, check=False).returncode
        )
        return replaced(anew, path)

    monkeypatch.setattr(Path, "replace", replacing)
    compact(synthetic.file)
    assert len(tried) == 1
    assert tried[0] != 0


def test_who_opened_the_old_one_opens_the_new_one(synthetic: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is about to open the file when another is put in its place writes to the new one."""
    connect, done = duckdb.connect, list[int]()

    def connecting(*arguments: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        connection = connect(*arguments, **options)
        if not done:
            done.append(1)
            copy = synthetic.file.path.with_name("copy")
            copy.write_bytes(synthetic.file.path.read_bytes())
            copy.rename(synthetic.file.path)
        return connection

    synthetic.history.prepare(BEGIN)
    monkeypatch.setattr(duckdb, "connect", connecting)
    synthetic.poll(BEGIN + timedelta(days=10), requests(2 * MANY, 10, BEGIN + timedelta(days=10)))
    with connect(str(synthetic.file.path), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM http_requests").fetchall() == [(110,)]


def test_a_file_that_is_held(synthetic: SyntheticHistory) -> None:
    """Another writer is waited for; the file stays as it is after the timeout."""
    before = synthetic.file.path.read_bytes()
    with held(synthetic.file.path), pytest.raises(HistoryBusy):
        compact(synthetic.file)
    assert synthetic.file.path.read_bytes() == before


def test_no_room(synthetic: SyntheticHistory) -> None:
    """Without room for a second file nothing is begun."""
    synthetic.file.limits = Limits(free_bytes=2**62)
    with pytest.raises(HistoryUnwritable, match="no room"):
        compact(synthetic.file)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of two days."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("made") / "history.duckdb")
    synthetic.live(2)
    return synthetic.file.path


@pytest.fixture
def small(made: Path, tmp_path: Path) -> SyntheticHistory:
    """A copy of it."""
    return SyntheticHistory(copied(made, tmp_path))


def while_copied(monkeypatch: pytest.MonkeyPatch, done: Callable[[], object]) -> None:
    """Do something when the rows have been copied and the new file is not yet in its place."""
    counts = compaction._counts

    def counting(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, int]:
        if database == "target":
            done()
        return counts(connection, database)

    monkeypatch.setattr(compaction, "_counts", counting)


def test_one_at_a_time(small: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one is refused while the first is at work, and removes nothing that is the first one's."""
    before, refused = contents(small.file.path), list[str]()

    def begin_another() -> None:
        for another in (compact, sweep):
            with pytest.raises(HistoryLocked, match="another prune is at work") as error:
                another(HistoryFile(small.file.path))
            refused.append(str(error.value))

    while_copied(monkeypatch, begin_another)
    compact(small.file)
    assert len(refused) == 2
    assert contents(small.file.path) == before


@pytest.mark.parametrize("name", ["history.duckdb", "history.duckdb.compact"])
def test_another_file_put_in_the_place_of_either(
    small: SyntheticHistory, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Only counted rows replace the ones that were read; all others stay as they are."""
    other = small.file.path.with_name("other.duckdb")
    other.write_bytes(small.file.path.read_bytes())
    there = other.stat().st_ino if name == "history.duckdb" else small.file.path.stat().st_ino
    while_copied(monkeypatch, lambda: other.replace(other.with_name(name)))
    with pytest.raises(HistoryError, match="another file was put in its place"):
        compact(small.file)
    assert small.file.path.stat().st_ino == there


def test_nobody_may_read_it_meanwhile(small: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is closed to others until it has the rights of the file."""
    small.file.path.chmod(0o600)
    modes = list[int]()
    while_copied(
        monkeypatch,
        lambda: modes.extend(p.stat().st_mode & 0o077 for p in small.file.path.parent.glob("*.compact*")),
    )
    compact(small.file)
    assert modes
    assert not any(modes)


@pytest.mark.parametrize("then", [sweep, compact])
def test_what_a_killed_one_left(small: SyntheticHistory, then: Callable[[HistoryFile], None]) -> None:
    """The next pruning, or compaction, removes the half file and its log."""
    for suffix in (".compact", ".compact.wal"):
        small.file.path.with_name("history.duckdb" + suffix).write_bytes(b"half")
    then(small.file)
    assert not list(small.file.path.parent.glob("*.compact*"))


def test_through_a_link(small: SyntheticHistory, tmp_path: Path) -> None:
    """A link stays a link: the file it leads to is the one that is written anew."""
    link = tmp_path / "elsewhere" / "history.duckdb"
    link.parent.mkdir()
    link.symlink_to(small.file.path)
    before = small.file.path.stat().st_ino
    compact(HistoryFile(link))
    assert link.is_symlink()
    assert small.file.path.stat().st_ino != before
    assert list(link.parent.iterdir()) == [link]
