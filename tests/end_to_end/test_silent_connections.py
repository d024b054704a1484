"""Clients that connect and send nothing: the whole program, on a host that lets it open few files."""

import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from exporter.demo.simulation import Simulation
from tests.support.agent_process import Agent
from tests.web.test_connections import is_open

SILENT = 300


@pytest.mark.attack("silence")
def test_silent_connections_stop_nothing(repository: Simulation, agents: Callable[..., Agent]) -> None:
    """With 256 descriptors and 300 silent connections pages are answered, polls archive, and little is logged."""
    agent = agents(repository.parameters())
    agent.module = "tests.support.few_open_files"
    agent.start()
    agent.polled()
    address = httpx.URL(agent.url)
    before = len(agent.logged().splitlines())
    with ExitStack() as silent:
        clients = [silent.enter_context(socket.create_connection((address.host, address.port))) for _ in range(SILENT)]
        assert httpx.get(agent.url).status_code == 200
        assert sum(map(is_open, clients)) <= 128
        assert limit(agent) == 256
        assert sockets(agent) <= 128 + 10, "places, and the program's own"
        agent.polled(2)
        assert httpx.get(f"{agent.url}/usage").status_code == 200
    assert len(agent.logged().splitlines()) - before <= 5
    assert "too many connections" in agent.logged()
    assert agent.stop() == 0


def limit(agent: Agent) -> int:
    """Return how many files the process may open."""
    text = Path(f"/proc/{agent.process.pid}/limits").read_text()
    (soft,) = re.findall(r"^Max open files +(\d+)", text, re.MULTILINE)
    return int(soft)


def sockets(agent: Agent) -> int:
    """Return how many sockets the process has open."""
    opened = Path(f"/proc/{agent.process.pid}/fd").iterdir()
    return sum(str(path.readlink()).startswith("socket:") for path in opened if path.is_symlink())
