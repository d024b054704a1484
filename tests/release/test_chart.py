"""The Helm chart: its values, its version, and that rules and dashboards are those of the project."""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter import assets
from exporter.config import load
from release import chart
from tests.release.conftest import ROOT
from tests.release.test_distributions import VERSION
from tests.test_documentation import block

CHART = ROOT / "charts/tableau-exporter"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
EXAMPLES = sorted((CHART / "ci").glob("*.yaml"))
TEMPLATES = "\n".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
# Given to the templates of Kubernetes as they are.
WHOLE = {"config", "resources", "affinity", "nodeSelector", "podAnnotations", "podLabels"}


def leaves(values: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the path of each value that a template reads."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in WHOLE and name != "labels":
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name


def fault(values: dict[str, Any]) -> str | None:
    """Return the first fault of values, laid over those of the chart as Helm does it."""
    merged = {
        name: {**value, **values.get(name, {})} if isinstance(value, dict) else values.get(name, value)
        for name, value in VALUES.items()
    } | {name: value for name, value in values.items() if name not in VALUES}
    error = next(iter(jsonschema.Draft7Validator(SCHEMA).iter_errors(merged)), None)
    return error and error.message


def test_the_chart_has_the_version_of_the_project() -> None:
    """Chart, application and the image of compose.yaml have the version of pyproject.toml."""
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (metadata["version"], metadata["appVersion"]) == (VERSION, VERSION)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert compose["services"]["exporter"]["image"] == f"tableau-exporter:{VERSION}"


def test_every_value_is_read_by_a_template() -> None:
    """A value without effect is none, and a template reads no value that values.yaml lacks."""
    read = set(re.findall(r"\.Values\.(\w+(?:\.\w+)*)", TEMPLATES)) - {"config.web", "config.web.config_file"}
    assert set(leaves(VALUES)) == read


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_fit_the_schema_and_the_agent_loads_them(path: Path, tmp_path: Path) -> None:
    """The values that the tests render are valid, and their configuration is one when its files are there."""
    values = yaml.safe_load(path.read_text())
    assert fault(values) is None
    text = yaml.safe_dump(values["config"])
    for file in re.findall(r"/run/secrets/\S+", text):
        (tmp_path / Path(file).name).write_text("secret")
        text = text.replace(file, str(tmp_path / Path(file).name))
    (tmp_path / "tableau-exporter.yml").write_text(text)
    load(tmp_path / "tableau-exporter.yml", {}, (), explicit=True)


def test_the_documented_values_are_valid() -> None:
    """The values of docs/kubernetes.md fit the schema."""
    assert fault(yaml.safe_load(block("docs/kubernetes.md", "values of the chart"))) is None


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, "is not valid under any of the given schemas"),
        ({"config": {"rest": {}}, "replicas": 2}, "'replicas' was unexpected"),
        ({"config": {"rest": {}}, "secrets": ["../etc"]}, "does not match"),
        ({"config": {"rest": {}}, "persistence": {"accessModes": ["ReadWriteMany"]}}, "is not one of"),
        ({"config": {"rest": {}}, "serviceMonitor": {"enabled": "yes"}}, "is not of type 'boolean'"),
    ],
    ids=["no source", "unknown", "path as secret", "shared volume", "text for a switch"],
)
def test_wrong_values_are_refused(values: dict[str, Any], part: str) -> None:
    """The schema refuses values with which nothing would run, or no template would do what is meant."""
    assert part in str(fault(values))


def test_rules_and_dashboards_of_the_chart_are_those_of_the_project() -> None:
    """The chart has no copies: its files are links to the one source."""
    assert (CHART / "files/tableau.rules.yml").resolve() == ROOT / "alerts/tableau.rules.yml"
    assert (CHART / "files/dashboards").resolve() == ROOT / "grafana/dashboards"


def test_the_archive_of_the_chart_is_whole(tmp_path: Path) -> None:
    """The archive holds the chart, with the rules in place of the link, and is the same each time."""
    first, second = (chart.pack(VERSION, folder) for folder in (tmp_path, tmp_path.parent))
    assert first.name == f"tableau-exporter-{VERSION}.tgz"
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        contents = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}  # type: ignore[union-attr]
    assert {f"charts/{name}" for name in contents} == {name for name in assets.shipped() if name.startswith("charts/")}
    rules = contents["tableau-exporter/files/tableau.rules.yml"]
    assert rules == (ROOT / "alerts/tableau.rules.yml").read_bytes()
