"""What the pollers of all sources share: one history, one board, and the states that more than one of them tells of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from exporter.collector import Collector, Promises
from exporter.exposition.board import Board
from exporter.history.history import History
from exporter.poller.assembling import Assembly, StateKey


def nothing_promised(_asset: Mapping[str, object]) -> tuple[None, None]:
    """Promise nothing of any asset."""
    return None, None


def unheard() -> None:
    """Tell nobody that something changed."""


@dataclass(frozen=True)
class Shared:
    """``clock`` gives Unix seconds; ``on_change`` is called when there is something new to show."""

    history: History
    collectors: Mapping[str, Collector]
    board: Board
    clock: Callable[[], float]
    promises: Promises = nothing_promised
    assemblies: Mapping[StateKey, Assembly] = field(default_factory=dict)
    on_change: Callable[[], None] = unheard
