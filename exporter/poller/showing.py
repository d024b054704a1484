"""Showing what a poll learned: source, collectors, states and history, pinned to the board and told to the log."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC

import pyarrow as pa
import structlog

from exporter.agent_families import (
    EXACT_INTERVAL,
    HISTORY_ROWS,
    INCIDENTS,
    POSSIBLY_LOST,
    READING_SECONDS,
    REPOSITORY_BYTES,
    REPOSITORY_OLDEST,
)
from exporter.collector import Collector, Context, Promises
from exporter.errors import SourceError
from exporter.exposition.archived import MODES, active_blocks, archived_blocks
from exporter.exposition.board import STALE_AFTER_INTERVALS, Board, Shown
from exporter.history.history import History
from exporter.metrics import Block, Labels, single
from exporter.poller.runs import Runs
from exporter.poller.taking import Knowledge, StateKey, Taken
from exporter.status import ArchiveStatus, CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()


class Shower:
    """Pins the results of the repository's polls to the board."""

    def __init__(
        self,
        board: Board,
        history: History,
        collectors: Mapping[str, Collector],
        promises: Promises,
        *,
        poll_interval: float,
        exact_interval: float,
    ) -> None:
        self._board = board
        self._history = history
        self._collectors = collectors
        self._promises = promises
        # An exact reading comes with the first poll after its interval has passed.
        self._lifetimes = {
            "poll": STALE_AFTER_INTERVALS * poll_interval,
            "exact": STALE_AFTER_INTERVALS * max(exact_interval, poll_interval),
        }
        self._said: dict[str, str | None] = {}
        self._repository_oldest: float | None = None
        self._repository_bytes: int | None = None
        self._reading_seconds: dict[str, float] = {}
        self.exact_interval = exact_interval
        """The seconds from one exact reading of requests to the next, as they are kept now."""

    def answered(self, taken: Taken, now: float) -> None:
        """Say that the source answered."""
        before = self._board.source("repository")
        if not before.up:
            log.info("the repository answers", address=taken.address, version=taken.server_version)
        status = SourceStatus("repository", True, taken.address, taken.server_version, tried_at=now, answered_at=now)  # noqa: FBT003
        self._board.pin_source(status)

    def unanswered(self, failure: SourceError, now: float) -> None:
        """Say that the source did not answer, once for each reason."""
        before = self._board.source("repository")
        if before.error != str(failure):
            log.error("the repository does not answer", error=str(failure))
        self._board.pin_source(replace(before, up=False, tried_at=now, error=str(failure)))

    def show_states(self, taken: Taken, known: Knowledge, learned: Mapping[StateKey, pa.Table], now: float) -> None:
        """Show the source and its states while the first poll is still at work."""
        before = self._board.source("repository")
        self._board.pin_source(replace(before, up=True, address=taken.address, server_version=taken.server_version))
        for key, rows in taken.states.items():
            self._show_state(key, rows, Context(known.sites, self._promises, learned.get(key)), now, taken.runs)

    def show(
        self,
        taken: Taken,
        known: Knowledge,
        learned: Mapping[StateKey, pa.Table],
        now: float,
        seconds: float,
        error: str | None,
    ) -> None:
        """Pin what this poll learned."""
        if taken.oldest_at is not None:
            self._repository_oldest = taken.oldest_at.replace(tzinfo=UTC).timestamp()
        if taken.table_bytes is not None:
            self._repository_bytes = taken.table_bytes
        for key, rows in taken.states.items():
            self._show_state(key, rows, Context(known.sites, self._promises, learned.get(key)), now, taken.runs)
        self._show_requests_of(known, now, taken.runs)
        for status in taken.runs.statuses(now):
            lacks = taken.lacks.get(status.name, ())
            self._board.pin_collector(replace(status, note="lacks " + ", ".join(lacks) if lacks else None), lacks)
            self._say(status)
        polls = [pending for pending in taken.tables if pending.events.keeps_open]
        for pending in polls:
            self._reading_seconds[pending.mode] = pending.seconds
            self._board.pin_poll(PollStatus(now, seconds, pending.mode, pending.read, pending.new, error))
        if not polls and error:
            self._board.pin_poll(PollStatus(now, seconds, "none", 0, 0, error))
        self.show_history()

    def show_history(self) -> None:
        """Show what the file holds; nothing of it while somebody else holds the file from the start."""
        if not self._history.known:
            return
        blocks = list(archived_blocks(self._history.totals, self._collectors, self._history.file.bytes))
        blocks += [
            single(REPOSITORY_OLDEST, self._repository_oldest),
            single(REPOSITORY_BYTES, self._repository_bytes),
            single(EXACT_INTERVAL, self.exact_interval),
            Block(
                READING_SECONDS, Labels(("mode",), [list(MODES)]), [self._reading_seconds.get(mode) for mode in MODES]
            ),
        ]
        self._board.pin_archive(blocks, self._archive_status())

    def show_defect(self, error: str, now: float) -> None:
        """Say that a poll ended for a reason that no source is to blame for."""
        for name in self._collectors:
            self._board.pin_collector(
                CollectorStatus(name, success=False, duration_seconds=0.0, succeeded_at=None, error=error)
            )
        self._board.pin_source(replace(self._board.source("repository"), tried_at=now))
        self._board.pin_poll(PollStatus(now, 0.0, "none", 0, 0, error))

    def _show_state(self, key: StateKey, rows: pa.Table, context: Context, now: float, runs: Runs) -> None:
        state = self._collectors[key[0]].states[key[1]]
        with runs.timed(key[0]):
            blocks = tuple(state.expose(rows, context))
        self._board.pin_state(f"{key[0]}/{key[1]}", Shown(blocks, now, self._lifetimes[state.every]))

    def _show_requests_of(self, known: Knowledge, now: float, runs: Runs) -> None:
        """Show what is made of the requests archived by this poll: the people of the trailing windows, the views."""
        requests = runs.by_name.get("http_requests")
        error = requests.error if requests else "requests are not archived: switch http_requests on"
        for name, collector in self._collectors.items():
            if not collector.from_requests:
                continue
            if error:
                runs.fail(name, error)
                continue
            with runs.timed(name) as run:
                if name == "active_users":
                    run.rows = len(self._history.totals.seen.people)
                    blocks = tuple(active_blocks(self._history.totals, known.present_sites))
                    self._board.pin_state(name, Shown(blocks, now, self._lifetimes["poll"]))

    def _archive_status(self) -> ArchiveStatus:
        totals, file = self._history.totals, self._history.file
        position = self._history.positions.get("http_requests")
        return ArchiveStatus(
            str(file.path),
            file.bytes,
            int(totals.counter(HISTORY_ROWS.name, "http_requests")),
            totals.open_requests,
            totals.marks.get("oldest"),
            totals.marks.get("newest"),
            position.horizon if position else None,
            int(totals.counter(POSSIBLY_LOST.name)),
            tuple((labels[0], int(count)) for labels, count in totals.counters.get(INCIDENTS.name, ())),
        )

    def _say(self, status: CollectorStatus) -> None:
        """Log a collector's failure when it begins or changes, and its end."""
        before = self._said.get(status.name)
        if status.error and status.error != before:
            log.warning("a collector failed", collector=status.name, error=status.error)
        elif before and not status.error:
            log.info("a collector works again", collector=status.name)
        self._said[status.name] = status.error
