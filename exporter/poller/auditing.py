"""The audit of what is shown: written by whichever source was polled, once every source has been tried."""

from exporter.history.writer import Writer
from exporter.poller.shared import Shared


def audit(shared: Shared, writer: Writer, now: float) -> None:
    """Write what the assets of all sources are found to be now (Unix seconds)."""
    # What only one of two sources knows would be a change as soon as the other has answered.
    if not shared.board.tried():
        return
    for (name, index), assembly in shared.assemblies.items():
        judge, rows = shared.collectors[name].states[index].judge, assembly.rows(now)
        if judge is not None and rows is not None:
            writer.audit(judge(rows, shared.promises, now))
