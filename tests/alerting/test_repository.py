"""Alerts on a real repository, and those held back while it is down."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from exporter.alerting.evaluator import NotificationOptions
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.history.redaction import Privacy
from exporter.metrics import Block
from exporter.self_metrics import HISTORY_ROWS
from tests.alerting.deployment import HOUR, Deployment
from tests.support.components import require
from tests.support.fake_alertmanager import FakeAlertmanager, ReceivedAlert

SILENT = "TableauRepositoryUnreachable"
MINUTE = 60.0


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    """A small company on a server of its own, which may be stopped."""
    with (
        Postgres(bin_dir=require("postgres15")) as server,
        Simulation(postgres=server, database="alerting", scale=SMALL, days=2, requests_per_day=300) as simulation,
    ):
        yield simulation


@pytest.fixture
def alertmanager() -> Iterator[FakeAlertmanager]:
    """The Alertmanager that is notified."""
    with FakeAlertmanager() as receiver:
        yield receiver


def deployed(
    path: Path,
    simulation: Simulation,
    alertmanager: FakeAlertmanager,
    *,
    critical: float,
    options: NotificationOptions | None = None,
    privacy: Privacy | None = None,
) -> Deployment:
    """Return an agent of the simulation."""
    found = Deployment(
        path / "history.duckdb",
        simulation.parameters(),
        [alertmanager.url],
        warning=critical / 2,
        critical=critical,
        options=options,
        privacy=privacy,
    )
    alertmanager.clock = lambda: found.now
    return found


# What was pending for some minutes before.
PENDING = {
    "TableauSubscriptionFailing",
    "TableauSubscriptionSuspended",
    "TableauDataAlertSuspended",
    "TableauTokenExpiring",
    "TableauContentOwnerUnlicensed",
}


def names(notified: Iterator[ReceivedAlert] | list[ReceivedAlert]) -> set[str]:
    """Return the alerts' names."""
    return {one.name for one in notified}


def about_assets(alertmanager: FakeAlertmanager, now: float) -> set[tuple[tuple[str, str], ...]]:
    """Return the alerts about assets that are open."""
    return {labels for labels in alertmanager.open_at(now) if dict(labels)["alertname"].startswith("TableauAsset")}


def youngest(path: Path, simulation: Simulation, alertmanager: FakeAlertmanager) -> float:
    """Return how old the freshest asset is (seconds)."""
    path.mkdir()
    probe = deployed(path, simulation, alertmanager, critical=1000 * HOUR)
    probe.go(MINUTE)
    known = probe.rule_manager.known.assets
    assert known is not None
    return float(np.nanmin(probe.now - known.columns["refreshed"]))


def test_a_repository_that_is_silent_for_an_hour(
    tmp_path: Path, simulation: Simulation, alertmanager: FakeAlertmanager
) -> None:
    """One alert reports it; no asset begins or ends to be stale, also not for an agent that was restarted meanwhile."""
    # The freshest asset becomes stale in the midst of the hour.
    critical = youngest(tmp_path / "probe", simulation, alertmanager) + 0.7 * HOUR
    deployment = deployed(tmp_path, simulation, alertmanager, critical=critical)
    deployment.go(12 * MINUTE)
    # Some have just been seen to end, as a warning does when it becomes critical.
    ending = {alert.labels for alert in deployment.rule_manager.store.states.firing() if alert.ended_at is not None}
    before = about_assets(alertmanager, deployment.now) - ending
    assert before
    simulation.postgres.stop()
    try:
        notified = len(alertmanager.notified)
        deployment.go(20 * MINUTE)
        deployment.restart()
        deployment.go(40 * MINUTE)
        during = alertmanager.notified[notified:]
        assert names([one for one in during if one.labels not in before | ending]) - PENDING == {SILENT}
        assert {one.labels for one in during if one.is_end} <= ending
        assert about_assets(alertmanager, deployment.now) == before
    finally:
        simulation.postgres.start()
    notified = len(alertmanager.notified)
    deployment.go(14 * MINUTE)
    assert SILENT in names([one for one in alertmanager.notified[notified:] if one.is_end])
    begun = about_assets(alertmanager, deployment.now) - before - ending
    assert "TableauAssetStale" in {dict(labels)["alertname"] for labels in begun}


def test_the_counters_of_a_file_that_the_alerts_opened_first(
    tmp_path: Path, simulation: Simulation, alertmanager: FakeAlertmanager
) -> None:
    """The history's counters are published before the repository is read, whichever process opened the file."""
    deployment = deployed(tmp_path, simulation, alertmanager, critical=HOUR)
    deployment.go(MINUTE)
    deployment.restart()
    deployment.rule_manager.step()
    published: list[Block] = []

    def look() -> None:
        if deployment.store.status.source("repository").tried_at is None:
            blocks = deployment.store.blocks(deployment.now)
            published.extend(block for block in blocks if isinstance(block, Block) and block.family == HISTORY_ROWS)

    deployment.changed = look
    deployment.poller.poll()
    assert published
    assert sum(value or 0 for value in published[0].at(deployment.now)) > 0


def test_what_is_said_of_assets(tmp_path: Path, simulation: Simulation, alertmanager: FakeAlertmanager) -> None:
    """The annotations have hours, SLA and owner; of a source its users; of a refresh its error."""
    options = NotificationOptions(
        "https://runbooks.example", dashboard_url="https://grafana.example", tableau_url="https://tableau.example"
    )
    deployment = deployed(tmp_path, simulation, alertmanager, critical=HOUR, options=options)
    deployment.go(8 * MINUTE)
    last = {notified.labels: notified for notified in alertmanager.notified}
    stale = [notified for notified in last.values() if notified.name == "TableauAssetStale"]
    assert stale
    for notified in stale:
        labels, texts = dict(notified.labels), notified.annotations
        assert float(texts["hours"]) >= float(texts["promised"])
        assert (
            f"{texts['hours']} hours ago; its SLA is 1 hours (critical) and 0.5 hours (warning)" in texts["description"]
        )
        assert texts["owner_email"].endswith("@example.com")
        assert texts["owner_email"] in texts["owner"]
        assert labels["content_owner"]
        assert texts["runbook_url"] == "https://runbooks.example/TableauAssetStale.md"
        assert texts["dashboard_url"] == (
            f"https://grafana.example/d/tableau-freshness?var-site={labels['site']}&var-asset_id={labels['asset_id']}"
        )
        page = rf"https://tableau\.example/#/(site/{labels['site']}/)?{labels['asset_type']}s/[0-9]+"
        assert re.fullmatch(page, texts["asset_url"])
        assert ("/site/" in texts["asset_url"]) == (labels["site"] != "default")
    used = [notified.annotations for notified in stale if "downstream" in notified.annotations]
    assert used
    assert all("@example.com" in texts["downstream_owners"] for texts in used)
    failing = [notified for notified in last.values() if notified.name == "TableauAssetRefreshFailing"]
    assert failing
    assert any(notified.annotations.get("error") for notified in failing)


@pytest.mark.parametrize("users", ["pseudonym", "none"])
def test_nobody_is_named_under_the_privacy_options(
    tmp_path: Path, simulation: Simulation, alertmanager: FakeAlertmanager, users: Literal["pseudonym", "none"]
) -> None:
    """No name, no address, and nothing that Tableau wrote, which may hold both."""
    privacy = Privacy(users=users)
    options = NotificationOptions(owner_email_label=True, include_errors=False)
    deployment = deployed(tmp_path, simulation, alertmanager, critical=HOUR, options=options, privacy=privacy)
    deployment.go(8 * MINUTE)
    assert "TableauAssetStale" in names(alertmanager.notified)
    logins = {str(row["name"]) for row in simulation.company.tables["system_users"]}
    for notified in alertmanager.notified:
        everything = [*notified.annotations.values(), *dict(notified.labels).values()]
        assert not any("@" in text for text in everything)
        assert "error" not in notified.annotations
        assert "owner_email" not in dict(notified.labels)
        assert not logins & {dict(notified.labels).get("content_owner"), notified.annotations.get("owner")}


def test_an_address_as_a_label(tmp_path: Path, simulation: Simulation, alertmanager: FakeAlertmanager) -> None:
    """With the option alerts about assets have their owner's address as a label, so that a route can use it."""
    options = NotificationOptions(owner_email_label=True)
    deployment = deployed(tmp_path, simulation, alertmanager, critical=HOUR, options=options)
    deployment.go(8 * MINUTE)
    for notified in alertmanager.notified:
        assert dict(notified.labels).get("owner_email") == notified.annotations.get("owner_email")
    before = {notified.labels for notified in alertmanager.notified}
    deployment.restart()
    deployment.go(2 * MINUTE)
    after = {notified.labels for notified in alertmanager.notified}
    assert before <= after
    # No alert is there twice, with the address and without.
    assert len({tuple(pair for pair in labels if pair[0] != "owner_email") for labels in after}) == len(after)
