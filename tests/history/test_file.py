"""The history file: DuckDB within limits, one writer, and clear messages when it cannot be opened."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from exporter.errors import HistoryBusy, HistoryDamaged, HistoryLocked, HistoryUnwritable
from exporter.history.file import HistoryFile, Limits
from exporter.history.locking import exclusive

HOLD = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"


@contextmanager
def held(path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Hold a file for writing in another process."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture
def file(tmp_path: Path) -> HistoryFile:
    """A file that is not there yet."""
    return HistoryFile(tmp_path / "history.duckdb", Limits(memory="64MB", threads=1, patience_seconds=0.0))


def test_limits_are_set(file: HistoryFile) -> None:
    """DuckDB uses its configured memory and threads, spills beside the file, and fetches no extensions."""
    with file.open() as connection:
        names = "memory_limit", "threads", "temp_directory", "TimeZone", "autoinstall_known_extensions"
        values = [connection.execute(f"SELECT current_setting('{name}')").fetchall()[0][0] for name in names]
    assert values == ["61.0 MiB", 1, f"{file.path}.tmp", "UTC", False]


def test_row_groups_are_merged_after_many_transactions(file: HistoryFile) -> None:
    """Checkpoints within the block write no row again; at its end small row groups become one."""
    groups = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('t')"
    now = 0.0
    file.clock, file.sleep = lambda: now, lambda _: None
    with file.open() as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(2000)")
    with file.kept_open(1.0, merges=4):
        for _ in range(3):
            with file.open() as connection:
                connection.execute("INSERT INTO t SELECT range FROM range(2000)")
                now += 2.0
        with file.open() as connection:
            assert connection.execute(groups).fetchall() == [(4,)]
            connection.execute("INSERT INTO t SELECT range FROM range(2000)")
    with file.open() as connection:
        assert connection.execute(groups).fetchall() == [(1,)]


def test_an_old_storage_version(file: HistoryFile) -> None:
    """Whatever DuckDB writes the file, 1.5 can read it."""
    with file.open() as connection:
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    assert "v1.5.0" in str(tags)


def test_the_file_is_open_only_inside_the_block(file: HistoryFile) -> None:
    """Outside the block another process may open the file for writing."""
    assert file.bytes is None
    with file.open() as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
    assert file.path.stat().st_size
    with held(file.path):
        pass


def test_a_held_file_is_busy(file: HistoryFile) -> None:
    """A file that another process holds is busy when the patience has run out, and may be had afterwards."""
    with held(file.path), pytest.raises(HistoryBusy, match="what was polled is not lost"), file.open():
        pass
    with file.open():
        pass


def test_patience(file: HistoryFile) -> None:
    """A file that is released within the patience is opened."""
    file.limits = Limits(patience_seconds=60.0)
    waits: list[float] = []
    with held(file.path) as process:

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            process.kill()
            process.wait()

        file.sleep = sleep
        with file.open():
            pass
    assert waits


def test_one_agent_for_one_file(file: HistoryFile) -> None:
    """The second lock on a file is refused, until the first is released."""
    file.lock()
    second = HistoryFile(file.path)
    with pytest.raises(HistoryLocked, match="another agent writes this history"):
        second.lock()
    file.unlock()
    second.lock()
    second.unlock()


def test_a_full_disk(file: HistoryFile) -> None:
    """With little room left nothing is written, before DuckDB could fail halfway."""
    file.limits = Limits(free_bytes=2**62)
    with pytest.raises(HistoryUnwritable, match="MB free; nothing is archived"), file.open():
        pass
    assert file.bytes is None


def test_a_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there is named, by the lock and by the file."""
    file = HistoryFile(tmp_path / "nowhere" / "history.duckdb")
    with pytest.raises(HistoryUnwritable, match="No such file or directory"):
        file.lock()
    with pytest.raises(HistoryUnwritable, match="make the folder exist"), file.open():
        pass


def test_what_is_no_history(file: HistoryFile) -> None:
    """A file of another kind is refused in one line, and not waited for because its name contains a lock's words."""
    path = file.path.with_name("could-lock.duckdb")
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(HistoryDamaged) as refused, HistoryFile(path, Limits(patience_seconds=60.0)).open():
        pass
    assert "\n" not in str(refused.value)


WITHOUT_DESCRIPTORS = """
import os, resource, sys
from exporter.errors import HistoryUnwritable
from exporter.history.file import HistoryFile
from pathlib import Path

file = HistoryFile(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
if sys.argv[2] == "agent":
    file.lock()
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
for _ in range(2):
    try:
        with file.open() as connection:
            print(connection.execute("SELECT 1").fetchall())
    except HistoryUnwritable as error:
        print(error)
"""


def without_descriptors(path: Path, kind: str) -> "subprocess.CompletedProcess[str]":
    """Open a history twice in a process that has no descriptor left, as an agent or as a command."""
    command = [sys.executable, "-c", WITHOUT_DESCRIPTORS, str(path), kind]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def test_without_descriptors_the_file_is_not_opened(file: HistoryFile) -> None:
    """DuckDB would abort the process: without a free descriptor a command gets a message that names the remedy."""
    with file.open():
        pass
    result = without_descriptors(file.path, "command")
    assert result.returncode == 0, result.stderr
    assert len(set(result.stdout.splitlines())) == 1
    assert result.stdout.startswith(
        "the history is not opened: fewer than 32 file descriptors are free; raise the limit"
    )


def test_an_agent_keeps_descriptors_for_the_file(file: HistoryFile) -> None:
    """When other code uses all descriptors of an agent, its history is opened, again and again."""
    result = without_descriptors(file.path, "agent")
    assert (result.returncode, result.stdout) == (0, "[(1,)]\n" * 2), result.stderr


def descriptors() -> int:
    """Return how many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_given_back(file: HistoryFile) -> None:
    """An agent that has unlocked its history keeps no descriptor for it."""
    before = descriptors()
    file.lock()
    with file.open():
        pass
    assert descriptors() >= before + 32
    file.unlock()
    assert descriptors() == before


def _make_newer(path: Path) -> None:
    """Raise the storage version in a file's head, and set the head's checksum right: the XOR of its words' products."""
    head = bytearray(path.read_bytes())
    before = int.from_bytes(head[8:16], "little")
    head[12:14] = b"\xc8\xc8"
    checksum = int.from_bytes(head[:8], "little")
    for word in (before, int.from_bytes(head[8:16], "little")):
        checksum ^= word * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    path.write_bytes(checksum.to_bytes(8, "little") + head[8:])


def test_a_file_of_a_newer_version(file: HistoryFile) -> None:
    """A file of a newer DuckDB requires that version, not a check of the folder's rights."""
    with file.open():
        pass
    _make_newer(file.path)
    with (
        pytest.raises(HistoryUnwritable, match="a newer version of the program wrote it; go back") as refused,
        file.open(),
    ):
        pass
    assert "rights" not in str(refused.value)


def test_no_descriptor_is_left(file: HistoryFile) -> None:
    """Too many open files require a higher limit, not a check of the folder's rights."""
    error = duckdb.IOException(f'IO Error: Cannot open file "{file.path}": Too many open files')
    refused = str(file._unwritable(error))
    assert refused.endswith("raise the limit of open files (LimitNOFILE, ulimit -n)")


@pytest.mark.attack("links")
@pytest.mark.parametrize("there", [True, False])
def test_a_lock_that_is_a_link(file: HistoryFile, there: bool) -> None:
    """A link in the place of a lock is refused in one line, and nothing is made or held where it leads."""
    elsewhere = file.path.with_name("elsewhere")
    if there:
        elsewhere.write_text("mine")
    lock = file.path.with_name("history.duckdb.lock")
    lock.symlink_to(elsewhere)
    with pytest.raises(HistoryUnwritable, match="symbolic link"):
        file.lock()
    with pytest.raises(HistoryUnwritable, match="symbolic link"), exclusive(lock, "another"):
        pass
    assert elsewhere.exists() == there


def test_a_path_that_is_no_utf8(tmp_path: Path) -> None:
    """A path with non-UTF-8 bytes is refused in one line that any terminal prints, by the lock and by the file."""
    file = HistoryFile(tmp_path / os.fsdecode(b"h\xff.duckdb"), Limits(patience_seconds=0.0))
    with pytest.raises(HistoryUnwritable, match="is not UTF-8") as refused:
        file.lock()
    assert str(refused.value).isascii()
    with pytest.raises(HistoryUnwritable, match="is not UTF-8"), file.open():
        pass
    assert not list(tmp_path.iterdir())
