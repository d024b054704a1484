"""A file that exports append to: each row once, whatever breaks off, and nothing of it lost to its readers."""

import json
import os
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from exporter.errors import OutputUnwritable
from exporter.exports import appending as module
from exporter.exports import output_file
from exporter.exports.appending import appending
from tests.exports.killed_at_step import killed_at

HISTORY = "2025-01-01T00:00:00.000001"
AT = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the history's times have no zone
HOUR = timedelta(hours=1)
LAYOUT = {"columns": ["id"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "requests.csv"


def append(path: Path, *rows: int, rewrite: bool = False, history: str = HISTORY) -> None:
    """Export rows as a format does: a header first, each row later than the last, a commit for each."""
    with appending(path, history, LAYOUT, rewrite=rewrite) as file:
        if file.is_new:
            file.append(b"id\n")
            file.commit(None)
        for row in rows:
            if file.position is None or AT + row * HOUR > file.position:
                file.append(b"%d\n" % row)
                file.commit(AT + row * HOUR)


def interrupt(file: module.Appender, content: bytes, position: datetime | None = None) -> None:
    """Append, perhaps commit, and be interrupted."""
    file.append(content)
    if position:
        file.commit(position)
    raise KeyboardInterrupt


def rows(path: Path) -> list[str]:
    """Return the lines of a file."""
    return path.read_text().splitlines()


def test_a_file_is_begun_and_appended_to(path: Path) -> None:
    """It stays the same file for its readers, and records its position."""
    append(path, 1, 2)
    before = path.stat().st_ino
    append(path, 1, 2, 3)
    assert rows(path) == ["id", "1", "2", "3"]
    assert path.stat().st_ino == before
    with appending(path, HISTORY, {}) as file:
        assert (file.position, file.layout, file.is_new) == (AT + 3 * HOUR, LAYOUT, False)


def test_what_was_not_committed_is_cut_off(path: Path) -> None:
    """At the end of a block that broke off, and of one that ended without a commit."""
    append(path, 1)
    with pytest.raises(KeyboardInterrupt), appending(path, HISTORY, LAYOUT) as file:
        interrupt(file, b"2\n")
    assert rows(path) == ["id", "1"]
    with appending(path, HISTORY, LAYOUT) as file:
        file.append(b"2\n")
    assert rows(path) == ["id", "1"]


def test_a_torn_tail_is_cut_off_by_the_next_run(path: Path) -> None:
    """Bytes of a crash behind the committed ones are no row."""
    append(path, 1)
    with path.open("ab") as torn:
        torn.write(b"2\n3")
    with appending(path, HISTORY, LAYOUT):
        assert rows(path) == ["id", "1"]
    append(path, 1, 2)
    assert rows(path) == ["id", "1", "2"]


def test_a_new_file_is_whole_or_not_there(path: Path) -> None:
    """A first export that broke off leaves nothing but the lock."""
    with pytest.raises(KeyboardInterrupt), appending(path, HISTORY, LAYOUT) as file:
        interrupt(file, b"id\n", AT)
    assert [left.name for left in path.parent.iterdir()] == [".requests.csv.lock"]
    append(path, 1)
    assert rows(path) == ["id", "1"]


def test_a_file_begun_anew_takes_the_place_of_the_old(path: Path) -> None:
    """A reader has the old file until the new one is whole."""
    append(path, 1, 2, 3)
    with path.open() as reader, appending(path, HISTORY, LAYOUT, rewrite=True) as file:
        file.append(b"id\n9\n")
        file.commit(AT)
        assert rows(path) == ["id", "1", "2", "3"]
        assert reader.read() == "id\n1\n2\n3\n"
    append(path, 10)
    assert rows(path) == ["id", "9", "10"]


@pytest.mark.parametrize("broken", ["rename", "sidecar"])
@pytest.mark.parametrize("rewrite", [False, True])
def test_a_replacement_that_broke_off_is_finished(
    path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, rewrite: bool
) -> None:
    """Between the two renames the next run finds which of the two files exists."""
    append(path, 1, 2, 3, 4, 5)

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        keep, kept = output_file.OutputFile.keep, list[bool]()

        def keep_once(target: output_file.OutputFile, committed: output_file.Committed) -> None:
            kept.append(True)
            if len(kept) == 2:
                fail()
            keep(target, committed)
            if broken == "rename":
                patch.setattr(Path, "replace", fail)

        patch.setattr(output_file.OutputFile, "keep", keep_once)
        with pytest.raises(OutputUnwritable, match="Permission denied"):
            append(path, 8, rewrite=True)
    assert len(rows(path)) == (6 if broken == "rename" else 2)
    append(path, 8, 9, rewrite=rewrite)
    assert rows(path) == ["id", "8", "9"]
    assert sorted(left.name for left in path.parent.iterdir()) == [
        ".requests.csv.export",
        ".requests.csv.lock",
        "requests.csv",
    ]


def test_a_file_of_this_history_is_replaced_whole(path: Path) -> None:
    """Also where it was moved away; another's is refused."""
    for number in (1, 2):
        with appending(path, HISTORY, LAYOUT, whole=True) as file:
            file.append(b"%d\n" % number)
            file.commit(None)
        assert rows(path) == [str(number)]
        path.unlink()
    path.write_text("theirs\n")
    with pytest.raises(OutputUnwritable, match="another history"), appending(path, "other", LAYOUT, whole=True):
        pass
    assert rows(path) == ["theirs"]


def test_two_exports_at_once(path: Path) -> None:
    """The second is refused, and has touched nothing."""
    append(path, 1)
    with appending(path, HISTORY, LAYOUT) as file:
        file.append(b"2\n")
        with pytest.raises(OutputUnwritable, match=r"requests\.csv: another export writes it; try again"):
            append(path, 2)
        file.commit(AT + 2 * HOUR)
    assert rows(path) == ["id", "1", "2"]


def test_files_that_are_not_appended_to(path: Path) -> None:
    """Another's file, another history's, one that lost rows or its sidecar: each is refused, and replaced on demand."""
    path.write_text("theirs\n")
    with pytest.raises(OutputUnwritable, match="was not written by an export"):
        append(path, 1)
    assert rows(path) == ["theirs"]
    append(path, 1, rewrite=True)
    with pytest.raises(OutputUnwritable, match="another history"):
        append(path, 1, history="2024-01-01T00:00:00")
    os.truncate(path, 2)
    with pytest.raises(OutputUnwritable, match="is shorter than"):
        append(path, 1)
    path.unlink()
    with pytest.raises(OutputUnwritable, match=r"is gone; name another --output, or --rewrite begins it anew"):
        append(path, 1)
    for sidecar in ("{", "[]", '{"history": 1, "position": 1}', json.dumps({"history": "", "position": "x"})):
        path.with_name(".requests.csv.export").write_text(sidecar)
        with pytest.raises(OutputUnwritable, match=r"\.requests\.csv\.export cannot be read"):
            append(path, 1)
    append(path, 1, rewrite=True)
    assert rows(path) == ["id", "1"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """Each is one line that names the place."""
    with pytest.raises(OutputUnwritable, match="nowhere: no such folder; make it"):
        append(tmp_path / "nowhere" / "requests.csv")
    with pytest.raises(OutputUnwritable, match=r"/proc/\d+/requests.csv: .+; check --output"):
        append(Path("/proc/self/requests.csv"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputUnwritable, match="folder: is no file"):
        append(tmp_path / "folder", rewrite=True)


@pytest.mark.attack("links")
@pytest.mark.parametrize("companion", ["new", "export.new"])
def test_no_link_is_written_through(path: Path, companion: str) -> None:
    """A link in the place of a file that an export makes beside its own is removed; its target stays."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.write_text("mine\n")
    path.with_name(f".{path.name}.{companion}").symlink_to(elsewhere)
    append(path, 1)
    assert (rows(path), rows(elsewhere), path.is_symlink()) == (["id", "1"], ["mine"], False)


@pytest.mark.attack("links")
def test_a_lock_that_is_a_link(path: Path) -> None:
    """A link in the place of the lock is refused in one line, and nothing is made where it leads."""
    elsewhere = path.with_name("elsewhere")
    path.with_name(f".{path.name}.lock").symlink_to(elsewhere)
    with pytest.raises(OutputUnwritable, match="symbolic link"):
        append(path, 1)
    assert not elsewhere.exists()
    assert not path.exists()


STEPS_OF_A_COURSE = 60


def course(path: Path) -> None:
    """Export the same rows again and again, some more each time, and now and then anew."""
    for count in range(2, 6):
        append(path, *range(1, count), rewrite=count == 4)


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Killed before any of its steps, the next run makes it whole: each row once, in order."""
    outcomes = []
    for step in range(STEPS_OF_A_COURSE):
        path = tmp_path / f"{step}.csv"
        outcomes.append(killed_at(step, partial(course, path)))
        append(path, *range(1, 7))
        assert rows(path) == ["id", "1", "2", "3", "4", "5", "6"], step
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[0]
    assert not outcomes[-1]
