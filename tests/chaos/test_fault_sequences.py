"""Seeded sequences of everything that may happen to a source, to a file and to the agent between them."""

import os
import shutil
from pathlib import Path

import pytest

from tests.chaos.fault_sequence import FaultSequence
from tests.chaos.random_writer import TRUTH
from tests.support.reliability import EVERYTHING, Tally
from tests.support.soak import times
from tests.support.source import Source

# ARCHIVE_SEED=123 takes the one sequence of that seed, ARCHIVE_SEED=100-199 the sequences of a hundred.
CHOSEN = os.environ.get("ARCHIVE_SEED")
FIRST, _, LAST = (CHOSEN or f"0-{times(1, 1000) - 1}").partition("-")
# 53: an error while a restarted agent read its counters left them at nothing for a poll.
SEQUENCES = sorted({*range(int(FIRST), int(LAST or FIRST) + 1), *(() if CHOSEN else (53,))})


@pytest.mark.slow
@pytest.mark.fault(EVERYTHING)
@pytest.mark.timeout(300 + 60 * len(SEQUENCES))
def test_whatever_happens(source: Source, tmp_path: Path, tally: Tally) -> None:
    """After every poll the invariants hold, with any rows written, removed, broken, cut, lost or restored before."""
    source.run(TRUTH)
    for seed in SEQUENCES:
        folder = tmp_path / str(seed)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            sequence = FaultSequence(seed, source, folder, patch)
            try:
                lost, doubled = sequence.run()
            except BaseException:
                print("\n".join(sequence.steps))  # noqa: T201
                print(f"to repeat it: ARCHIVE_SEED={seed} pytest tests/chaos/test_fault_sequences.py")  # noqa: T201
                raise
        tally.run(lost=lost, doubled=doubled)
        shutil.rmtree(folder)
