"""The mixin as Jsonnet renders it, from the written assets: ``make helm`` runs these."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import assets
from tests.release.conftest import ROOT

pytestmark = pytest.mark.skipif(os.environ.get("HELM") != "true", reason="make helm runs it")

CONFIGURED = """
local mixin = (import 'alerts/mixin.libsonnet') + {
  _config+:: { runbooksUrl: 'https://wiki.example.com/tableau' },
};
{ rules: mixin.prometheusAlerts, dashboards: mixin.grafanaDashboards }
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The rules and the dashboards of the mixin with an address of its own."""
    import _gojsonnet

    folder: Path = tmp_path_factory.mktemp("mixin")
    assets.write(folder)
    result: dict[str, Any] = json.loads(_gojsonnet.evaluate_snippet(str(folder / "configured.jsonnet"), CONFIGURED))
    return result


def test_the_rules_are_those_of_the_project(rendered: dict[str, Any]) -> None:
    """The mixin has every rule, with the given address of the runbooks."""
    text = (ROOT / "alerts/tableau.rules.yml").read_text()
    expected = yaml.safe_load(text.replace("https://tableau-exporter.example", "https://wiki.example.com/tableau"))
    assert rendered["rules"] == expected


def test_the_dashboards_are_those_of_the_project(rendered: dict[str, Any]) -> None:
    """The mixin has every dashboard unchanged."""
    files = {f"tableau-{path.name}": json.loads(path.read_text()) for path in ROOT.glob("grafana/dashboards/*.json")}
    assert rendered["dashboards"] == files
