"""Publishes what a poll of the Activity Log did: source, collectors and history, in the store and in the log."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC

import structlog

from exporter.activity_log.client import ActivityLogClient
from exporter.activity_log.files import CloudSite
from exporter.collectors.activity_log import NEWEST
from exporter.errors import HistoryError, SourceError
from exporter.exposition.state_store import STALE_AFTER_INTERVALS, TimedBlocks
from exporter.history import activity
from exporter.history.activity import SOURCE, mark_name
from exporter.log_once import LogOnce, Outage
from exporter.poller.activity_archiver import MODE, Archived
from exporter.poller.context import PollContext, publish_archive
from exporter.poller.runs import HISTORY
from exporter.status import CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()

NOTHING = "no file of events was ever listed: the Activity Log is not in this edition, or nothing has happened yet"


class ActivityPublisher:
    """Publishes the results of the Activity Log's polls; each fault is logged once, until it changes."""

    def __init__(self, context: PollContext, client: ActivityLogClient, interval: float) -> None:
        self._context = context
        self._interval = interval
        self._sites: Mapping[str, str] = {}
        self._status = context.store.status
        self._client = client
        self._outage = Outage()
        self._faults = LogOnce()

    @property
    def sites(self) -> Mapping[int, str]:
        """The labels of the sites by their numbers."""
        return {activity.site_id(luid): name for luid, name in self._sites.items()}

    def set_sites(self, sites: Sequence[CloudSite]) -> None:
        """Set the sites that are read."""
        self._sites = {site.luid: site.name for site in sites}

    def source_up(self, now: float) -> None:
        """Publish that Tableau Cloud Manager answers."""
        address = self._client.address
        if self._outage.is_over() or not self._status.source(SOURCE).up:
            log.info("the Activity Log is up", address=address)
        self._status.set_source(SourceStatus(SOURCE, True, address, tried_at=now, answered_at=now))  # noqa: FBT003

    def source_down(self, failure: SourceError, now: float) -> None:
        """Publish that it does not; logged once for each kind of error."""
        write = log.error if self._outage.is_new(failure) else log.debug
        write("the Activity Log is down", error=str(failure))
        before = self._status.source(SOURCE)
        self._status.set_source(replace(before, up=False, tried_at=now, error=str(failure)))

    def publish(
        self,
        results: Mapping[str, Archived],
        notes: Sequence[str],
        refusal: SourceError | None,
        unwritten: HistoryError | None,
        now: float,
    ) -> None:
        """Publish the results of a poll that has ended."""
        failures = [f"site {site}: {found.error}" for site, found in results.items() if found.error]
        error = str(refusal or unwritten or "") or "; ".join(failures) or None
        cause = SOURCE if refusal else HISTORY if unwritten else None
        notes = [*notes, *([NOTHING] if not error and self._has_nothing() else [])]
        self._set_collectors(results, error, cause, "; ".join(notes) or None, now)
        self._log_sites(results, notes)
        read, new = (sum(getattr(found, name) for found in results.values()) for name in ("lines", "new"))
        seconds = self._context.clock() - now
        self._status.add_poll(PollStatus(now, seconds, MODE, read, new, error))
        self.publish_history(now)
        if error is None and self._status.first_success(SOURCE):
            log.info("first poll finished", source=SOURCE, events=new, seconds=round(seconds, 1))

    def publish_history(self, now: float) -> None:
        """Publish the metrics of the history, unless the poller of the repository does."""
        if self._status.has_source("repository"):
            return
        publish_archive(self._context)
        lifetime = STALE_AFTER_INTERVALS * self._interval + max(self._context.clock() - now, 0.0)
        for name, collector in self._context.collectors.items():
            if collector.expose_last_seen and (known_until := self._known_until()):
                seen = self._context.history.totals.seen
                blocks = tuple(collector.expose_last_seen(seen, list(known_until), known_until))
                self._context.store.set_state(name, TimedBlocks(blocks, now, lifetime))

    def _known_until(self) -> Mapping[str, float]:
        """Return until when each site's events are archived: its list was read, and others are no newer."""
        history = self._context.history
        marks = (history.totals.marks.get(mark_name(NEWEST.name, site), 0.0) for site in self._sites.values())
        newest = max(marks, default=0.0)
        known = {}
        for luid, site in self._sites.items():
            position = history.positions.get(activity.position_name(luid))
            if position and (until := activity.listed_until(position)):
                known[site] = min(newest, until.replace(tzinfo=UTC).timestamp())
        return known

    def publish_bug(self, error: str, now: float) -> None:
        """Publish that a poll ended with an unexpected error, which is no source's fault."""
        self._set_collectors({}, error, None, None, now)
        self._status.set_source(replace(self._status.source(SOURCE), tried_at=now))
        self._status.add_poll(PollStatus(now, 0.0, MODE, 0, 0, error))

    def _set_collectors(
        self, results: Mapping[str, Archived], error: str | None, cause: str | None, note: str | None, now: float
    ) -> None:
        seconds, rows = self._context.clock() - now, sum(found.lines for found in results.values())
        for name, collector in self._context.collectors.items():
            if collector.from_activity_log:
                status = CollectorStatus(
                    name,
                    error is None,
                    seconds,
                    None if error else now,
                    rows,
                    error,
                    note,
                    causes=(cause,) if cause else (),
                )
                self._status.set_collector(status, source=SOURCE)

    def _has_nothing(self) -> bool:
        """Whether the history has no event of any site."""
        return not any(name.startswith("tableau_activity_log") for name in self._context.history.totals.marks)

    def _log_sites(self, results: Mapping[str, Archived], notes: Sequence[str]) -> None:
        for site, found in results.items():
            if found.error is None:
                if self._faults.is_over(site):
                    log.info("site read completely again", site=site)
            elif self._faults.is_new(site, found.error):
                log.warning("site not read completely; the next poll reads the rest", site=site, error=found.error)
            if found.rejected:
                log.warning("lines that are no events were kept aside", site=site, lines=found.rejected)
        for note in notes:
            if self._faults.is_new(note):
                log.warning("the Activity Log is read incompletely", note=note)
