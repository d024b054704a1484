"""From an extract that goes stale to its notification: a real Prometheus and Alertmanager, both ways.

Minutes are seconds here, for the rules of Prometheus as for those of the agent.
"""

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exporter.demo import fast_rules
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.receiver import WebhookReceiver
from exporter.demo.simulation import Simulation
from exporter.repository.connection import connect
from tests.alerts.shipped_rules import RULES
from tests.support.agent_process import Agent
from tests.support.prometheus import run_alertmanager, run_prometheus
from tests.support.wait import until

PATIENCE_SECONDS = 120.0
STALE = "TableauAssetStale"


@dataclass
class Watch:
    """A repository, its agent, Alertmanager, and the notifications that arrived."""

    simulation: Simulation
    agent: Agent
    alertmanager: str
    receiver: WebhookReceiver
    prometheus: str | None
    arrived: list[tuple[str, dict[str, Any]]]

    def messages(self, asset: str) -> list[str]:
        """Return the notifications of a critically stale asset: firing or resolved, in order."""
        for notification in self.receiver.arrived():
            self.arrived += ((alert["status"], alert) for alert in notification["alerts"])
        return [
            status
            for status, alert in self.arrived
            if alert["labels"].get("asset_id") == asset
            and (alert["labels"]["alertname"], alert["labels"]["severity"]) == (STALE, "critical")
        ]

    def annotations_of(self, asset: str) -> dict[str, str]:
        """Return the annotations of the last message about an asset."""
        last: dict[str, str] = [
            alert["annotations"] for _, alert in self.arrived if alert["labels"].get("asset_id") == asset
        ][-1]
        return last

    def refreshed(self, asset: str, hours: float) -> None:
        """Set when the extract of a data source was refreshed last."""
        with connect(self.simulation.admin()) as connection:
            connection.execute(
                "UPDATE datasources SET extracts_refreshed_at = now() AT TIME ZONE 'UTC' - make_interval(secs => %s),"
                " extracts_incremented_at = NULL WHERE luid = %s",
                [hours * 3600, asset],
            )

    def fires(self, asset: str) -> set[str]:
        """Return who thinks that the asset is critically stale, of the agent and Prometheus."""
        found = set()
        with duckdb.connect(str(self.agent.history), read_only=True) as history:
            rows = history.execute(
                "SELECT 1 FROM alerts WHERE state = 'firing' AND labels['asset_id'] = ?"
                " AND labels['severity'] = 'critical'",
                [asset],
            ).fetchall()
        if rows:
            found.add("agent")
        question = f'ALERTS{{alertstate="firing",alertname="{STALE}",severity="critical",asset_id="{asset}"}}'
        if self.prometheus and self.ask(question):
            found.add("prometheus")
        return found

    def ask(self, question: str) -> list[Any]:
        """Query Prometheus."""
        query = urllib.parse.urlencode({"query": question})
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?{query}") as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
            return found

    def wait_for_batches(self) -> None:
        """Wait until Alertmanager received two more batches."""

        def received() -> float:
            with urllib.request.urlopen(f"http://{self.alertmanager}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            return sum(
                float(line.split()[-1]) for line in lines if line.startswith("alertmanager_alerts_received_total")
            )

        before = received()
        self.until(lambda: received() > before, "Alertmanager is told again")
        after = received()
        self.until(lambda: received() > after, "Alertmanager is told once more")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition."""

        def holds() -> bool:
            try:
                return bool(condition())
            except duckdb.IOException:
                return False  # the agent is writing it

        until(holds, lambda: f"{what}: {self.agent.logged()[-2000:]}", pause_seconds=0.2)


def alone(receiver: str) -> dict[str, Any]:
    """Return a configuration in which each alert has messages of its own, so that they can be counted."""
    return {
        "route": {
            "receiver": "people",
            "group_by": ["..."],
            "group_wait": "1s",
            "group_interval": "1s",
            "repeat_interval": "12h",
        },
        "receivers": [{"name": "people", "webhook_configs": [{"url": receiver, "send_resolved": True}]}],
    }


@pytest.fixture(params=["by rules and directly", "directly"])
def watch(request: pytest.FixtureRequest, postgres18: Postgres, tmp_path: Path) -> Iterator[Watch]:
    """The way of an alert, with Prometheus and without."""
    name = str(request.param).replace(" ", "_")
    with ExitStack() as stack:
        receiver = stack.enter_context(WebhookReceiver())
        simulation = stack.enter_context(
            Simulation(postgres=postgres18, database=f"told_{name}", scale=SMALL, days=1, requests_per_day=100)
        )
        (tmp_path / "alertmanager").mkdir()
        address = stack.enter_context(run_alertmanager(tmp_path / "alertmanager", alone(receiver.url)))
        agent = Agent(tmp_path, simulation.parameters(), ALERTMANAGER__URLS=f"http://{address}")
        agent.module = "tests.support.fast_alerts"
        stack.enter_context(agent)
        agent.polled()
        prometheus = None
        if "rules" in str(request.param):
            prometheus = stack.enter_context(_prometheus(tmp_path, agent, address))
        yield Watch(simulation, agent, address, receiver, prometheus, [])


def _prometheus(folder: Path, agent: Agent, alertmanager: str) -> AbstractContextManager[str]:
    (folder / "rules.yml").write_text(fast_rules.rules(RULES.read_text()))
    text = fast_rules.prometheus(agent.url.removeprefix("http://"), alertmanager, folder / "rules.yml")
    return run_prometheus(folder, text.replace("2s", "1s"))


def fresh_source(watch: Watch) -> str:
    """Return a published data source with workbooks downstream, refreshed just now."""
    with connect(watch.simulation.admin()) as connection:
        row = connection.execute(
            "SELECT datasources.luid FROM datasources JOIN data_connections AS link"
            " ON link.dbname = datasources.repository_url AND link.site_id = datasources.site_id"
            " WHERE link.dbclass = 'sqlproxy' AND datasources.data_engine_extracts LIMIT 1"
        ).fetchone()
    assert row is not None
    asset = str(row[0])
    watch.refreshed(asset, 0.1)
    watch.until(lambda: not watch.fires(asset), "it is fresh")
    watch.messages(asset)
    watch.arrived.clear()
    return asset


def test_one_message_when_it_goes_stale_and_one_when_it_is_refreshed(watch: Watch) -> None:
    """However many senders, one notification reports the stale extract and its users, and one its end."""
    asset = fresh_source(watch)
    everybody = {"agent", "prometheus"} if watch.prometheus else {"agent"}
    watch.refreshed(asset, 30.0)
    watch.until(lambda: watch.fires(asset) == everybody, "everybody says that it is stale")
    watch.until(lambda: watch.messages(asset), "people are told")
    watch.wait_for_batches()
    assert watch.messages(asset) == ["firing"]
    watch.refreshed(asset, 0.1)
    watch.until(lambda: "resolved" in watch.messages(asset), "people are told that it is fresh")
    watch.until(lambda: not watch.fires(asset), "nobody says that it is stale")
    watch.wait_for_batches()
    assert watch.messages(asset) == ["firing", "resolved"]
    if not watch.prometheus:
        assert watch.annotations_of(asset)["downstream"]
        assert "@example.com" in watch.annotations_of(asset)["downstream_owners"]
