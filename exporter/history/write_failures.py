"""Failures to write the history, by whichever thread: logged once while they last, and once when they are over."""

import structlog

from exporter.errors import HistoryError
from exporter.log_once import Outage

log = structlog.get_logger()


class WriteFailures:
    """Every writer of one history reports to it how its last transaction ended."""

    def __init__(self) -> None:
        self._outage = Outage()

    def failed(self, writer: str, failure: HistoryError) -> None:
        """Report that a writer could not write."""
        if self._outage.is_new(failure, writer):
            log.warning("the history was not written; rows wait at their source until it is", error=str(failure))

    def succeeded(self, writer: str) -> None:
        """Report that a writer has written all that it had."""
        if self._outage.is_over(writer):
            log.info("the history is written again")
