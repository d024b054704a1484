"""A file is written whole or not at all."""

import os
import threading
from pathlib import Path

import duckdb
import pytest

from exporter.errors import OutputUnwritable
from exporter.output import whole


def test_what_failed_leaves_what_was_there(tmp_path: Path) -> None:
    """A writing that ends in the middle changes nothing and leaves nothing behind."""
    path = tmp_path / "file"
    path.write_text("before")

    def fail() -> None:
        with whole(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sees_half_of_it(tmp_path: Path) -> None:
    """Until the block has ended, a reader of the file reads the previous content."""
    path = tmp_path / "file"
    path.write_text("before")
    with whole(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_text() == "before"
    assert path.read_text() == "half"


def test_a_new_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    """They follow the mask of the process; those of a file that is there are retained."""
    before = os.umask(0o027)
    try:
        for name, mode in (("new", 0o640), ("old", 0o600)):
            if name == "old":
                (tmp_path / name).touch()
                (tmp_path / name).chmod(mode)
            with whole(tmp_path / name) as file:
                file.write(b"x")
            assert (tmp_path / name).stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    """A target other than a file stays as it is."""
    path, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with whole(path) as file:
        file.write(b"x")
    reader.join()
    assert read == [b"x"]
    assert path.is_fifo()


@pytest.mark.parametrize("place", ["nowhere/file", "."])
def test_where_nothing_can_be_written(tmp_path: Path, place: str) -> None:
    """It is reported before any output is made."""
    with pytest.raises(OutputUnwritable, match="name another file"), whole(tmp_path / place):
        pytest.fail("there is nothing to write to")


def test_a_database_is_never_replaced(tmp_path: Path) -> None:
    """The history as the output, also by a link, is refused and stays."""
    path, link = tmp_path / "history.duckdb", tmp_path / "link"
    duckdb.connect(str(path)).close()
    link.symlink_to(path)
    before = path.read_bytes()
    for output in (path, link):
        with pytest.raises(OutputUnwritable, match=f"{output.name}: it is a DuckDB file"), whole(output):
            pytest.fail("the history would be gone")
    assert path.read_bytes() == before
