"""After a crash, a disk fault or a user's error no row of the source is lost, and none is doubled."""

import contextlib
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.history import wal
from exporter.history.file import Limits
from tests.archive.unreplayed_wal import Copies, leave_behind, log_of
from tests.history.test_file import held
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source


@pytest.fixture
def left(source: Source, tmp_path: Path) -> Copies:
    """A history that a crash has left, with a log of several transactions; and its source."""
    leave_behind(source, tmp_path / "history.duckdb")
    return Copies(tmp_path / "history.duckdb")


def assert_whole(source: Source, harness: PollerHarness, tally: Tally | None = None) -> None:
    """Everything that the source has stands in the history once."""
    there = sorted(number for (number,) in source.run("SELECT id FROM http_requests"))
    here = sorted([*harness.ids(), *harness.open_ids()])
    if tally:
        tally.run(lost=len(set(there) - set(here)), doubled=len(here) - len(set(here)))
    assert here == there
    harness.assert_once()


@pytest.mark.timeout(1800)
@pytest.mark.fault(37)
def test_a_torn_log(source: Source, left: Copies, tally: Tally) -> None:
    """Wherever the log ends, the next poll completes the history and sets nothing aside."""
    randomness = random.Random(37)
    for _ in range(times(15, 500)):
        at = randomness.randrange(len(left.log))
        with left.copy(left.log[:at]) as path:
            harness = PollerHarness(source.readonly, path)
            assert harness.poll(), f"cut at {at}: {harness.errors()}"
            assert_whole(source, harness, tally)
            assert "log_quarantined" not in harness.incidents(), f"cut at {at}"


@pytest.mark.timeout(1800)
@pytest.mark.fault(38)
def test_a_flipped_byte_in_the_log(source: Source, left: Copies, tally: Tally) -> None:
    """Whichever bit of the log is flipped, the log is set aside, and the next poll completes the history."""
    randomness = random.Random(38)
    quarantined = 0
    for _ in range(times(15, 500)):
        at, flip = randomness.randrange(len(left.log)), 1 << randomness.randrange(8)
        damaged = left.log[:at] + bytes([left.log[at] ^ flip]) + left.log[at + 1 :]
        with left.copy(damaged) as path:
            harness = PollerHarness(source.readonly, path)
            assert harness.poll(), f"bit {flip} at {at}: {harness.errors()}"
            assert_whole(source, harness, tally)
            kept = list(path.parent.glob("*.damaged-*"))
            quarantined += len(kept)
            assert harness.incidents().get("log_quarantined", 0) == len(kept)
            assert [name.read_bytes() for name in kept] == [damaged] * len(kept)
    assert quarantined


@pytest.mark.fault(38)
@pytest.mark.parametrize("log", [b"", b"\0" * 5000, b"no log at all\n" * 500], ids=["empty", "zeros", "text"])
def test_what_is_no_log(log: bytes, source: Source, left: Copies) -> None:
    """Whatever stands in the log's place, the history is completed."""
    with left.copy(log) as path:
        harness = PollerHarness(source.readonly, path)
        harness.polled()
        assert_whole(source, harness)


@pytest.mark.fault(41)
def test_an_older_file_beside_a_newer_log(source: Source, left: Copies) -> None:
    """A copy restored without its log: the log is set aside, and the rest is read again."""
    with left.copy(left.log, left.before) as path:
        harness = PollerHarness(source.readonly, path)
        harness.polled()
        assert_whole(source, harness)
        assert harness.incidents()["log_quarantined"] == 1
        assert harness.query("SELECT detail FROM incidents WHERE kind = 'log_quarantined'")[0][0].startswith(
            "history.duckdb.wal.damaged-"
        )


def test_a_second_damaged_log_does_not_replace_the_first(source: Source, left: Copies) -> None:
    """A log that was set aside stays, also when it happens twice within a second."""
    with left.copy(left.log, left.before) as path:
        PollerHarness(source.readonly, path).polled()
        path.write_bytes(left.before)
        log_of(path).write_bytes(left.log)
        for name in path.parent.glob("*.damaged-*"):
            shutil.copystat(name, log_of(path))
        PollerHarness(source.readonly, path).polled()
        assert len(list(path.parent.glob("*.damaged-*"))) == 2


def test_a_log_that_cannot_be_blamed_stays(source: Source, left: Copies) -> None:
    """Where the file does not open without its log either, both stay as they were, and one line reports it."""
    damaged = bytearray(left.log)
    damaged[len(damaged) // 2] ^= 1
    file = bytearray(left.file)
    file[4096:4200] = bytes(104)
    file[8192:8300] = bytes(108)
    with left.copy(bytes(damaged), bytes(file)) as path:
        harness = PollerHarness(source.readonly, path)
        assert not harness.poll()
        assert "nothing is archived until a backup is put back" in harness.errors()["http_requests"]
        assert log_of(path).read_bytes() == bytes(damaged)
        assert path.read_bytes() == bytes(file)
        assert not list(path.parent.glob("*.damaged-*"))


@pytest.mark.fault(38, 40)
def test_a_file_that_is_taken_while_its_log_is_aside(
    source: Source, left: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another program opens the file before it is known to open without its log, the log gets its name back."""
    damaged = bytearray(left.log)
    damaged[len(damaged) // 2] ^= 1
    setting_aside = wal.set_aside
    with left.copy(bytes(damaged)) as path:
        harness = PollerHarness(source.readonly, path, limits=Limits(patience_seconds=0.2))
        with contextlib.ExitStack() as stack, monkeypatch.context() as patch:

            def taken(path: Path) -> Mapping[Path, Path]:
                aside = setting_aside(path)
                stack.enter_context(held(path))
                return aside

            patch.setattr(wal, "set_aside", taken)
            assert not harness.poll()
        assert log_of(path).read_bytes() == bytes(damaged)
        assert not list(path.parent.glob("*.damaged-*"))
        harness.polled()
        assert_whole(source, harness)
        assert harness.incidents()["log_quarantined"] == 1
