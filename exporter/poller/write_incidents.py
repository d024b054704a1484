"""Failures to write the history: published at once, counted as incidents as soon as the history can be written."""

from collections import Counter

from exporter.errors import HistoryBusy, HistoryDamaged, HistoryError, HistoryReplaced
from exporter.history.transaction import Transaction
from exporter.poller.context import PollContext

_KINDS = {HistoryBusy: "file_busy", HistoryReplaced: "file_replaced", HistoryDamaged: "file_damaged"}


class WriteIncidents:
    """The polls of one source that could not write, until they are counted in the history themselves."""

    def __init__(self, source: str, context: PollContext) -> None:
        self._source = source
        self._status = context.store.status
        self._failures = context.history.write_failures
        self._uncounted: Counter[str] = Counter()

    def failed(self, failure: HistoryError) -> None:
        """Publish a failure, and count it."""
        self._failures.failed(self._source, failure)
        self._status.set_history_error(self._source, str(failure))
        self._uncounted[_KINDS.get(type(failure), "file_unwritable")] += 1

    def write(self, transaction: Transaction) -> None:
        """Write the incidents; ``committed()`` follows the transaction."""
        for kind, count in self._uncounted.items():
            transaction.incident(kind, "polls whose rows could not be written at once", count)

    def committed(self) -> None:
        """Forget the incidents that are written."""
        self._uncounted.clear()

    def succeeded(self) -> None:
        """Publish that everything of this poll was written."""
        self._failures.succeeded(self._source)
        self._status.set_history_error(self._source, None)
