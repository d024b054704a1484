"""A repository that takes long to answer: what it said is shown until it can have said it again."""

from pathlib import Path

from tests.support.poller_harness import WITH_NAMES, PollerHarness
from tests.support.source import Source

LONG = 600.0


class Waiting(PollerHarness):
    """A poller of whose first poll the repository makes a long one."""

    def password(self) -> str:
        """Let time pass before anything is asked."""
        self.now += LONG
        return super().password()


def test_a_poll_that_takes_longer_than_three_intervals_is_shown(source: Source, tmp_path: Path) -> None:
    """States are shown for three intervals after a poll that took ten minutes, and for as long as the next may take."""
    harness = Waiting(source.readonly, tmp_path / "history.duckdb", collectors=WITH_NAMES)
    harness.polled()
    ended = harness.now
    for at, shown in ((ended, True), (ended + 2.9, True), (ended + LONG + 3.1, False)):
        assert ("tableau_users" in {block.family.name for block in harness.store.blocks(at)}) == shown
