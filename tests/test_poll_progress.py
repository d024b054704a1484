"""The poll that is under way, and the mark of its progress."""

import pytest

from exporter.poll_progress import Poll, Progress


@pytest.fixture
def progress() -> Progress:
    """The progress of a source that is not polled yet."""
    return Progress()


def current(progress: Progress) -> Poll | None:
    """Return the poll that is under way."""
    return progress.current


def test_a_poll_is_current_until_it_ends(progress: Progress) -> None:
    """The next one is another."""
    assert current(progress) is None
    with progress.poll(7.0):
        first = current(progress)
        assert first is not None
        assert first.started_at == 7.0
    assert current(progress) is None
    with progress.poll(7.0):
        assert current(progress) not in {first, None}


def test_a_poll_that_fails_ends_too(progress: Progress) -> None:
    """Its error is passed on."""
    with pytest.raises(ZeroDivisionError), progress.poll(7.0):
        _ = 1 / 0
    assert current(progress) is None


def test_a_step_changes_the_mark(progress: Progress) -> None:
    """Each step gives another mark; between polls there is nothing to mark."""
    progress.moved()
    assert current(progress) is None
    with progress.poll(0.0):
        poll = current(progress)
        assert poll is not None
        marks = [poll.mark]
        for _ in range(3):
            progress.moved()
            marks.append(poll.mark)
    assert len(set(marks)) == 4
