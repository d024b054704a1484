"""A slow repository: its state is published until the next poll can have replaced it."""

from pathlib import Path

from tests.support.poller_harness import WITH_NAMES, PollerHarness
from tests.support.source import Source

LONG = 600.0


class Waiting(PollerHarness):
    """A poller of whose first poll the repository makes a long one."""

    def password(self) -> str:
        """Let time pass before a query."""
        self.now += LONG
        return super().password()


def test_a_poll_that_takes_longer_than_three_intervals_is_shown(source: Source, tmp_path: Path) -> None:
    """States are published for three intervals after a poll of ten minutes, and for as long as the next may last."""
    harness = Waiting(source.readonly, tmp_path / "history.duckdb", collectors=WITH_NAMES)
    harness.polled()
    ended = harness.now
    for at, published in ((ended, True), (ended + 2.9, True), (ended + LONG + 3.1, False)):
        assert ("tableau_users" in {block.family.name for block in harness.store.blocks(at)}) == published
