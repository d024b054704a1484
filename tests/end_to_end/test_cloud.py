"""The agent on Tableau Cloud, and on both sources at once: every asset once, and no failure ends or fools it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import tableauserverclient as tsc

from exporter.demo.simulation import Simulation
from exporter.demo.tableau import large
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from tests.end_to_end.scrapes import by_labels
from tests.support.agent_process import Agent

WORKBOOKS, DATASOURCES, FLOWS, SITES = 1250, 400, 30, 3
NAME, VALUE = next(iter(TOKENS.items()))
HOURS = "tableau_asset_hours_since_refresh"


@pytest.fixture(scope="module")
def built_at() -> datetime:
    """Return when the estate was as it is: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


@pytest.fixture(scope="module")
def server(built_at: datetime) -> Iterator[TableauServer]:
    """Return a simulated Tableau Cloud with three sites."""
    estate = Estate.large(WORKBOOKS, DATASOURCES, flows=FLOWS, sites=SITES, now=built_at)
    with TableauServer(estate) as running:
        yield running


@pytest.fixture
def agent(server: TableauServer, tmp_path: Path) -> Iterator[Agent]:
    """Return an agent that has the REST API alone."""
    with cloud_agent(server, tmp_path) as running:
        yield running
    server.failure_modes.reset()


def cloud_agent(server: TableauServer, folder: Path, repository: dict[str, str | int] | None = None) -> Agent:
    """Return an agent that polls the REST API every second."""
    rest = {"REST__URL": server.url, "REST__TOKEN_NAME": NAME, "REST__TOKEN_VALUE": VALUE, "REST__POLL_INTERVAL": "1s"}
    return Agent(folder, repository, **rest)


def succeeded(agent: Agent) -> bool:
    """Whether the last poll of the assets succeeded."""
    return agent.value("tableau_collector_success", collector="assets") == 1


def identities(agent: Agent) -> dict[tuple[str, str], str]:
    """Return how each published asset is connected, by type and LUID; each is published once."""
    found = [
        (labels["asset_type"], labels["asset_id"], labels.get("connection", ""))
        for (_, pairs), _ in agent.metrics("tableau_asset_info").items()
        for labels in [dict(pairs)]
    ]
    assert len({each[:2] for each in found}) == len(found)
    return {(kind, luid): connection for kind, luid, connection in found}


def pages_in_tableau(agent: Agent) -> list[str]:
    """Return where the first page of the table of assets leads to in Tableau."""
    page = httpx.get(f"{agent.url}/assets?rows=25").text
    return re.findall(r'<a class="open" href="([^"]*)" rel="noreferrer"', page)


def counted(server: TableauServer) -> set[tuple[str, str]]:
    """Return the type and LUID of everything that a plain loop over tableauserverclient's pages finds."""
    found = set()
    client = tsc.Server(server.url, use_server_version=False)
    client.version = "3.26"
    for number in range(SITES):
        site = "" if number == 0 else f"site{number}"
        with client.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=site)):
            found |= {("workbook", str(item.id)) for item in tsc.Pager(client.workbooks)}
            found |= {("datasource", str(item.id)) for item in tsc.Pager(client.datasources)}
            found |= {("flow", str(item.id)) for item in tsc.Pager(client.flows)}
    return found


def test_every_asset_once_and_right(server: TableauServer, built_at: datetime, agent: Agent) -> None:
    """Every asset is published once; hours are those of the extract, and live ones have none."""
    agent.until(lambda: succeeded(agent), "a poll")
    assert agent.value("tableau_up", source="rest") == 1
    published = identities(agent)
    assert len(published) == WORKBOOKS + DATASOURCES + FLOWS
    hours = {luid: value for (luid,), value in by_labels(agent.metrics(HOURS), HOURS, "asset_id").items()}
    age = (datetime.now(UTC).replace(tzinfo=None) - built_at) / timedelta(hours=1)
    judged = 0
    for number in range(WORKBOOKS):
        luid = large.luid(large.WORKBOOKS, number)
        if number % 10 in large.OWN:
            refreshed = large.refreshed_at(large.WORKBOOKS, number, built_at)
            assert hours[luid] == pytest.approx((built_at - refreshed) / timedelta(hours=1) + age, abs=0.1)
            judged += 1
    for number in range(DATASOURCES):
        if number % 10 < 8:
            refreshed = large.refreshed_at(large.DATASOURCES, number, built_at)
            expected = (built_at - refreshed) / timedelta(hours=1) + age
            assert hours[large.luid(large.DATASOURCES, number)] == pytest.approx(expected, abs=0.1)
            judged += 1
    assert judged == 750 + 320
    agent.until(lambda: len(pages_in_tableau(agent)) == 25, "links to Tableau")
    assert all(re.fullmatch(rf"{server.url}/#/(site/site\d/)?\w+s/\d+", link) for link in pages_in_tableau(agent))
    live = {luid for (_, luid), connection in published.items() if connection == "live"}
    assert len(live) > 100
    assert not live & hours.keys()
    assert agent.stop() == 0
    assert published.keys() == counted(server)


def test_traps_while_it_runs(server: TableauServer, agent: Agent) -> None:
    """With any answer of Tableau the agent stays up, logs one line, retains its state, and recovers."""
    agent.until(lambda: succeeded(agent), "a poll")
    before = identities(agent).keys()
    for name in ("html_login_page", "truncated", "short_page", "no_total", "emptied"):
        setattr(server.failure_modes, name, {"workbooks", "datasources"})
        agent.until(lambda: not succeeded(agent), name)
        assert identities(agent).keys() <= before, name
        server.failure_modes.reset()
        agent.until(lambda: succeeded(agent), f"recovery from {name}")
        assert identities(agent).keys() == before, name
    assert agent.stop() == 0
    assert "Traceback" not in agent.logged()


def test_both_sources(repository: Simulation, tmp_path: Path) -> None:
    """Repository and API report the same: each asset is one, with the freshness of the repository."""
    with (
        TableauServer(Estate.of(repository.company)) as tableau,
        cloud_agent(tableau, tmp_path, repository.parameters()) as agent,
    ):
        agent.until(lambda: agent.value("tableau_up", source="rest") == 1, "the API answers")
        agent.polled()
        agent.until(lambda: succeeded(agent), "both sources succeed")
        sources: dict[tuple[str, ...], float] = {}

        def repository_is_shown() -> bool:
            # On a busy machine the repository's last rows are soon older than three polls, and not published.
            sources.clear()
            sources.update(by_labels(agent.metrics("tableau_asset_info"), "tableau_asset_info", "freshness_source"))
            return ("repository",) in sources

        agent.until(repository_is_shown, "the repository's word is shown")
        assert identities(agent)
        assert ("metadata",) not in sources
        assert agent.stop() == 0
