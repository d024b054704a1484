"""Reads systeminfo.xml after the sites at each poll of the REST API; its failure is that of its collectors alone."""

import time

import structlog

from exporter.errors import PollInterrupted, SourceError
from exporter.exposition.state_store import STALE_AFTER_INTERVALS, TimedBlocks
from exporter.log_once import LogOnce
from exporter.poller.context import PollContext
from exporter.rest.client import RestClient
from exporter.status import CollectorStatus

log = structlog.get_logger()

SOURCE = "rest"
FAULT = "fault"


class SystemInfoPoller:
    """Publishes what collectors make of it; what was read last stands until it is too old."""

    def __init__(self, context: PollContext, rest: RestClient, interval: float) -> None:
        self._context = context
        self._rest = rest
        self._interval = interval
        self._faults = LogOnce()
        collectors = context.collectors.items()
        self.hooks = {name: each.expose_system_info for name, each in collectors if each.expose_system_info}

    def poll(self, now: float, refusal: SourceError | None) -> None:
        """Read and publish it; ``refusal`` is why the REST API was not read (Unix seconds)."""
        if not self.hooks:
            return
        if refusal is not None:
            self._publish(0, 0.0, str(refusal), causes=(SOURCE,))
            return
        begun = time.monotonic()
        try:
            info = self._rest.system_info()
        except PollInterrupted:
            return
        except SourceError as error:
            self._log(str(error))
            self._publish(0, time.monotonic() - begun, str(error))
            return
        self._log(None)
        # The next answer comes an interval after this one, and as long as a poll takes.
        read_at = self._context.clock()
        lifetime = STALE_AFTER_INTERVALS * self._interval + max(read_at - now, 0.0)
        for name, expose in self.hooks.items():
            self._context.store.set_state(name, TimedBlocks(tuple(expose(info)), read_at, lifetime))
        self._publish(len(info.processes), time.monotonic() - begun, None)

    def _publish(self, rows: int, seconds: float, error: str | None, causes: tuple[str, ...] = ()) -> None:
        succeeded_at = None if error else self._context.clock()
        for name in self.hooks:
            status = CollectorStatus(name, error is None, seconds, succeeded_at, rows, error, causes=causes)
            self._context.store.status.set_collector(status, source=SOURCE)

    def _log(self, error: str | None) -> None:
        if error is None:
            if self._faults.is_over(FAULT):
                log.info("systeminfo.xml is read again")
        elif self._faults.is_new(FAULT, error):
            log.warning("systeminfo.xml was not read", error=error)
