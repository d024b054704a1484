"""What keeps the history from being written: reported at once, counted as soon as it can be written down."""

from collections import Counter

from exporter.errors import HistoryBusy, HistoryDamaged, HistoryError, HistoryReplaced
from exporter.history.writer import Writer
from exporter.poller.context import PollContext

_KINDS = {HistoryBusy: "file_busy", HistoryReplaced: "file_replaced", HistoryDamaged: "file_damaged"}


class Notices:
    """The failures of one source's polls to write, until they are written down themselves."""

    def __init__(self, source: str, shared: PollContext) -> None:
        self._source = source
        self._store = shared.store
        self._failures = shared.history.write_failures
        self._counted: Counter[str] = Counter()

    def notice(self, failure: HistoryError) -> None:
        """Report a failure, and count it."""
        self._failures.failed(self._source, failure)
        self._store.status.set_history_error(self._source, str(failure))
        self._counted[_KINDS.get(type(failure), "file_unwritable")] += 1

    def write(self, writer: Writer) -> None:
        """Write down what was counted; ``written()`` follows when that is committed."""
        for kind, count in self._counted.items():
            writer.incident(kind, "polls whose rows could not be written at once", count)

    def written(self) -> None:
        """Forget what is written down."""
        self._counted.clear()

    def well(self) -> None:
        """Report that everything of this poll was written."""
        self._failures.succeeded(self._source)
        self._store.status.set_history_error(self._source, None)
