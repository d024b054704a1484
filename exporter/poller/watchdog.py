"""Watchdog: logs a poll that makes no progress, once, with the stack of each thread.

Names and lines alone: a stack of frames holds no values, so no secrets. While native code holds the interpreter's lock
no Python code runs, the watchdog neither: then a C thread of ``faulthandler`` writes the stacks to stderr
(docs/decisions/0019-watchdog.md).
"""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

import structlog

from exporter.poll_progress import Poll, Progress

log = structlog.get_logger()

CHECK_SECONDS = 5.0
# Bounds of a report: some 15 kB of the log.
MAX_THREADS, MAX_FRAMES, MAX_CHARACTERS = 16, 16, 1_000
STDERR = 2


@dataclass
class _Watched:
    """A poll as it was at the last check; ``seconds`` is how long it made no progress."""

    poll: Poll
    mark: object
    seconds: float = 0.0
    reported: bool = False


class Watchdog:
    """Checks the polls of all sources; ``limits`` are the seconds without progress, and may be replaced.

    ``on_change`` is called after each report: polls that all end between two renderings would never be in the metrics.
    """

    def __init__(
        self,
        polls: Mapping[str, Progress],
        limits: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.limits = limits or {}
        self._polls = polls
        self._on_change = on_change
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._checked_at = clock()

    def run(self, stopped: threading.Event) -> None:
        """Check until stopped; each check postpones the dump of an interpreter that runs no Python code."""
        try:
            while not stopped.is_set():
                if self.limits:
                    faulthandler.dump_traceback_later(min(self.limits.values()), file=STDERR)
                self.check()
                stopped.wait(CHECK_SECONDS)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def check(self) -> None:
        """Check once: report polls that are stuck, and those that move again."""
        now = self._clock()
        # A process that was stopped meanwhile, with its machine perhaps, has not been stuck.
        passed = min(now - self._checked_at, 2 * CHECK_SECONDS)
        self._checked_at = now
        for source, limit in self.limits.items():
            self._check(source, limit, passed)

    def _check(self, source: str, limit: float, passed: float) -> None:
        watched, poll = self._watched.get(source), self._polls[source].current
        if watched is not None and watched.poll is poll and watched.mark is poll.mark:
            watched.seconds += passed
            if watched.seconds >= limit:
                self._report(source, watched)
            return
        if watched is not None and watched.poll.stuck:
            watched.poll.stuck = False
            log.warning("a poll that was stuck moves again", source=source, stuck_seconds=round(watched.seconds))
            self._on_change()
        if poll is None:
            self._watched.pop(source, None)
            return
        reported = watched is not None and watched.poll is poll and watched.reported
        self._watched[source] = _Watched(poll, poll.mark, reported=reported)

    def _report(self, source: str, watched: _Watched) -> None:
        """Report a stuck poll, once however often it moves again and gets stuck."""
        if watched.reported:
            return
        watched.reported = watched.poll.stuck = True
        log.error(
            "a poll is stuck: restart the agent if it does not move again, and report this line as a bug",
            source=source,
            stuck_seconds=round(watched.seconds),
            threads=stacks(),
        )
        self._on_change()


def stacks() -> Sequence[str]:
    """Return the stack of each thread, its innermost frame first; those of the pollers before all others."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = [(names.get(ident, "unknown"), frame) for ident, frame in sys._current_frames().items()]  # noqa: SLF001
    found.sort(key=lambda pair: ("poller" not in pair[0], pair[0]))
    return [f"{name}: {' < '.join(_frames(frame))}"[:MAX_CHARACTERS] for name, frame in found[:MAX_THREADS]]


def _frames(frame: FrameType | None) -> Sequence[str]:
    lines: list[str] = []
    while frame is not None and len(lines) < MAX_FRAMES:
        lines.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    return lines
