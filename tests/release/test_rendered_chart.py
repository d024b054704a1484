"""The chart as Helm renders it, with the schemas of Kubernetes: ``make helm`` runs these, for they need 100 MB."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from release import chart
from tests.release.conftest import ROOT
from tests.release.test_chart import EXAMPLES
from tests.release.test_distributions import VERSION
from tests.support.components import require

pytestmark = pytest.mark.skipif(os.environ.get("HELM") != "true", reason="make helm runs it")

KUBERNETES = ("1.28", "1.34")
OWN = ("PrometheusRule", "ServiceMonitor")
"""Kinds of the Prometheus operator, which the schemas of Kubernetes do not have."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[dict[str, Any]]]:
    """The objects of the packed chart, by the name of the values."""
    import helm_python

    archive = chart.pack(VERSION, tmp_path_factory.mktemp("chart"))
    objects = {}
    with helm_python.Chart.load(str(archive)) as loaded:
        for path in EXAMPLES:
            files = loaded.render(yaml.safe_load(path.read_text()), name="demo", namespace="monitoring")
            texts = (text for name, text in files.items() if not name.endswith(".txt"))
            objects[path.stem] = [found for text in texts for found in yaml.safe_load_all(text) if found]
    return objects


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the objects of a kind."""
    return [found for found in objects if found["kind"] == kind]


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(rendered: Mapping[str, list[dict[str, Any]]], version: str) -> None:
    """Each object of Kubernetes fits the strict schema of its kind."""
    import kubernetes_validate

    checked = [found for objects in rendered.values() for found in objects if found["kind"] not in OWN]
    for found in checked:
        kubernetes_validate.validate(found, version, strict=True)
    assert {found["kind"] for found in checked} == {"ConfigMap", "NetworkPolicy", "Service", "StatefulSet"}


def test_the_rules_are_those_of_the_project(rendered: Mapping[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    """The PrometheusRule has every rule with the given addresses, and promtool accepts it."""
    (found,) = of_kind(rendered["everything-values"], "PrometheusRule")
    text = (ROOT / "alerts/tableau.rules.yml").read_text()
    text = text.replace("https://tableau-exporter.example", "https://wiki.example.com/tableau")
    assert found["spec"] == yaml.safe_load(text.replace("https://grafana.example", "https://grafana.example.com"))
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(found["spec"]))
    subprocess.run([require("promtool"), "check", "rules", tmp_path / "rules.yml"], check=True, capture_output=True)


def test_the_dashboards_are_those_of_the_project(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    """Each dashboard is the one key of a ConfigMap that Grafana's sidecar finds, below the limit of 1 MiB."""
    maps = [found for found in of_kind(rendered["everything-values"], "ConfigMap") if "labels" in found["metadata"]]
    boards = [found for found in maps if found["metadata"]["labels"].get("grafana_dashboard") == "1"]
    files = {f"tableau-{path.name}": path.read_text() for path in (ROOT / "grafana/dashboards").glob("*.json")}
    contents = {name: text for found in boards for name, text in found["data"].items()}
    assert {name: yaml.safe_load(text) for name, text in contents.items()} == {
        name: yaml.safe_load(text) for name, text in files.items()
    }
    assert max(len(text.encode()) for text in contents.values()) < 2**20


def test_the_service_monitor_scrapes_the_service(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    """It selects the labels and the port of the service, and calls the job as the rules do."""
    (monitor,) = of_kind(rendered["everything-values"], "ServiceMonitor")
    (service,) = of_kind(rendered["everything-values"], "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "tableau"}]
    assert endpoint["scrapeTimeout"] == "10s"


def test_the_pod_is_confined(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    """One pod runs as the user of the image, with a read-only root, no capability, and no token of the cluster."""
    for objects in rendered.values():
        (found,) = of_kind(objects, "StatefulSet")
        pod = found["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert found["spec"]["replicas"] == 1
        assert (pod["securityContext"]["runAsUser"], pod["automountServiceAccountToken"]) == (10071, False)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_secrets_and_the_claim_exist_before(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    """The chart makes no Secret, mounts those that are named, and uses an existing claim; TLS changes the probe."""
    (found,) = of_kind(rendered["cloud-values"], "StatefulSet")
    pod = found["spec"]["template"]["spec"]
    assert "volumeClaimTemplates" not in found["spec"]
    assert {"name": "history", "persistentVolumeClaim": {"claimName": "history"}} in pod["volumes"]
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"/data", "/etc/tableau-exporter", "/run/secrets/tableau-cloud"}
    assert pod["containers"][0]["livenessProbe"]["exec"]["command"] == ["tableau-exporter", "healthcheck"]
    assert [kind for objects in rendered.values() for kind in of_kind(objects, "Secret")] == []
