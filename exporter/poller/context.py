"""What the pollers of all sources share, and the steps that each of them does at the end of a poll."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.collector import Collector, State, StateKey
from exporter.errors import HistoryBusy, HistoryDamaged, HistoryError, HistoryReplaced
from exporter.exposition.history_metrics import archived_blocks
from exporter.exposition.state_store import StateStore
from exporter.freshness import SlaLookup
from exporter.history.history import History
from exporter.history.tables import REQUESTS
from exporter.history.transaction import Transaction
from exporter.metrics import Block
from exporter.pagedata.query_results import PageAnswers
from exporter.poller.merged_state import MergedState
from exporter.self_metrics import HISTORY_ROWS, INCIDENTS, POSSIBLY_LOST
from exporter.status import ArchiveStatus

_FAILURE_KINDS = {HistoryBusy: "file_busy", HistoryReplaced: "file_replaced", HistoryDamaged: "file_damaged"}


def no_sla(_asset: Mapping[str, object]) -> tuple[None, None]:
    """Return no SLA for any asset."""
    return None, None


@dataclass(frozen=True)
class PollContext:
    """``clock`` gives Unix seconds; ``on_change`` is called when there is something new to publish."""

    history: History
    collectors: Mapping[str, Collector]
    store: StateStore
    clock: Callable[[], float]
    sla: SlaLookup = no_sla
    merged_states: Mapping[StateKey, MergedState] = field(default_factory=dict)
    on_change: Callable[[], None] = lambda: None
    answers: PageAnswers = field(default_factory=PageAnswers)
    timezone: str = "UTC"
    """The IANA name of the time zone of sites whose own is unknown."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set at a reload and at the end: the loops end, and a long read ends at its next batch or request."""
    ending: threading.Event = field(default_factory=threading.Event)
    """Set at the end of the agent, before ``stopped``."""

    def state(self, key: StateKey) -> State:
        """Return a state of a collector."""
        return self.collectors[key[0]].states[key[1]]


class WriteIncidents:
    """The polls of one source that could not write: published at once, counted when the history can be written."""

    def __init__(self, source: str, context: PollContext) -> None:
        self._source = source
        self._status = context.store.status
        self._failures = context.history.write_failures
        self._uncounted: Counter[str] = Counter()

    def failed(self, failure: HistoryError) -> None:
        """Publish a failure, and count it."""
        self._failures.failed(self._source, failure)
        self._status.set_history_error(self._source, str(failure))
        self._uncounted[_FAILURE_KINDS.get(type(failure), "file_unwritable")] += 1

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


def publish_archive(context: PollContext, more: Iterable[Block] = ()) -> None:
    """Publish the metrics of the history, and more about its source; nothing before the file was read once."""
    history = context.history
    if history.known:
        blocks = archived_blocks(history.totals, context.collectors, history.file.bytes)
        context.store.set_archive([*blocks, *more], _archive_status(history))


def audit_assets(context: PollContext, transaction: Transaction, now: float) -> None:
    """Write the freshness of the assets of all sources to the audit table, and their sizes (Unix seconds)."""
    # An asset that only one of two sources knows would be a change as soon as the other source answers.
    if not context.store.status.all_tried():
        return
    for key, merged in context.merged_states.items():
        to_audit, rows = context.state(key).audit, merged.rows(now)
        if to_audit is not None and rows is not None:
            transaction.audit(to_audit(rows, context.sla, now))
            merged.set_usual(transaction.note_sizes(rows), now)


def _archive_status(history: History) -> ArchiveStatus:
    totals, file = history.totals, history.file
    position = history.positions.get(REQUESTS)
    return ArchiveStatus(
        str(file.path),
        file.bytes,
        int(totals.counter(HISTORY_ROWS.name, REQUESTS)),
        totals.open_requests,
        totals.marks.get("oldest"),
        totals.marks.get("newest"),
        position.horizon if position else None,
        int(totals.counter(POSSIBLY_LOST.name)),
        tuple((labels[0], int(count)) for labels, count in totals.counters.get(INCIDENTS.name, ())),
    )
