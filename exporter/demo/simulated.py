"""What the demo watches: a simulated Server (a repository and a REST API), or a simulated Cloud (a REST API alone)."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from exporter.demo.company import Company
from exporter.demo.simulation import Simulation, utc_now
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.life import Life
from exporter.demo.tableau.server import TableauServer

# One personal access token carries one session: the agent has one, and whoever looks has another.
AGENT, VISITOR = "exporter", "visitor"


@dataclass(frozen=True)
class Simulated:
    """What runs; ``repository`` is None on Cloud. ``tokens`` are the personal access tokens by name.

    ``mend`` has a broken refresh succeed, of the content with a LUID; false where none was broken.
    """

    company: Company
    tableau: TableauServer
    tokens: Mapping[str, str]
    mend: Callable[[str], bool]
    repository: Simulation | None = None


@contextmanager
def server() -> Iterator[Simulated]:
    """Simulate Tableau Server: its living repository, and its APIs, which tell what the repository has."""
    with Simulation() as simulation:
        estate = Estate.reading(simulation.parameters(), simulation.version)
        tokens = _tokens()
        living = simulation.live()
        try:
            with TableauServer(estate, tokens=tokens, version=simulation.version) as tableau:
                yield Simulated(simulation.company, tableau, tokens, living.mend, simulation)
        finally:
            living.stop()


@contextmanager
def cloud() -> Iterator[Simulated]:
    """Simulate Tableau Cloud: a company that lives in memory, and the APIs that tell of it."""
    company = Company.build(1, utc_now())
    tokens = _tokens()
    life = Life(company, Random(), utc_now)
    with TableauServer(Estate(life.facts), tokens=tokens, cloud=True) as tableau:
        yield Simulated(company, tableau, tokens, life.mend)


def _tokens() -> dict[str, str]:
    return {name: secrets.token_urlsafe(32) for name in (AGENT, VISITOR)}
