"""What keeps the history from being written: said once for each reason, counted as soon as it can be written down."""

from collections import Counter

import structlog

from exporter.errors import HistoryBusy, HistoryDamaged, HistoryError, HistoryReplaced
from exporter.history.writer import Writer

log = structlog.get_logger()

_KINDS = {HistoryBusy: "file_busy", HistoryReplaced: "file_replaced", HistoryDamaged: "file_damaged"}


class Notices:
    """The failures of one source's polls to write, until they are written down themselves."""

    def __init__(self, consequence: str) -> None:
        self._message = f"the history was not written; {consequence}"
        self._counted: Counter[str] = Counter()
        self._said: str | None = None

    def notice(self, failure: HistoryError) -> None:
        """Count a failure, and say it unless it was the last thing said."""
        if self._said != str(failure):
            log.warning(self._message, error=str(failure))
        self._said = str(failure)
        self._counted[_KINDS.get(type(failure), "file_unwritable")] += 1

    def write(self, writer: Writer) -> None:
        """Write down what was counted; ``written()`` follows when that is committed."""
        for kind, count in self._counted.items():
            writer.incident(kind, "polls whose rows could not be written at once", count)

    def written(self) -> None:
        """Forget what is written down."""
        self._counted.clear()

    def well(self) -> None:
        """Say that all is well again: the same failure is news from now on."""
        self._said = None
