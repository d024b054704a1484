"""Seeded sequences of everything that may happen to a source, to a file and to the agent between them."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive.course import Course
from tests.archive.tableau import TRUTH
from tests.support.reliability import EVERYTHING, Tally
from tests.support.soak import times
from tests.support.source import Source

# ARCHIVE_SEED=123 takes the one sequence of that seed, ARCHIVE_SEED=100-199 the sequences of a hundred.
CHOSEN = os.environ.get("ARCHIVE_SEED")
FIRST, _, LAST = (CHOSEN or f"0-{times(6, 1000) - 1}").partition("-")
# 53: an error while a restarted agent read its counters left them at nothing for a poll.
SEQUENCES = sorted({*range(int(FIRST), int(LAST or FIRST) + 1), *(() if CHOSEN else (53,))})


@pytest.fixture
def quiet(source: Source) -> Iterator[Source]:
    """The source, on a server whose housekeeping uses no transactions."""
    source.run("ALTER SYSTEM SET autovacuum = off")
    source.run("SELECT pg_reload_conf()")
    while source.run("SELECT 1 FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'"):
        time.sleep(0.05)
    source.run(TRUTH)
    yield source
    source.run("ALTER SYSTEM RESET autovacuum")
    source.run("SELECT pg_reload_conf()")


@pytest.mark.slow
@pytest.mark.fault(EVERYTHING)
@pytest.mark.timeout(300 + 60 * len(SEQUENCES))
def test_whatever_happens(quiet: Source, tmp_path: Path, tally: Tally) -> None:
    """After every poll what must hold holds, whatever was written, removed, broken, cut, lost or put back before."""
    for seed in SEQUENCES:
        folder = tmp_path / str(seed)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            course = Course(seed, quiet, folder, patch)
            try:
                lost, doubled = course.run()
            except BaseException:
                print("\n".join(course.steps))  # noqa: T201
                print(f"to repeat it: ARCHIVE_SEED={seed} pytest tests/archive/test_property.py")  # noqa: T201
                raise
        tally.run(lost=lost, doubled=doubled)
        shutil.rmtree(folder)
