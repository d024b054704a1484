"""What the history holds, pinned to the board; nothing of it while somebody else holds the file from the start."""

from collections.abc import Iterable

from exporter.agent_families import HISTORY_ROWS, INCIDENTS, POSSIBLY_LOST
from exporter.exposition.archived import archived_blocks
from exporter.history.history import History
from exporter.metrics import Block
from exporter.poller.shared import Shared
from exporter.status import ArchiveStatus


def show_archive(shared: Shared, more: Iterable[Block] = ()) -> None:
    """Pin what the file holds, and more that is known of its source."""
    history = shared.history
    if history.known:
        blocks = archived_blocks(history.totals, shared.collectors, history.file.bytes)
        shared.board.pin_archive([*blocks, *more], archive_status(history))


def archive_status(history: History) -> ArchiveStatus:
    """Return where the history stands."""
    totals, file = history.totals, history.file
    position = history.positions.get("http_requests")
    return ArchiveStatus(
        str(file.path),
        file.bytes,
        int(totals.counter(HISTORY_ROWS.name, "http_requests")),
        totals.open_requests,
        totals.marks.get("oldest"),
        totals.marks.get("newest"),
        position.horizon if position else None,
        int(totals.counter(POSSIBLY_LOST.name)),
        tuple((labels[0], int(count)) for labels, count in totals.counters.get(INCIDENTS.name, ())),
    )
