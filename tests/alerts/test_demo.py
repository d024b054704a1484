"""The rules on the simulated Tableau's metrics: a real agent, scraped by a real Prometheus that evaluates them."""

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from exporter.collectors.assets.sizes import MIN_REFRESHES
from exporter.demo.backgrounder import Backgrounder
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.refreshing import resized
from exporter.demo.rows import RepositoryTables
from exporter.demo.simulation import Simulation, utc_now
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.repository.connection import connect
from tests.alerts.promql import read
from tests.alerts.shipped_rules import ALERTS, EVERY, RECORDS, RULES, identified
from tests.support.agent_process import Agent
from tests.support.prometheus import run_prometheus
from tests.support.tenant import activity_files, activity_log_settings
from tests.support.wait import until

PATIENCE_SECONDS = 90.0
# Has which refreshes are suspended.
VERSION = "2021.2"
NAME, VALUE = next(iter(TOKENS.items()))
# What the simulated company has at any hour.
ALWAYS = {
    ("TableauAssetStale", "critical"),
    ("TableauAssetStaleBeforeUse", "critical"),
    ("TableauAssetShrank", "warning"),
    ("TableauAssetRefreshSuspended", "warning"),
    ("TableauAssetRefreshFailing", "warning"),
    ("TableauCollectorColumnMissing", "info"),
    ("TableauTokenExpiring", "warning"),
    ("TableauContentOwnerUnlicensed", "info"),
}
# Families that it never has, nor may have.
NEVER = {
    "TableauExporterDown",
    "TableauRepositoryUnreachable",
    "TableauRestUnreachable",
    "TableauRestTokenRefused",
    "TableauCollectorFailing",
    "TableauPollStuck",
    "TableauConfigReloadFailed",
    "TableauExporterCertificateExpiring",
    "TableauSeriesDropped",
    "TableauExportFailing",
    "TableauArchiveLagging",
    "TableauArchivePurgeRisk",
    "TableauArchiveRequestsPossiblyLost",
    "TableauHistoryFileBusy",
    "TableauHistoryIncident",
    "TableauFreshnessSourceSilent",
    "TableauTrafficLow",
    "TableauActivityLogUnreachable",
    "TableauAdminInsightsUnreachable",
    "TableauActivityLogLagging",
    "TableauAdminInsightsLagging",
    "TableauActivityLogRetentionNear",
    "TableauBridgeSilent",
    "TableauServerProcessDown",
    "TableauServerNodeGone",
    "TableauServerDegraded",
    "TableauServerUnlicensed",
    "TableauServerDiskSpaceLow",
    "TableauServerDiskFullSoon",
}
# Beside a repository Admin Insights is not read: tests/poller/test_insights_poller.py has the families of its alerts.
OF_INSIGHTS = {"tableau_admin_insights_refresh_timestamp_seconds"}
CONFIGURATION = """\
global: {{scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
- job_name: tableau
  scheme: https
  tls_config: {{ca_file: {authority}}}
  static_configs: [{{targets: ["{target}"]}}]
"""


@dataclass(frozen=True)
class ScrapedAgent:
    """An agent that polled, and the Prometheus that watches it."""

    agent: Agent
    prometheus: str

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        """Query Prometheus' API; None while it does not answer."""
        try:
            with urllib.request.urlopen(
                f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
            ) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition."""
        until(condition, lambda: what, pause_seconds=0.2)

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule as Prometheus evaluated it last; none before it did."""
        answer = self.ask("rules")
        rules = [rule for group in (answer or {"groups": []})["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    def raised(self) -> set[tuple[str, str]]:
        """Return name and severity of each alert whose expression is true now, pending or firing."""
        return {(rule["name"], rule["labels"]["severity"]) for rule in self.rules() if rule.get("alerts")}


def shrink(simulation: Simulation, agent: Agent) -> None:
    """Refresh an extract until its usual size is known, and once more: a tenth of it is left."""
    backgrounder = Backgrounder(simulation.company, Random(1))
    luid = str(resized(simulation.company.assets)["luid"])
    shares = [*[1.0] * MIN_REFRESHES, 0.1]
    with connect(simulation.admin()) as connection:
        tables = RepositoryTables(connection, VERSION)
        for number, share in enumerate(shares):
            # Refreshes within a minute are one.
            now = utc_now() - timedelta(minutes=2 * (len(shares) - number))
            backgrounder.refresh(tables, luid, now, share)
            backgrounder.work(tables, now + timedelta(minutes=1))
            agent.polled_somehow(2)


@pytest.fixture(scope="module")
def watched(postgres18: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScrapedAgent]:
    """An agent on all of a company's sources, scraped by a Prometheus with the shipped rules."""
    folder = tmp_path_factory.mktemp("alerts")
    simulation = Simulation(
        postgres=postgres18, database="alerts", version=VERSION, scale=SMALL, days=30, requests_per_day=100
    )
    rest = {"REST__TOKEN_NAME": NAME, "REST__TOKEN_VALUE": VALUE, "REST__POLL_INTERVAL": "1s"}
    rest["REST__SYSTEM_INFO"] = "true"
    # The address has no listener.
    rest["ALERTMANAGER__URLS"] = "http://127.0.0.1:9"
    rest["EXPORTS"] = f"[{{format: csv, table: logins, output: {folder / 'exported'}, every: 1h}}]"
    with simulation, TableauServer(Estate.of(simulation.company)) as server, ExitStack() as stack:
        manager = stack.enter_context(CloudManager(activity_files(simulation)))
        settings = rest | activity_log_settings(manager)
        agent = Agent(folder, simulation.parameters(), REST__URL=server.url, **settings)
        authority = agent.certify()
        stack.enter_context(agent)
        # A table that may not be read any more.
        with connect(simulation.admin()) as connection:
            connection.execute(b"REVOKE SELECT ON domains FROM readonly")
        agent.polled(2)
        agent.until(lambda: agent.value("tableau_rest_token_accepted") == 1, "the REST API is polled")
        text = CONFIGURATION.format(rules=RULES, authority=authority, target=agent.url.removeprefix("https://"))
        shrink(simulation, agent)
        yield ScrapedAgent(agent, stack.enter_context(run_prometheus(folder, text)))


def test_what_is_wrong_in_the_demo_is_raised(watched: ScrapedAgent) -> None:
    """Stale, failing and suspended assets and a revoked right are alerts; healthy ones are none."""
    watched.until(lambda: watched.raised() >= ALWAYS, f"raised: {watched.raised()}")
    assert {name for name, _ in watched.raised()} & NEVER == set()


def test_every_rule_is_evaluated(watched: ScrapedAgent) -> None:
    """Prometheus evaluates every rule on the demo's metrics without a fault: each match has one partner."""
    watched.until(watched.rules, "every rule was evaluated")
    watched.until(lambda: watched.raised() >= ALWAYS, "assets were there meanwhile")
    assert len(watched.rules()) == len(EVERY)
    assert {rule["name"]: rule["lastError"] for rule in watched.rules() if rule["health"] != "ok"} == {}


def test_an_asset_is_raised_with_one_severity(watched: ScrapedAgent) -> None:
    """No asset is stale twice, and each stale asset of the agent's own reckoning is raised."""
    watched.until(lambda: watched.raised() >= ALWAYS, "assets are stale")
    stale = [rule for rule in watched.rules() if rule["name"] == "TableauAssetStale"]
    found = [alert["labels"]["asset_id"] for rule in stale for alert in rule["alerts"]]
    assert sorted(found) == sorted(set(found))
    question = (
        "count(tableau_asset_hours_since_refresh > ignoring (severity) tableau_asset_sla_hours{severity='warning'})"
    )
    (answer,) = watched.ask("query", query=question)["result"]
    assert len(found) == int(answer["value"][1])


@pytest.mark.parametrize("rule", ALERTS, ids=identified)
def test_every_family_that_an_alert_asks_for_is_there(rule: dict[str, Any], watched: ScrapedAgent) -> None:
    """The agent publishes each family of the alert's expression, so that it can fire at all."""
    wanted, fetched = [str(rule["expr"])], set[str]()
    while wanted:
        for selector in read(wanted.pop()).selectors:
            if selector.metric in RECORDS:
                wanted += [RECORDS[selector.metric]["expr"]] if selector.metric not in fetched else []
            fetched.add(selector.metric)
    named = fetched - RECORDS.keys() - {"up"} - OF_INSIGHTS

    def rendered() -> bool:
        return named <= {name for name, _ in watched.agent.metrics()}

    # A family polled each second is absent for a moment where a poll takes three.
    watched.until(rendered, f"it shows {named}")
