"""Scrapes by the thousand while the repository is stopped: each is answered, and memory stays where it is."""

import gzip
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from exporter.demo.simulation import Simulation
from tests.exposition.parsed import Read, read_openmetrics, read_text
from tests.support.agent_process import Agent
from tests.support.soak import times
from tests.support.wait import PATIENCE_SECONDS

# The first scrapes bring what is needed once: connections, caches, the peak of a rendering.
WARM, SCRAPES = times(100, 1_000), times(500, 10_000)
# A hundredth of what as many answers together have, and more than what malloc keeps by chance.
MAY_GROW_BYTES = 16_000_000
PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
KINDS = [
    {"Accept": accept, "Accept-Encoding": coding}
    for accept in ("text/plain", PROMETHEUS)
    for coding in ("gzip", "identity")
]


@pytest.fixture
def agent(restartable: Simulation, agents: Callable[..., Agent]) -> Iterator[Agent]:
    """An agent that has polled, and whose repository was stopped since."""
    made = agents(restartable.parameters()).start()
    made.polled()
    restartable.postgres.stop()
    made.until(lambda: made.value("tableau_up", source="repository") == 0, "the outage is seen")
    yield made
    restartable.postgres.start()


def resident(agent: Agent) -> int:
    """Return how many bytes of memory the agent has now."""
    lines = Path(f"/proc/{agent.process.pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def scraped(client: httpx.Client, url: str, kind: dict[str, str]) -> str:
    """Scrape once, and undo the compression ourselves."""
    with client.stream("GET", f"{url}/metrics", headers=kind, timeout=PATIENCE_SECONDS) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.status_code == httpx.codes.OK
    assert ("gzip" in kind["Accept-Encoding"]) is (answer.headers.get("Content-Encoding") == "gzip")
    assert int(answer.headers["Content-Length"]) == len(body)
    plain = (gzip.decompress(body) if "Content-Encoding" in answer.headers else body).decode()
    assert plain.endswith("# EOF\n") is ("openmetrics" in answer.headers["Content-Type"])
    assert '\ntableau_up{source="repository"} 0\n' in plain
    return plain


def read(plain: str) -> Read:
    """Parse an answer as Prometheus would."""
    return (read_openmetrics if plain.endswith("# EOF\n") else read_text)(plain.encode())


@pytest.mark.timeout(3600)
def test_no_scrape_fails_and_memory_stays_flat(agent: Agent) -> None:
    """Of all forms in turn, none is refused or cut; the counters of before the outage are in the first and the last."""
    kinds = cycle(KINDS)
    with httpx.Client() as client:
        before = [scraped(client, agent.url, kind) for kind in KINDS]
        for _ in range(WARM):
            scraped(client, agent.url, next(kinds))
        warm = resident(agent)
        for _ in range(SCRAPES - WARM):
            scraped(client, agent.url, next(kinds))
        grown = resident(agent) - warm
        after = [scraped(client, agent.url, kind) for kind in KINDS]
    figures = f"{SCRAPES} scrapes: {warm / 1e6:.0f} MB after {WARM}, {grown / 1e6:+.1f} MB at the end"
    print(figures)  # noqa: T201 - what the long run is for
    assert grown < MAY_GROW_BYTES, figures
    for first, last in zip(map(read, before), map(read, after), strict=True):
        assert first["tableau_http_requests"][2] == last["tableau_http_requests"][2] != {}
