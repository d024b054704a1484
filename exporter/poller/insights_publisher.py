"""Publishes what a read of Admin Insights did: source and collectors, in the store and in the log."""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from exporter.history.insights import SOURCE
from exporter.log_once import LogOnce
from exporter.poller.context import PollContext
from exporter.status import CollectorStatus

log = structlog.get_logger()

FAULT, NOTE = "fault", "note"


class InsightsPublisher:
    """Publishes the results of each poll; each fault is logged once, until it changes."""

    def __init__(self, context: PollContext) -> None:
        self._status = context.store.status
        self._faults = LogOnce()

    def note_renumbered(self, site: str) -> None:
        """Log that a site's events came under new numbers."""
        log.info("Admin Insights was provisioned anew; events that are known stay as they are", site=site)

    def note_unusable(self, site: str) -> None:
        """Log that a site's events have no key."""
        if self._faults.is_new(f"events of {site}"):
            log.warning("TS Events of Admin Insights has no Event Id and Event Date", site=site)

    def publish(
        self, names: Iterable[str], now: float, *, answered: bool | None, error: str | None, note: str | None
    ) -> None:
        """Publish whether the source answered, None where it was not queried; and what is missing."""
        status = replace(self._status.source(SOURCE), tried_at=now)
        if answered:
            status = replace(status, up=True, answered_at=now, error=None)
        elif answered is False:
            status = replace(status, up=False, error=error)
        self._status.set_source(status)
        for name in names:
            succeeded_at = None if error else now
            collector = CollectorStatus(name, error is None, 0.0, succeeded_at, 0, error, note)
            self._status.set_collector(collector, source=SOURCE)
        self._log(error, note)
        self._status.set_poll_ended(SOURCE)

    def _log(self, error: str | None, note: str | None) -> None:
        if error is None:
            if self._faults.is_over(FAULT):
                log.info("Admin Insights is read again")
        elif self._faults.is_new(FAULT, error):
            log.warning("Admin Insights was not read", error=error)
        if note is None:
            self._faults.is_over(NOTE)
        elif self._faults.is_new(NOTE):
            log.info("Admin Insights is read in part", note=note)
