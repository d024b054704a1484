"""The cluster of the simulated Tableau Server, and its ``systeminfo.xml``: no part of the REST API, and not on Cloud.

The trouble of the demo comes and goes by the clock: a process that is down, a node that is gone, a server
that is down, an expired licence.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from exporter.demo.tableau import xml_writer

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
REFUSAL = f"{HEAD}<error><code>1</code><summary>Not authorized</summary></error>".encode()
HEALTHY, DOWN, UNLICENSED = "Active", "Down", "Unlicensed"


@dataclass(frozen=True)
class Process:
    """A process of a node; ``more`` are further attributes."""

    node: str
    name: str
    port: int
    status: str | None = HEALTHY
    more: tuple[tuple[str, object], ...] = ()


TRANSFERS = (("pendingTransfers", 3), ("failedTransfers", 0), ("syncTimestamp", "2026-11-30T20:30:48.564Z"))
NODES = ("node1", "node2", "node3")
PROCESSES = (
    Process("node1", "gateway", 80),
    Process("node1", "repository", 8060, more=(("preferred", "false"),)),
    Process("node1", "vizportal", 8600),
    Process("node1", "vizqlserver", 9100),
    Process("node1", "vizqlserver", 9101, "Busy"),
    Process("node1", "filestore", 9345, more=TRANSFERS),
    Process("node2", "repository", 8060, "Passive", (("preferred", "false"),)),
    Process("node2", "vizqlserver", 9100),
    Process("node2", "backgrounder", 8250, "Busy"),
    Process("node2", "backgrounder", 8251),
    Process("node2", "filestore", 9345, "ReadOnly", (("pendingTransfers", 0), ("failedTransfers", 1))),
    Process("node3", "backgrounder", 8250),
    Process("node3", "dataserver", 9700),
)


@dataclass
class Cluster:
    """What systeminfo.xml lists; a test may set it at any time."""

    processes: tuple[Process, ...] = PROCESSES
    service: str | None = HEALTHY
    trouble: "Trouble | None" = None

    def set_status(self, status: str | None, *, name: str | None = None, port: int | None = None) -> None:
        """Give the processes of a name and a port a status; None is every one."""
        self.processes = tuple(
            replace(each, status=status) if name in {None, each.name} and port in {None, each.port} else each
            for each in self.processes
        )

    def document(self, *, unknown: bool = False, doubled: bool = False) -> bytes:
        """Write systeminfo.xml, with processes that are ``unknown`` or ``doubled`` if so wished."""
        processes, service = self.processes, self.service
        if self.trouble is not None:
            processes, service = self.trouble.of(processes, service)
        return document(odd(processes, unknown=unknown, doubled=doubled), service)


@dataclass(frozen=True)
class Trouble:
    """What happens in a demo, again and again; ``clock`` is in seconds."""

    clock: Callable[[], float] = time.monotonic
    begun_at: float = field(default_factory=time.monotonic)
    seconds: float = 60.0
    """How long each trouble lasts; as long a calm follows."""

    def of(self, processes: Iterable[Process], service: str | None) -> tuple[tuple[Process, ...], str | None]:
        """Return the processes and the service as they are now."""
        phase = int((self.clock() - self.begun_at) / self.seconds) % 8
        if phase == 1:
            return tuple(replace(each, status=DOWN) if each.port == 8251 else each for each in processes), service
        if phase == 3:
            return tuple(each for each in processes if each.node != NODES[-1]), service
        if phase == 5:
            return tuple(replace(each, status=DOWN) if each.name == "gateway" else each for each in processes), DOWN
        if phase == 7:
            return tuple(replace(each, status=UNLICENSED) for each in processes), UNLICENSED
        return tuple(processes), service


def document(processes: Iterable[Process], service: str | None) -> bytes:
    """Write systeminfo.xml of these."""
    nodes: dict[str, list[Process]] = {}
    for each in processes:
        nodes.setdefault(each.node, []).append(each)
    machines = "".join(xml_writer.element("machine", {"name": node}, *_elements(of)) for node, of in nodes.items())
    inside = xml_writer.element("machines", {}, machines), xml_writer.element("service", {"status": service})
    return (HEAD + xml_writer.element("systeminfo", {}, *inside)).encode()


def odd(processes: Iterable[Process], *, unknown: bool, doubled: bool) -> Iterator[Process]:
    """Yield the processes, and those that are odd: of unknown names and words, or listed twice."""
    *_, last = known = tuple(processes)
    yield from known
    if unknown:
        yield Process(last.node, "quantumserver", 7000, "Entangled")
        yield Process(last.node, "quantumserver", 7001, None)
    if doubled:
        yield replace(last, status=DOWN)


def _elements(processes: Iterable[Process]) -> Iterator[str]:
    for each in processes:
        attributes = {"worker": f"{each.node}:{each.port}", "status": each.status, **dict(each.more)}
        yield xml_writer.element(each.name, attributes)
