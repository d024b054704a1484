"""The demo's scenario: a simulated Server (repository, APIs) or Cloud (APIs), and the agent's configuration for it."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import yaml

from exporter.demo.company import Company
from exporter.demo.simulation import Simulation, utc_now
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import ActivityStory, whole_hour
from exporter.demo.tableau.admin_insights import AdminInsights
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.demo.tableau.cluster import Trouble
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.memory_estate import LiveCompany
from exporter.demo.tableau.server import TableauServer

# One personal access token carries one session: the agent has one, visitors have another.
AGENT, VISITOR = "exporter", "visitor"
# How far the Activity Log goes back, and how long after an event it is there.
LOGGED, DELAY = timedelta(days=7), timedelta(seconds=20)
# How far Admin Insights goes back: as far as its queries of the first hour, from the oldest of 90 days on, find events.
INSIGHTS = timedelta(days=45)


@dataclass(frozen=True)
class Simulated:
    """What runs; ``repository`` is None on Cloud, ``manager`` on Server. ``tokens`` are personal access tokens by name.

    ``fix`` makes the broken refresh of a LUID succeed; false where none was broken.
    """

    company: Company
    tableau: TableauServer
    tokens: Mapping[str, str]
    fix: Callable[[str], bool]
    repository: Simulation | None = None
    manager: CloudManager | None = None


@contextmanager
def server() -> Iterator[Simulated]:
    """Simulate Tableau Server: its live repository, and its APIs, which report its rows."""
    with Simulation() as simulation:
        estate = Estate.reading(simulation.parameters(), simulation.version)
        tokens = _tokens()
        living = simulation.live()
        try:
            with TableauServer(estate, tokens=tokens, version=simulation.version) as tableau:
                tableau.cluster.trouble = Trouble()
                yield Simulated(simulation.company, tableau, tokens, living.fix, simulation)
        finally:
            living.stop()


@contextmanager
def cloud() -> Iterator[Simulated]:
    """Simulate Tableau Cloud: a company in memory, its APIs, and its Tableau Cloud Manager with some days of events."""
    company = Company.build(1, utc_now())
    tokens = _tokens()
    life = LiveCompany(company, Random(), utc_now)
    begin = whole_hour(company.now)
    story = ActivityStory(company, live_since=begin, new_jobs=life.new_jobs)
    files = ActivityFiles(story, begin - LOGGED, utc_now, live_since=begin, delay=DELAY)
    insights = AdminInsights(company, story, utc_now, INSIGHTS)
    with (
        TableauServer(Estate(life.facts), tokens=tokens, cloud=True, insights=insights) as tableau,
        CloudManager(files, token=secrets.token_urlsafe(32)) as manager,
    ):
        yield Simulated(company, tableau, tokens, life.fix, manager=manager)


def _tokens() -> dict[str, str]:
    return {name: secrets.token_urlsafe(32) for name in (AGENT, VISITOR)}


def write_configuration(
    simulated: Simulated, folder: Path, port: int, token: str, alertmanagers: Sequence[str] = ()
) -> Path:
    """Write the configuration of an agent that signs in with a token, and return its path.

    ``alertmanagers`` are the addresses of those that it notifies itself.
    """
    configuration: dict[str, object] = {}
    if simulated.repository is not None:
        configuration["repository"] = _repository(simulated.repository, folder)
    configuration |= {
        "rest": {
            "url": simulated.tableau.url,
            **_sites(simulated),
            "token_name": token,
            "token_value_file": str(_secret(folder / f"token-{token}", simulated.tokens[token])),
            "poll_interval": "10s",
            "system_info": simulated.repository is not None,
            "admin_insights": simulated.repository is None,
        },
        "history": {"path": str(folder / "history.duckdb")},
        "collectors": {"views": True},
        "web": {"listen_address": f"127.0.0.1:{port}"},
    }
    if simulated.manager is not None:
        configuration["activity_log"] = _activity_log(simulated.manager, folder)
    if alertmanagers:
        configuration["alertmanager"] = {"urls": list(alertmanagers)}
    path = folder / f"{token}.yml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False))
    return path


def _sites(simulated: Simulated) -> dict[str, object]:
    """Name the sites of Tableau Cloud, where they cannot be listed."""
    if simulated.repository is not None:
        return {}
    return {"sites": [site.url or "default" for site in simulated.tableau.facts()]}


def _repository(simulation: Simulation, folder: Path) -> dict[str, object]:
    return {
        "hosts": [f"{simulation.host}:{simulation.port}"],
        "database": simulation.database,
        "password_file": str(_secret(folder / "password", simulation.passwords["readonly"])),
        "sslmode": "disable",
        "poll_interval": "5s",
        "exact_interval": "30s",
    }


def _activity_log(manager: CloudManager, folder: Path) -> dict[str, object]:
    return {
        "url": manager.url,
        "token_value_file": str(_secret(folder / "token-tenant", manager.token)),
        "poll_interval": "10s",
        "duration_unit": "ms",
    }


def _secret(path: Path, value: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(value)
    return path
