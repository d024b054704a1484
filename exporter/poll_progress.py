"""The current poll of a source, and a counter of its progress: cheap enough for every batch, without a clock."""

from collections.abc import Iterator
from contextlib import contextmanager


class Poll:
    """A poll that is running; ``started_at`` in Unix seconds."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.mark = object()
        """Another object after each step of the poll."""
        self.stuck = False
        """Whether the watchdog found no progress for too long."""


class Progress:
    """The current poll of one source, whichever threads work on it."""

    def __init__(self) -> None:
        self.current: Poll | None = None

    @contextmanager
    def poll(self, now: float) -> Iterator[None]:
        """Make the block the current poll."""
        self.current = Poll(now)
        try:
            yield
        finally:
            self.current = None

    def moved(self) -> None:
        """Mark a step of the current poll."""
        if (poll := self.current) is not None:
            poll.mark = object()
