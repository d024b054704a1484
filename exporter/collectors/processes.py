"""Processes of a cluster of Tableau Server, the server as a whole and its file stores, from ``systeminfo.xml``."""

import re
from collections.abc import Iterable, Mapping, Sequence

from exporter.collector import Collector
from exporter.inventory import ProcessState, SystemInfo
from exporter.metrics import Block, Family, Labels, single

SOURCE = "REST: admin/systeminfo.xml"
Process = tuple[str, str, str]
"""Node, name and port: several processes of one name may run on a node."""

UP = frozenset({"active", "passive", "busy", "read_only", "active_syncing"})
# The two misspelt words are Tableau's.
STATUSES = UP | {
    "unlicensed",
    "down",
    "status_not_available",
    "status_not_available_syncing",
    "not_available",
    "decommisioned_read_only",
    "decomisioning_read_only",
    "decommission_failed_read_only",
}
OTHER = "other"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")

PROCESS_UP = Family(
    "tableau_server_process_up",
    "gauge",
    "Whether the process of the node runs, absent if its status is not a known one; from the REST API at every poll.",
    ("node", "process", "port"),
    SOURCE,
)
PROCESS_STATUS = Family(
    "tableau_server_process_status",
    "gauge",
    "The present status of the process of the node, 1 for this one alone; from the REST API at every poll.",
    ("node", "process", "port", "status"),
    SOURCE,
)
HEALTHY = Family(
    "tableau_server_healthy",
    "gauge",
    "Whether Tableau reports the server as a whole as running; from the REST API at every poll.",
    (),
    SOURCE,
)
TRANSFERS = Family(
    "tableau_server_filestore_transfers",
    "gauge",
    "File transfers of the file store of the node, by state; from the REST API at every poll.",
    ("node", "port", "state"),
    SOURCE,
)


def status_of(word: str | None) -> str | None:
    """Return a status in lower case with underscores; ``other`` for an unknown word, None where there is none."""
    if not word:
        return None
    status = _WORDS.sub("_", word.strip()).lower()
    return status if status in STATUSES else OTHER


def is_up(status: str | None) -> int | None:
    """Return whether a process of a status runs; None where that is unknown."""
    return None if status in {None, OTHER} else int(status in UP)


def expose(info: SystemInfo) -> Sequence[Block]:
    """Publish the status of each process; of one that is listed twice the worst."""
    statuses = _statuses(info.processes)
    labels = Labels(PROCESS_UP.labels, _columns(statuses, 3))
    return (
        Block(PROCESS_UP, labels, [is_up(status) for status in statuses.values()]),
        Block(PROCESS_STATUS, labels.extended(("status",), [list(statuses.values())]), [1] * len(statuses)),
        single(HEALTHY, is_up(status_of(info.service))),
        _transfers(info.processes),
    )


def _statuses(processes: Iterable[ProcessState]) -> Mapping[Process, str]:
    """Return the known status of each process."""
    found: dict[Process, str] = {}
    for each in processes:
        key, status = (each.node, each.process, each.port), status_of(each.status)
        if status is not None and (key not in found or _badness(status) > _badness(found[key])):
            found[key] = status
    return found


def _badness(status: str) -> int:
    return (1, None, 0).index(is_up(status))


def _transfers(processes: Iterable[ProcessState]) -> Block:
    found: dict[tuple[str, str, str], int] = {}
    for each in processes:
        for state, count in (("pending", each.pending_transfers), ("failed", each.failed_transfers)):
            if count is not None:
                key = (each.node, each.port, state)
                found[key] = max(count, found.get(key, 0))
    return Block(TRANSFERS, Labels(TRANSFERS.labels, _columns(found, 3)), list(found.values()))


def _columns(keys: Iterable[tuple[str, ...]], count: int) -> Sequence[Sequence[str]]:
    return list(zip(*keys, strict=True)) or [()] * count


COLLECTOR = Collector(
    "processes",
    "Processes of the cluster of Tableau Server, of systeminfo.xml.",
    expose_system_info=expose,
    families=(PROCESS_UP, PROCESS_STATUS, HEALTHY, TRANSFERS),
)
