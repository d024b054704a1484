"""Publishes the results of a poll of the REST and Metadata APIs: source, collectors and token."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC

import structlog

from exporter.errors import HistoryError, SourceError
from exporter.exposition.state_store import FRESHNESS_SOURCES, TimedBlocks
from exporter.history.refreshes import Read
from exporter.log_once import LogOnce, Outage
from exporter.metrics import Block, Labels, single
from exporter.poller.context import PollContext
from exporter.poller.rest_result import RestPollResult
from exporter.poller.runs import HISTORY, Runs
from exporter.rest.client import RestClient
from exporter.self_metrics import (
    FRESHNESS_SOURCE_LAST_SUCCESS,
    REST_COLLISIONS,
    REST_SESSIONS_LOST,
    REST_SIGN_INS,
    REST_TOKEN_ACCEPTED,
)
from exporter.status import CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()

SOURCE = "rest"
SLOW, ALL_SITES, TIMEOUTS = "slow", "all sites", "timeouts"


class RestPublisher:
    """Publishes the results of the REST API's polls; each fault is logged once, until it changes."""

    def __init__(self, context: PollContext, rest: RestClient, interval: float) -> None:
        self._context = context
        self._status = context.store.status
        self._rest = rest
        self._interval = interval
        self._outage = Outage()
        self._faults = LogOnce()

    def source_up(self, now: float) -> None:
        """Publish that the API is up."""
        address, version = self._rest.address, self._rest.server_version
        if self._outage.is_over() or not self._status.source(SOURCE).up:
            log.info("the REST API is up", address=address, version=version)
        status = SourceStatus(SOURCE, True, address, version, tried_at=now, answered_at=now)  # noqa: FBT003
        self._status.set_source(status)

    def source_down(self, failure: SourceError, now: float) -> None:
        """Publish that the API is down; logged once for each kind of error."""
        write = log.error if self._outage.is_new(failure) else log.debug
        write("the REST API is down", error=str(failure))
        before = self._status.source(SOURCE)
        self._status.set_source(replace(before, up=False, tried_at=now, error=str(failure)))

    def idle(self, now: float) -> None:
        """Publish that nothing is read: every collector of this source is disabled."""
        self._status.set_source(replace(self._status.source(SOURCE), tried_at=now))

    def publish(
        self,
        result: RestPollResult,
        runs: Runs,
        refusal: SourceError | None,
        unwritten: HistoryError | None,
        now: float,
    ) -> None:
        """Publish the results of the collectors; ``unwritten`` is why the history was not written."""
        seconds = self._context.clock() - now
        note = "; ".join(f"site {site}: {text}" for site, text in result.notes.items() if text)
        for name in runs.by_name:
            _fail(runs, name, result, refusal, unwritten)
        for status in runs.statuses(now):
            self._status.set_collector(replace(status, note=note or None), source=SOURCE)
        self._log_sites_in_time(result)
        if not (refusal or unwritten or result.failures):
            # A poll with timeouts takes long as well, and a longer interval would not help.
            self._log_slow(seconds)
        rows = sum(run.rows for run in runs.by_name.values())
        error = refusal or unwritten
        if error is None and result.notes and self._status.first_success(SOURCE):
            sites = len(result.notes)
            log.info("first poll finished", source=SOURCE, sites=sites, assets=rows, seconds=round(seconds, 1))
        self._status.add_poll(PollStatus(now, seconds, SOURCE, rows, 0, str(error) if error else None))
        self._publish_token(now)

    def publish_sources(self, read_at: Read, now: float) -> None:
        """Publish when each freshness source was last read completely."""
        keys = sorted(read_at)
        labels = Labels(FRESHNESS_SOURCE_LAST_SUCCESS.labels, tuple(zip(*keys, strict=True)) or ([], []))
        instants = [read_at[key].replace(tzinfo=UTC).timestamp() for key in keys]
        block = Block(FRESHNESS_SOURCE_LAST_SUCCESS, labels, instants)
        self._context.store.set_state(FRESHNESS_SOURCES, TimedBlocks((block,), now))

    def publish_bug(self, error: str, names: Iterable[str], now: float) -> None:
        """Publish that a poll ended with an unexpected error, which is no source's fault."""
        for name in names:
            status = CollectorStatus(name, success=False, duration_seconds=0.0, succeeded_at=None, error=error)
            self._status.set_collector(status, source=SOURCE)
        self.idle(now)
        self._status.add_poll(PollStatus(now, 0.0, SOURCE, 0, 0, error))

    def _publish_token(self, now: float) -> None:
        stats = self._rest.token_stats
        accepted = None if stats.accepted is None else int(stats.accepted)
        blocks = (
            single(REST_TOKEN_ACCEPTED, accepted),
            single(REST_SIGN_INS, stats.sign_ins),
            single(REST_SESSIONS_LOST, stats.lost),
            single(REST_COLLISIONS, stats.collisions),
        )
        self._context.store.set_state(SOURCE, TimedBlocks(blocks, now))

    def _log_sites_in_time(self, result: RestPollResult) -> None:
        """Log the faults of sites, but not of the first poll in which a request timed out.

        An outage that began or ended during that poll has its own line; a site that always times out does so again.
        """
        if not self._rest.silent:
            self._faults.is_over(TIMEOUTS)
        elif self._faults.is_new(TIMEOUTS):
            error = "; ".join([*result.failures, *result.notes.values()])
            log.debug("requests of the REST API timed out during a poll", error=error)
            return
        self._log_sites(result)

    def _log_sites(self, result: RestPollResult) -> None:
        """Log the sites that failed; where all of them did, that is one fault."""
        if result.failures and not result.notes:
            if self._faults.is_new(ALL_SITES):
                log.warning("no site was read", sites=len(result.failures), error=result.failures[0])
            return
        if result.notes and self._faults.is_over(ALL_SITES):
            log.info("sites are read again", sites=len(result.notes))
        for failure in result.failures:
            self._log_site(failure.split(":", 1)[0], failure, "site not read; its previous rows stay")
        for site, text in result.notes.items():
            self._log_site(f"site {site}", text and f"site {site}: {text}", "site read incompletely")

    def _log_slow(self, seconds: float) -> None:
        """Log that polls take too long when that begins and when it ends, not how long each of them takes."""
        if seconds > self._interval:
            if self._faults.is_new(SLOW):
                message = "a poll lasts longer than rest.poll_interval: make it longer, or name fewer rest.sites"
                log.warning(message, seconds=round(seconds, 1))
        elif self._faults.is_over(SLOW):
            log.info("a poll ends within rest.poll_interval again", seconds=round(seconds, 1))

    def _log_site(self, site: str, error: str, message: str) -> None:
        if not error:
            if self._faults.is_over(site):
                log.info("site read completely again", site=site.removeprefix("site "))
        elif self._faults.is_new(site, error):
            log.warning(message, error=error)


def _fail(
    runs: Runs, name: str, result: RestPollResult, refusal: SourceError | None, unwritten: HistoryError | None
) -> None:
    """Set the failure of a collector, if it has one: with its source, with some sites, or with the history."""
    if refusal:
        runs.fail(name, str(refusal), SOURCE)
    elif result.failures:
        runs.fail(name, "; ".join(result.failures))
    elif unwritten:
        runs.fail(name, str(unwritten), HISTORY)
