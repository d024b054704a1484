"""The processes of a cluster of Tableau Server, as its ``systeminfo.xml`` lists them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessState:
    """A process of a node; ``status`` is Tableau's own word, the numbers are transfers of a file store.

    ``port`` is empty where Tableau names none. What it does not report is None.
    """

    node: str
    process: str
    port: str
    status: str | None
    pending_transfers: int | None = None
    failed_transfers: int | None = None


@dataclass(frozen=True)
class SystemInfo:
    """Every process, as often as it is listed; ``service`` is the status of the server as a whole, None if unknown."""

    processes: Sequence[ProcessState]
    service: str | None
