"""Grafana's provisioning: the data source and the folder of dashboards, as compose.yaml mounts them."""

from typing import Any

import yaml

from tests.grafana.dashboards import ROOT

FOLDER = ROOT / "grafana/provisioning"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
SCRAPED: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())


def mounts() -> dict[str, str]:
    """Return the mounts of Grafana's container from the project, by path."""
    parts = [volume.split(":") for volume in COMPOSE["grafana"]["volumes"] if volume.startswith("./")]
    return {there: here.removeprefix("./") for here, there, _ in parts}


def test_grafana_finds_its_files() -> None:
    """Provisioning and dashboards are mounted at the paths of Grafana and of the provider."""
    (provider,) = yaml.safe_load((FOLDER / "dashboards/tableau.yml").read_text())["providers"]
    assert mounts()[provider["options"]["path"]] == "grafana/dashboards"
    for kind in ("datasources", "dashboards"):
        assert mounts()[f"/etc/grafana/provisioning/{kind}"] == f"grafana/provisioning/{kind}"


def test_provisioned_dashboards_are_changed_in_their_files() -> None:
    """No user can save over a dashboard, as the next start would restore it."""
    (provider,) = yaml.safe_load((FOLDER / "dashboards/tableau.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False


def test_the_data_source_is_the_prometheus_beside_it() -> None:
    """It is the default, at the name of the service, and has its scrape interval: rates are made from it."""
    (source,) = yaml.safe_load((FOLDER / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in COMPOSE
    assert source["isDefault"] is True
    assert source["jsonData"]["timeInterval"] == SCRAPED["global"]["scrape_interval"]
