"""The mixin, by its text: it names every dashboard, and files that are there."""

import re

from tests.release.conftest import ROOT

MIXIN = ROOT / "alerts/mixin.libsonnet"


def test_every_dashboard_is_in_the_mixin() -> None:
    """A dashboard has its own name there, and the file of that name; the rules are those beside the mixin."""
    found = re.findall(r"'tableau-([\w-]+\.json)': import '\.\./grafana/dashboards/([\w-]+\.json)',", MIXIN.read_text())
    names = sorted(path.name for path in (ROOT / "grafana/dashboards").glob("*.json"))
    assert found == [(name, name) for name in names]
    assert "importstr 'tableau.rules.yml'" in MIXIN.read_text()
