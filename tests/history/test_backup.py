"""A backup is whole, checked, and one of those that are retained; any other file has another name."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exporter.errors import HistoryBusy, HistoryDamaged, HistoryLocked, HistoryUnwritable
from exporter.history import backup
from exporter.history.backup import LOCK, Backups, copy
from exporter.history.file import HistoryFile, Limits
from exporter.history.verification import Verdict
from tests.history.synthetic_history import BEGIN, EVENTS, SyntheticHistory, requests
from tests.history.test_file import held
from tests.support.forked_process import ENDED, ended

OPENED = "import sys, duckdb; duckdb.connect(sys.argv[1])"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def history_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A history of three days."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("lived") / "history.duckdb")
    synthetic.live(3)
    return synthetic.file.path.read_bytes()


@pytest.fixture
def synthetic(history_bytes: bytes, tmp_path: Path) -> SyntheticHistory:
    """A copy of it."""
    path = tmp_path / "history.duckdb"
    path.write_bytes(history_bytes)
    return SyntheticHistory(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the backups go."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


def back_up(synthetic: SyntheticHistory, folder: Path, keep: int = 7, hours: int = 0) -> list[Verdict]:
    """Make a backup."""
    return list(Backups(synthetic.file, folder, keep).make(EVENTS, NOW + timedelta(hours=hours)))


def names(folder: Path) -> list[str]:
    """Return the files of a folder, but for those held while a backup is made."""
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK)


def contents(path: Path) -> dict[str, list[Any]]:
    """Return every row of a history's tables."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {name: connection.execute(f'FROM "{name}"').fetchall() for (name,) in tables}


def test_a_backup(synthetic: SyntheticHistory, folder: Path) -> None:
    """It has all rows, its name has its instant, it has the rights of the file, and no file lies beside it."""
    synthetic.file.path.chmod(0o640)
    verdicts = back_up(synthetic, folder)
    assert all(verdict.ok for verdict in verdicts)
    assert {"http_requests by day", "every block", "backup"} <= {verdict.subject for verdict in verdicts}
    assert names(folder) == ["history-20250601T120000Z.duckdb"]
    made = folder / "history-20250601T120000Z.duckdb"
    assert contents(made) == contents(synthetic.file.path)
    assert made.stat().st_mode & 0o777 == 0o640


_ALIVE: list[SyntheticHistory] = []


def _poll_and_crash(path: Path) -> None:
    synthetic = SyntheticHistory(path)
    # Collected before the end, it would close its file.
    _ALIVE.append(synthetic)
    synthetic.history.prepare(BEGIN)
    synthetic.file._keep_for = float("inf")
    synthetic.poll(BEGIN + timedelta(days=9), requests(700, 30, BEGIN + timedelta(days=9)))


def test_what_stands_in_the_log_alone(synthetic: SyntheticHistory, folder: Path) -> None:
    """Rows that a crash left in the write-ahead log are in the backup, and the log itself is not touched."""
    assert ended(_poll_and_crash, synthetic.file.path) == ENDED
    log = synthetic.file.path.with_name("history.duckdb.wal")
    before = log.read_bytes()
    assert len(before) > 1000
    assert back_up(synthetic, folder)[-1].ok
    assert log.read_bytes() == before
    assert names(folder) == ["history-20250601T120000Z.duckdb"]
    assert len(contents(folder / names(folder)[0])["http_requests"]) == 60


def test_a_damaged_log_is_no_backup(synthetic: SyntheticHistory, folder: Path) -> None:
    """A copy whose log cannot be replayed lacks rows: it is called damaged, with its log beside it."""
    assert ended(_poll_and_crash, synthetic.file.path) == ENDED
    log = synthetic.file.path.with_name("history.duckdb.wal")
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    log.write_bytes(damaged)
    first, last = back_up(synthetic, folder)
    assert "its log is damaged" in first.message
    assert last.ok is False
    assert names(folder) == ["history-20250601T120000Z.duckdb.damaged", "history-20250601T120000Z.duckdb.damaged.wal"]
    assert (folder / names(folder)[1]).read_bytes() == damaged


def test_a_command_sets_nothing_aside(synthetic: SyntheticHistory) -> None:
    """A log that cannot be replayed is left to the agent, which records its fate."""
    assert ended(_poll_and_crash, synthetic.file.path) == ENDED
    log = synthetic.file.path.with_name("history.duckdb.wal")
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    log.write_bytes(damaged)
    for file in (HistoryFile(synthetic.file.path, repairs=False), HistoryFile(synthetic.file.path, read_only=True)):
        with pytest.raises(HistoryDamaged, match="the agent sets it aside"), file.open():
            pass
    assert log.read_bytes() == damaged
    with synthetic.file.open():
        assert synthetic.file.quarantined


def test_a_writer_is_waited_for(synthetic: SyntheticHistory, folder: Path) -> None:
    """While another program writes the file it is not copied, and no file is left behind."""
    with held(synthetic.file.path), pytest.raises(HistoryBusy):
        back_up(synthetic, folder)
    assert names(folder) == []


def test_no_writer_gets_in(synthetic: SyntheticHistory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the bytes are copied no other process can write the file; afterwards it can."""
    opened = []
    copied = backup._copy_bytes

    def tried(*arguments: object) -> None:
        copied(*arguments)  # type: ignore[arg-type]
        opened.append(_opens(synthetic.file.path))

    monkeypatch.setattr(backup, "_copy_bytes", tried)
    copy(synthetic.file, folder / "copy")
    assert opened == [False]
    assert _opens(synthetic.file.path)


def _opens(path: Path) -> bool:
    return subprocess.run([sys.executable, "-c", OPENED, str(path)], capture_output=True, check=False).returncode == 0


def test_a_file_put_in_its_place(synthetic: SyntheticHistory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copied file is the one at the path when the lock is held, not one from before."""
    other = synthetic.file.path.with_name("other.duckdb")
    other.write_bytes(synthetic.file.path.read_bytes())
    opened = os.open

    def replacing(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        if path == synthetic.file.path and other.exists():
            other.rename(synthetic.file.path)
        return descriptor

    synthetic.file.limits = Limits(patience_seconds=60.0)
    monkeypatch.setattr("exporter.history.backup.os.open", replacing)
    waited: list[float] = []
    synthetic.file.sleep = waited.append
    copy(synthetic.file, folder / "copy")
    assert len(waited) == 1


def test_the_newest_are_kept(synthetic: SyntheticHistory, folder: Path) -> None:
    """The newest backups are retained, as many as configured."""
    for hours in range(4):
        back_up(synthetic, folder, keep=2, hours=hours)
    assert names(folder) == ["history-20250601T140000Z.duckdb", "history-20250601T150000Z.duckdb"]


def test_what_belongs_to_others(synthetic: SyntheticHistory, folder: Path) -> None:
    """A file with another name is never removed, however much alike."""
    theirs = ["history-2023.partners.csv", "history-a.parts.zip", "history-of-the-projectZ.duckdb"]
    theirs.append("history-20250531T120000Z.duckdb.part.txt")
    for name in theirs:
        (folder / name).write_text("theirs")
    (folder / "history-x.partitioned").mkdir()
    for hours in range(2):
        back_up(synthetic, folder, keep=1, hours=hours)
    assert names(folder) == sorted([*theirs, "history-x.partitioned", "history-20250601T130000Z.duckdb"])


def test_another_history(synthetic: SyntheticHistory, folder: Path, tmp_path: Path) -> None:
    """A folder has the backups of one history: those of another would push them out."""
    back_up(synthetic, folder, keep=1)
    other = SyntheticHistory(tmp_path / "other.duckdb")
    other.live(1)
    with pytest.raises(HistoryUnwritable, match=f"has the backups of another history, {synthetic.file.path};"):
        back_up(other, folder, keep=1, hours=1)
    assert names(folder) == ["history-20250601T120000Z.duckdb"]
    # The same one, put back, is no other.
    synthetic.file.path.write_bytes((folder / names(folder)[0]).read_bytes())
    assert back_up(synthetic, folder, keep=1, hours=2)[-1].ok
    assert names(folder) == ["history-20250601T140000Z.duckdb"]


def test_what_cannot_be_removed(synthetic: SyntheticHistory, folder: Path) -> None:
    """The backup is valid all the same; files that stay are reported."""
    (folder / "history-20250501T120000Z.duckdb").mkdir()
    note, last = back_up(synthetic, folder, keep=1)[-2:]
    assert (note.ok, last.ok) == (None, True)
    assert "history-20250501T120000Z.duckdb: Is a directory; it stays" in note.message


def test_a_clock_that_went_back(synthetic: SyntheticHistory, folder: Path) -> None:
    """No backup is made under a name that is not the newest: it would be the first to go, or push out good ones."""
    back_up(synthetic, folder, keep=1, hours=5)
    for hours in (5, 0):
        with pytest.raises(HistoryUnwritable, match="set the clock right"):
            back_up(synthetic, folder, keep=1, hours=hours)
    assert names(folder) == ["history-20250601T170000Z.duckdb"]


def broken(synthetic: SyntheticHistory, statement: str) -> None:
    """Break a law of the history."""
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute(statement)


def test_a_faulty_one_does_not_count(synthetic: SyntheticHistory, folder: Path) -> None:
    """A damaged copy has a name of its own, no good one is removed for it, and they do not pile up."""
    back_up(synthetic, folder, keep=1)
    broken(synthetic, "DELETE FROM http_requests WHERE id = 5")
    for hours in (1, 2, 3):
        verdicts = back_up(synthetic, folder, keep=1, hours=hours)
        assert any(verdict.ok is False for verdict in verdicts)
        assert "can be read to its last block" in verdicts[-1].message
    assert names(folder) == ["history-20250601T120000Z.duckdb", "history-20250601T150000Z.duckdb.faulty"]
    assert contents(folder / names(folder)[1]) == contents(synthetic.file.path)


def test_one_damaged_copy_is_enough(synthetic: SyntheticHistory, folder: Path) -> None:
    """A copy that cannot be read is no backup; it pushes out none that can, and only the last is left."""
    broken(synthetic, "UPDATE counters SET value = value + 1 WHERE family = 'tableau_history_rows_total'")
    back_up(synthetic, folder)
    synthetic.file.path.write_bytes(b"not a database" * 1000)
    for hours in (1, 2):
        last = back_up(synthetic, folder, hours=hours)[-1]
        assert last.ok is False
        assert "no backup: it cannot be read" in last.message
    assert names(folder) == ["history-20250601T120000Z.duckdb.faulty", "history-20250601T140000Z.duckdb.damaged"]


def test_too_little_memory_to_check_it(
    synthetic: SyntheticHistory, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that could not be checked is not called faulty: the reason is reported, and no file is left."""

    def failing(*_: object) -> Iterator[Verdict]:
        message = "Out of Memory; raise history.memory_limit"
        raise HistoryUnwritable(message)

    monkeypatch.setattr(backup, "verify", failing)
    with pytest.raises(HistoryUnwritable, match="Out of Memory"):
        back_up(synthetic, folder)
    assert names(folder) == []


def test_a_log_that_goes_away(synthetic: SyntheticHistory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent may remove its log between two checks."""
    gone = synthetic.file.path.with_name("history.duckdb.wal")
    files, looked = backup._files, list[Path]()

    def with_a_log(path: Path) -> dict[Path, str]:
        looked.append(path)
        return {**files(path), **({gone: ".wal"} if len(looked) == 1 else {})}

    monkeypatch.setattr(backup, "_files", with_a_log)
    assert back_up(synthetic, folder)[-1].ok


def test_a_disk_that_fails(synthetic: SyntheticHistory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the operating system refuses is one line, and no defect of this program."""

    def failing(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(backup, "fsync", failing)
    with pytest.raises(HistoryUnwritable, match="Input/output error; no backup was made"):
        back_up(synthetic, folder)
    assert names(folder) == []


def test_no_room(synthetic: SyntheticHistory, folder: Path) -> None:
    """A disk without room for one more is reported before any copy."""
    synthetic.file.limits = Limits(free_bytes=2**62)
    with pytest.raises(HistoryUnwritable, match="MB are needed for a backup"):
        back_up(synthetic, folder)
    assert names(folder) == []


def test_what_an_interrupted_one_left(synthetic: SyntheticHistory, folder: Path) -> None:
    """The next backup removes the files of an unfinished one."""
    (folder / "history-20250531T120000Z.duckdb.part").write_bytes(b"half")
    (folder / "history-20250531T120000Z.duckdb.part.wal").write_bytes(b"half")
    back_up(synthetic, folder)
    assert names(folder) == ["history-20250601T120000Z.duckdb"]


def test_one_at_a_time(synthetic: SyntheticHistory, folder: Path) -> None:
    """Two backups into one folder are not made at the same time."""
    first = Backups(synthetic.file, folder, 7).make(EVENTS, NOW)
    next(first)
    with pytest.raises(HistoryLocked, match="another backup"):
        back_up(synthetic, folder, hours=1)
    first.close()
    assert names(folder) == []
    assert back_up(synthetic, folder)[-1].ok


def test_a_folder_that_is_not_there(synthetic: SyntheticHistory, folder: Path) -> None:
    """A folder is not made: it may be a disk that is not mounted."""
    with pytest.raises(HistoryUnwritable, match="No such file or directory"):
        back_up(synthetic, folder / "nowhere")


@pytest.mark.parametrize("kernel", [True, False])
def test_large_files_are_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool) -> None:
    """Every byte is copied, whether the kernel copies them or this process does."""
    if not kernel:
        monkeypatch.delattr(os, "copy_file_range")
    path = tmp_path / "large"
    path.write_bytes(os.urandom(3_000_001))
    copy(HistoryFile(path), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
