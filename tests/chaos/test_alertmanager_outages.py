"""Seeded outages of three Alertmanagers, and kills of the agent: every transition is delivered, and none invented."""

import os
from pathlib import Path

import pytest

from tests.chaos.outage_sequence import OutageSequence, seeds
from tests.support.soak import LONG

# ALERTING_SEED=123 takes the one course of that seed, ALERTING_SEED=100-199 the courses of a hundred.
CHOSEN = os.environ.get("ALERTING_SEED")
# The two of the short run have kills at whose places much would be noticed.
SEEDS = seeds(CHOSEN or "0-99") if CHOSEN or LONG else [0, 2]
OUTAGES = 10


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * len(SEEDS))
def test_whatever_befalls_them(tmp_path: Path) -> None:
    """After every evaluation each Alertmanager has the current alerts, no others, and missed ones after recovery."""
    tallies = []
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        with OutageSequence(seed, folder) as course:
            try:
                tallies.append(course.run(OUTAGES))
            except BaseException:
                print("\n".join(course.steps))  # noqa: T201 - a course that failed must be understood
                print(f"to repeat it: ALERTING_SEED={seed} pytest {Path(__file__).name}")  # noqa: T201 - and repeated
                raise
    total = {
        "outages": sum(tally.outages for tally in tallies),
        "kills": sum(tally.kills.total() for tally in tallies),
        "looks": sum(tally.looks for tally in tallies),
        "fired": sum(tally.fired for tally in tallies),
        "ended": sum(tally.ended for tally in tallies),
        "delivered": sum(len(tally.delivered) for tally in tallies),
    }
    print(total)  # noqa: T201 - the result of a long run
    assert total["outages"] >= OUTAGES * len(SEEDS)
    assert total["kills"]
