"""The progress of a poll of the repository, as the watchdog and the metrics read it."""

import pytest

from exporter.exposition.state_store import StateStore
from exporter.metrics import Block
from tests.support.poller_harness import PollerHarness
from tests.support.source import Source

STARTED = "tableau_exporter_poll_started_timestamp_seconds"


def started(store: StateStore, now: float) -> list[object]:
    """Return when the polls that are under way began."""
    (block,) = (found for found in store.blocks(now) if found.family.name == STARTED)
    assert isinstance(block, Block)
    return list(block.at(now))


def test_a_poll_is_shown_while_the_source_is_asked(harness: PollerHarness) -> None:
    """Since it began, and no longer than it lasts."""
    seen: list[object] = []

    def look() -> bool:
        seen.extend(started(harness.store, harness.now))
        return False

    harness.repository.stopping = look
    assert started(harness.store, harness.now) == [None]
    harness.polled()
    assert seen
    assert set(seen) == {harness.now}
    assert started(harness.store, harness.now) == [None]


def test_every_batch_of_a_long_reading_is_progress(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first archive that goes on is not stuck, however many rows one statement brings."""
    marks: list[object] = []
    mark = harness.repository.moved

    def marked() -> None:
        mark()
        assert harness.store.status.progress["repository"].current is not None
        marks.append(harness.store.status.progress["repository"].current.mark)

    harness.repository.moved = marked
    monkeypatch.setattr("exporter.repository.binary_copy.CHUNK_ROWS", 100)
    harness.polled()
    before = len(marks)
    marks.clear()
    source.requests(1, 2_000)
    harness.polled()
    assert before < 2_000 // 100 <= len(set(marks))
