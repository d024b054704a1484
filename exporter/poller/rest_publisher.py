"""Telling how the REST API answered: pinned to the store, and said in the log when it changes."""

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
from exporter.errors import HistoryError, SourceError
from exporter.exposition.state_store import FRESHNESS_SOURCES, TimedBlocks
from exporter.history.refreshes import Read
from exporter.log_once import Outage
from exporter.metrics import Block, Labels, single
from exporter.poller.context import PollContext
from exporter.poller.rest_result import Told
from exporter.poller.runs import HISTORY, Runs
from exporter.rest.source import Rest
from exporter.status import CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()

SOURCE = "rest"
NEVER = float("inf")


class Teller:
    """Tells of one REST API; each thing is said once, until it changes."""

    def __init__(self, shared: PollContext, rest: Rest, interval: float) -> None:
        self._shared = shared
        self._rest = rest
        self._interval = interval
        self._outage = Outage()
        self._said: dict[str, str] = {}
        self._is_slow = self._no_site = self._was_silent = False

    def answered(self, now: float) -> None:
        """Say that it answered."""
        address, version = self._rest.address, self._rest.server_version
        if self._outage.is_over() or not self._shared.store.status.source(SOURCE).up:
            log.info("the REST API answers", address=address, version=version)
        status = SourceStatus(SOURCE, True, address, version, tried_at=now, answered_at=now)  # noqa: FBT003
        self._shared.store.status.set_source(status)

    def unanswered(self, refusal: SourceError, now: float) -> None:
        """Say that nothing could be had of it, once for each kind of reason."""
        write = log.error if self._outage.is_new(refusal) else log.debug
        write("the REST API does not answer", error=str(refusal))
        before = self._shared.store.status.source(SOURCE)
        self._shared.store.status.set_source(replace(before, up=False, tried_at=now, error=str(refusal)))

    def idle(self, now: float) -> None:
        """Say that nothing is asked for: everything that it could tell is switched off."""
        self._shared.store.status.set_source(replace(self._shared.store.status.source(SOURCE), tried_at=now))

    def show(
        self, told: Told, runs: Runs, refusal: SourceError | None, unwritten: HistoryError | None, now: float
    ) -> None:
        """Pin how the collectors fared, and say what is new; ``unwritten`` is why the history was not written."""
        store, seconds = self._shared.store, self._shared.clock() - now
        note = "; ".join(f"site {site}: {text}" for site, text in told.notes.items() if text)
        for name in runs.by_name:
            _fail(runs, name, told, refusal, unwritten)
        for status in runs.statuses(now):
            store.status.set_collector(replace(status, note=note or None), source=SOURCE)
        self._log_sites_in_time(told)
        if not (refusal or unwritten or told.failures):
            # What waits for one that is silent takes long as well, and shorter would help nobody.
            self._log_slow(seconds)
        rows = sum(run.rows for run in runs.by_name.values())
        error = refusal or unwritten
        if error is None and told.notes and store.status.first_success(SOURCE):
            sites = len(told.notes)
            log.info("first poll finished", source=SOURCE, sites=sites, assets=rows, seconds=round(seconds, 1))
        store.status.add_poll(PollStatus(now, seconds, SOURCE, rows, 0, str(error) if error else None))
        self._show_token(now)

    def show_sources(self, read_at: Read, now: float) -> None:
        """Publish when each source of freshness was last read whole."""
        keys = sorted(read_at)
        labels = Labels(FRESHNESS_SOURCE_LAST_SUCCESS.labels, tuple(zip(*keys, strict=True)) or ([], []))
        instants = [read_at[key].replace(tzinfo=UTC).timestamp() for key in keys]
        block = Block(FRESHNESS_SOURCE_LAST_SUCCESS, labels, instants)
        self._shared.store.set_state(FRESHNESS_SOURCES, TimedBlocks((block,), now, NEVER))

    def defect(self, error: str, names: Iterable[str], now: float) -> None:
        """Say that a poll ended for a reason that no source is to blame for."""
        for name in names:
            status = CollectorStatus(name, success=False, duration_seconds=0.0, succeeded_at=None, error=error)
            self._shared.store.status.set_collector(status, source=SOURCE)
        self.idle(now)
        self._shared.store.status.add_poll(PollStatus(now, 0.0, SOURCE, 0, 0, error))

    def _show_token(self, now: float) -> None:
        life = self._rest.token
        accepted = None if life.accepted is None else int(life.accepted)
        blocks = (
            single(REST_TOKEN_ACCEPTED, accepted),
            single(REST_SIGN_INS, life.sign_ins),
            single(REST_SESSIONS_LOST, life.lost),
            single(REST_COLLISIONS, life.collisions),
        )
        self._shared.store.set_state(SOURCE, TimedBlocks(blocks, now, NEVER))

    def _log_sites_in_time(self, told: Told) -> None:
        """Log what sites lack, but not of the first poll in which a request had no answer.

        Where an outage began or ended in its midst, that has its own line; what is always silent is so in the next.
        """
        if self._rest.silent and not self._was_silent:
            self._was_silent = True
            log.debug("the REST API was silent during a poll", error="; ".join([*told.failures, *told.notes.values()]))
            return
        self._was_silent = self._rest.silent
        self._log_sites(told)

    def _log_sites(self, told: Told) -> None:
        """Log the sites that failed; where all of them did, that is one thing."""
        if told.failures and not told.notes:
            if not self._no_site:
                log.warning("no site was read", sites=len(told.failures), error=told.failures[0])
            self._no_site = True
            return
        if told.notes and self._no_site:
            log.info("sites are read again", sites=len(told.notes))
            self._no_site = False
        for failure in told.failures:
            self._say(failure.split(":", 1)[0], failure, "a site is left as it was")
        for site, text in told.notes.items():
            self._say(f"site {site}", text and f"site {site}: {text}", "the APIs of a site tell less than they could")

    def _log_slow(self, seconds: float) -> None:
        """Log polls that take too long when that begins, and when it ends: how long each takes is another matter."""
        is_slow = seconds > self._interval
        if is_slow and not self._is_slow:
            message = "a poll takes longer than rest.poll_interval: make it longer, or name fewer rest.sites"
            log.warning(message, seconds=round(seconds, 1))
        elif self._is_slow and not is_slow:
            log.info("a poll ends within rest.poll_interval again", seconds=round(seconds, 1))
        self._is_slow = is_slow

    def _say(self, about: str, text: str, message: str) -> None:
        if text and text != self._said.get(about):
            log.warning(message, error=text)
        elif not text and self._said.get(about):
            log.info("the APIs tell everything again", about=about)
        self._said[about] = text


def _fail(runs: Runs, name: str, told: Told, refusal: SourceError | None, unwritten: HistoryError | None) -> None:
    """Note why a collector failed, if it did: with its source, by the sites it lacks, or with the history."""
    if refusal:
        runs.fail(name, str(refusal), SOURCE)
    elif told.failures:
        runs.fail(name, "; ".join(told.failures))
    elif unwritten:
        runs.fail(name, str(unwritten), HISTORY)
