"""Telling how the REST API answered: pinned to the board, and said in the log when it changes."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC

import structlog

from exporter.agent_families import (
    FRESHNESS_SOURCE_LAST_SUCCESS,
    REST_COLLISIONS,
    REST_SESSIONS_LOST,
    REST_SIGN_INS,
    REST_TOKEN_ACCEPTED,
)
from exporter.exposition.board import FRESHNESS_SOURCES, Shown
from exporter.history.refreshes import Read
from exporter.metrics import Block, Labels, single
from exporter.poller.runs import Runs
from exporter.poller.shared import Shared
from exporter.poller.told import Told
from exporter.rest.source import Rest
from exporter.status import CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()

SOURCE = "rest"
NEVER = float("inf")


class Teller:
    """Tells of one REST API; each thing is said once, until it changes."""

    def __init__(self, shared: Shared, rest: Rest, interval: float) -> None:
        self._shared = shared
        self._rest = rest
        self._interval = interval
        self._said: dict[str, str] = {}

    def answered(self, now: float) -> None:
        """Say that it answered."""
        address, version = self._rest.address, self._rest.server_version
        if not self._shared.board.source(SOURCE).up:
            log.info("the REST API answers", address=address, version=version)
        status = SourceStatus(SOURCE, True, address, version, tried_at=now, answered_at=now)  # noqa: FBT003
        self._shared.board.pin_source(status)

    def unanswered(self, error: str, now: float) -> None:
        """Say that nothing could be had of it."""
        before = self._shared.board.source(SOURCE)
        if before.error != error:
            log.error("the REST API does not answer", error=error)
        self._shared.board.pin_source(replace(before, up=False, tried_at=now, error=error))

    def idle(self, now: float) -> None:
        """Say that nothing is asked for: everything that it could tell is switched off."""
        self._shared.board.pin_source(replace(self._shared.board.source(SOURCE), tried_at=now))

    def show(self, told: Told, runs: Runs, error: str | None, unwritten: str | None, now: float) -> None:
        """Pin how the collectors fared, and say what is new; ``unwritten`` is why the history was not written."""
        board, seconds = self._shared.board, self._shared.clock() - now
        failed = "; ".join([error] if error else told.failures) or unwritten
        note = "; ".join(f"site {site}: {text}" for site, text in told.notes.items() if text)
        for name in runs.by_name:
            if failed:
                runs.fail(name, failed)
        for status in runs.statuses(now):
            board.pin_collector(replace(status, note=note or None), source=SOURCE)
        for failure in told.failures:
            self._say(failure.split(":", 1)[0], failure, "a site is left as it was")
        for site, text in told.notes.items():
            self._say(f"site {site}", text and f"site {site}: {text}", "the APIs of a site tell less than they could")
        slow = f"{seconds:.0f} s" if seconds > self._interval else ""
        self._say(SOURCE, slow, "a poll takes longer than rest.poll_interval: make it longer, or name fewer rest.sites")
        rows = sum(run.rows for run in runs.by_name.values())
        board.pin_poll(PollStatus(now, seconds, SOURCE, rows, 0, error or unwritten))
        self._show_token(now)

    def show_sources(self, read_at: Read, now: float) -> None:
        """Publish when each source of freshness was last read whole."""
        keys = sorted(read_at)
        labels = Labels(FRESHNESS_SOURCE_LAST_SUCCESS.labels, tuple(zip(*keys, strict=True)) or ([], []))
        instants = [read_at[key].replace(tzinfo=UTC).timestamp() for key in keys]
        block = Block(FRESHNESS_SOURCE_LAST_SUCCESS, labels, instants)
        self._shared.board.pin_state(FRESHNESS_SOURCES, Shown((block,), now, NEVER))

    def defect(self, error: str, names: Iterable[str], now: float) -> None:
        """Say that a poll ended for a reason that no source is to blame for."""
        for name in names:
            status = CollectorStatus(name, success=False, duration_seconds=0.0, succeeded_at=None, error=error)
            self._shared.board.pin_collector(status, source=SOURCE)
        self.idle(now)
        self._shared.board.pin_poll(PollStatus(now, 0.0, SOURCE, 0, 0, error))

    def _show_token(self, now: float) -> None:
        life = self._rest.token
        accepted = None if life.accepted is None else int(life.accepted)
        blocks = (
            single(REST_TOKEN_ACCEPTED, accepted),
            single(REST_SIGN_INS, life.sign_ins),
            single(REST_SESSIONS_LOST, life.lost),
            single(REST_COLLISIONS, life.collisions),
        )
        self._shared.board.pin_state(SOURCE, Shown(blocks, now, NEVER))

    def _say(self, about: str, text: str, message: str) -> None:
        if text and text != self._said.get(about):
            log.warning(message, error=text)
        elif not text and self._said.get(about):
            log.info("the APIs tell everything again, and in time", about=about)
        self._said[about] = text
