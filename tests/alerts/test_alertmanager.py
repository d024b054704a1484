"""The example for Alertmanager: amtool accepts it, alerts find their receivers, a real one inhibits consequences."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alerts.shipped_rules import NAMES, ROOT
from tests.support.components import require
from tests.support.prometheus import QUIET, run_alertmanager
from tests.support.wait import PATIENCE_SECONDS

EXAMPLE = ROOT / "alerts/alertmanager.yml"
TEMPLATES = ROOT / "alerts/templates/*.tmpl"
ASSET = {"site": "default", "project": "Finance/EMEA", "asset_type": "workbook", "asset_id": "b6bf4ef9"}
NAMED = {**ASSET, "asset_name": "Month End", "content_owner": "priya"}
ROUTES = [
    ({"alertname": "TableauRepositoryUnreachable", "severity": "critical"}, ["on-call", "tableau-team"]),
    ({"alertname": "TableauArchiveLagging", "severity": "warning"}, ["tableau-team"]),
    ({"alertname": "TableauJobsFailing", "severity": "warning", "site": "default"}, ["tableau-team"]),
    (
        {
            "alertname": "TableauFreshnessSourceSilent",
            "severity": "warning",
            "site": "default",
            "source": "metadata",
        },
        ["tableau-team"],
    ),
    ({"alertname": "TableauHistoryGrowingFast", "severity": "info"}, ["nobody"]),
    ({"alertname": "TableauTestAlert", "severity": "info"}, ["tableau-team"]),
    ({"alertname": "TableauAssetStale", "severity": "critical", **NAMED}, ["owner", "finance-on-call"]),
    ({"alertname": "TableauAssetStale", "severity": "warning", **NAMED}, ["owner", "finance-team"]),
    ({"alertname": "TableauAssetStale", "severity": "critical", **NAMED, "project": "Sales"}, ["owner"]),
    ({"alertname": "TableauAssetStale", "severity": "critical", **ASSET}, ["finance-on-call"]),
    ({"alertname": "TableauAssetStale", "severity": "critical", **ASSET, "project": "Finances"}, ["tableau-team"]),
    ({"alertname": "TableauAssetStale", "severity": "warning", **ASSET, "project": "Finances"}, ["tableau-team"]),
    (
        {"alertname": "TableauAssetRefreshLate", "severity": "warning", **NAMED, "project": "Personal Space"},
        ["owner", "nobody"],
    ),
]
NO_MAILBOXES = ["boss@evil.example,x", "anna müller", "CORP\\anna", "a@b", "<x>"]
ROUTES += [
    ({"alertname": "TableauAssetStale", "severity": "critical", **NAMED, "content_owner": name}, ["finance-on-call"])
    for name in NO_MAILBOXES
]
HOSTILE = 'Q3 <!channel> <https://evil.example|Open> & more\n• resolved TableauAssetStale: "all good"'
OTHER = {**NAMED, "asset_id": "another"}
# Firing alerts, and those they inhibit; each in a deployment of its own.
INHIBITIONS: dict[str, tuple[list[dict[str, str]], set[str]]] = {
    "the agent is down": (
        [
            {"alertname": "TableauExporterDown", "severity": "critical"},
            {"alertname": "TableauAssetStale", "severity": "critical", **NAMED},
            {"alertname": "TableauJobsStandStill", "severity": "critical"},
        ],
        {"TableauAssetStale critical", "TableauJobsStandStill critical"},
    ),
    "the repository is silent": (
        [
            {"alertname": "TableauRepositoryUnreachable", "severity": "critical"},
            {"alertname": "TableauAssetStale", "severity": "critical", **NAMED},
            {"alertname": "TableauAssetRefreshSuspended", "severity": "warning", **OTHER},
            {"alertname": "TableauCollectorFailing", "severity": "warning", "collector": "users"},
            {"alertname": "TableauTrafficLow", "severity": "warning", "site": "default"},
            {"alertname": "TableauArchivePurgeRisk", "severity": "critical"},
            {"alertname": "TableauRestTokenRefused", "severity": "critical"},
        ],
        {
            "TableauAssetStale critical",
            "TableauAssetRefreshSuspended warning",
            "TableauCollectorFailing warning",
            "TableauTrafficLow warning",
        },
    ),
    "an asset is stale before it is opened": (
        [
            {"alertname": "TableauAssetStaleBeforeUse", "severity": "critical", **NAMED},
            {"alertname": "TableauAssetStale", "severity": "critical", **NAMED},
            {"alertname": "TableauAssetRefreshLate", "severity": "warning", **NAMED},
            {"alertname": "TableauAssetStale", "severity": "critical", **OTHER},
        ],
        {"TableauAssetStale critical", "TableauAssetRefreshLate warning"},
    ),
    "the token is refused": (
        [
            {"alertname": "TableauRestTokenRefused", "severity": "critical"},
            {"alertname": "TableauRestUnreachable", "severity": "warning"},
            {"alertname": "TableauCollectorFailing", "severity": "warning", "collector": "assets"},
            {"alertname": "TableauAssetStale", "severity": "warning", **NAMED},
            {"alertname": "TableauFreshnessSourceSilent", "severity": "warning", "site": "default", "source": "job"},
        ],
        {
            "TableauRestUnreachable warning",
            "TableauCollectorFailing warning",
            "TableauFreshnessSourceSilent warning",
        },
    ),
    "requests are not archived": (
        [
            {"alertname": "TableauCollectorFailing", "severity": "warning", "collector": "http_requests"},
            {"alertname": "TableauCollectorFailing", "severity": "warning", "collector": "active_users"},
            {"alertname": "TableauArchiveLagging", "severity": "warning"},
        ],
        {"TableauCollectorFailing warning", "TableauArchiveLagging warning"},
    ),
    "a source of freshness is silent": (
        [
            {"alertname": "TableauFreshnessSourceSilent", "severity": "warning", "site": "default", "source": "job"},
            {"alertname": "TableauCollectorFailing", "severity": "warning", "collector": "assets"},
            {"alertname": "TableauAssetStale", "severity": "critical", **NAMED},
            {"alertname": "TableauAssetRefreshUnusuallyLate", "severity": "warning", **OTHER},
        ],
        set(),
    ),
    "one asset": (
        [
            {"alertname": "TableauAssetStale", "severity": "critical", **NAMED},
            {"alertname": "TableauAssetStale", "severity": "warning", **NAMED},
            {"alertname": "TableauAssetRefreshLate", "severity": "warning", **NAMED},
            {"alertname": "TableauAssetRefreshFailing", "severity": "warning", **NAMED},
        ],
        {"TableauAssetStale warning", "TableauAssetRefreshLate warning"},
    ),
    "two assets": (
        [
            {"alertname": "TableauAssetStale", "severity": "critical", **NAMED},
            {"alertname": "TableauAssetStale", "severity": "warning", **OTHER},
            {"alertname": "TableauAssetRefreshLate", "severity": "warning", **OTHER, "site": "marketing"},
        ],
        set(),
    ),
    "two disks": (
        [
            {"alertname": "TableauServerDiskSpaceLow", "severity": "critical", "node": "node1", "path": "/data"},
            {"alertname": "TableauServerDiskSpaceLow", "severity": "warning", "node": "node2", "path": "/data"},
        ],
        set(),
    ),
    "no licence": (
        [
            {"alertname": "TableauServerUnlicensed", "severity": "critical"},
            {"alertname": "TableauServerDegraded", "severity": "critical"},
        ],
        {"TableauServerDegraded critical"},
    ),
    "another deployment": (
        [
            {"alertname": "TableauArchivePurgeRisk", "severity": "critical"},
            {"alertname": "TableauArchiveLagging", "severity": "warning"},
            {"alertname": "TableauAssetStale", "severity": "critical", **NAMED},
        ],
        {"TableauArchiveLagging warning"},
    ),
}


def test_the_example_is_taken() -> None:
    """amtool finds no fault in the example and its templates."""
    subprocess.run([require("amtool"), "check-config", EXAMPLE], check=True)


@pytest.mark.parametrize(
    ("labels", "receivers"), ROUTES, ids=lambda value: "-".join(value) if isinstance(value, list) else None
)
def test_alerts_find_their_receivers(labels: dict[str, str], receivers: list[str]) -> None:
    """amtool routes an alert to its receivers, and to no other."""
    command = [str(require("amtool")), "config", "routes", "test", f"--config.file={EXAMPLE}"]
    pairs = [f"{name}={value}" for name, value in labels.items()]
    result = subprocess.run(
        [*command, f"--verify.receivers={','.join(receivers)}", *pairs], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_one_message_for_a_project() -> None:
    """Alerts of one site and project arrive together."""
    route = yaml.safe_load(EXAMPLE.read_text())["route"]
    assert {"site", "project"} <= set(route["group_by"])
    assert all({"site", "project"} <= set(each.get("group_by", route["group_by"])) for each in route["routes"])


def test_only_alerts_that_exist_are_named() -> None:
    """Each matcher on an alert's name fits some alert."""
    for pattern in re.findall(r'alertname=~?"([^"]+)"', EXAMPLE.read_text()):
        assert all(
            any(re.fullmatch(part, name) for name in (*NAMES, "TableauTestAlert")) for part in pattern.split("|")
        ), pattern


def rendered(template: str, data: dict[str, Any], path: Path) -> str:
    """Render a template as amtool does."""
    path.write_text(json.dumps(data))
    command = [
        str(require("amtool")),
        "template",
        "render",
        f"--template.glob={TEMPLATES}",
        f"--template.data={path}",
        f'--template.text={{{{ template "{template}" . }}}}',
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("template", ["tableau.chat", "tableau.mail", "tableau.mail.html"])
def test_messages_name_what_matters(template: str, tmp_path: Path) -> None:
    """Mail and chat name the asset, hours, SLA, owner, runbook, dashboard and page; and the end."""
    words = {
        "summary": "Old.",
        "description": "Very old.",
        "runbook_url": "https://runbook",
        "dashboard_url": "https://dashboard",
        "asset_url": "https://tableau/#/workbooks/7",
        "hours": "59.6",
        "promised": "24",
    }
    labels = {"alertname": "TableauAssetStale", "severity": "critical", **NAMED}
    alert = {"status": "firing", "labels": labels, "annotations": words, "startsAt": "2025-11-19T10:30:00Z"}
    gone = {**alert, "status": "resolved", "labels": {**labels, "asset_name": "Quarter End", "content_owner": ""}}
    data = {"status": "firing", "alerts": [alert, gone], "groupLabels": {"site": "default"}, "commonLabels": labels}
    text = rendered(template, data, tmp_path / "data.json")
    for part in ("Month End", "59.6", "24", "priya", "https://runbook", "resolved", "Quarter End", "unknown"):
        assert part in text
    assert "https://dashboard" in text
    assert "https://tableau/#/workbooks/7" in text
    title = rendered("tableau.title", data, tmp_path / "data.json")
    assert title == "1 firing: TableauAssetStale Month End (default)"


@pytest.mark.parametrize("template", ["tableau.chat", "tableau.chat.title", "tableau.mail", "tableau.title"])
def test_names_forge_no_line_and_call_nobody(template: str, tmp_path: Path) -> None:
    """Names from Tableau stay on their line; in chat they are neither a link nor a call."""
    labels = {"alertname": "TableauAssetStale", "severity": "critical", **NAMED}
    labels |= {"asset_name": HOSTILE, "content_owner": HOSTILE, "project": HOSTILE}
    words = {"summary": f"Old: {HOSTILE}", "description": HOSTILE, "runbook_url": "https://runbook"}
    alert = {"status": "firing", "labels": labels, "annotations": words, "startsAt": "2025-11-19T10:30:00Z"}
    gone = {**alert, "status": "resolved", "labels": labels | {"asset_name": ""}}
    data = {
        "status": "firing",
        "alerts": [alert, gone],
        "groupLabels": {"site": HOSTILE, "project": HOSTILE},
        "commonLabels": labels,
    }
    text = rendered(template, data, tmp_path / "data.json")
    assert "Q3" in text
    assert not [line for line in text.splitlines() if line.startswith("• resolved") and "Q3" not in line]
    if "chat" in template:
        assert re.findall(r"<[^>]*>", text) == ["<https://runbook|runbook>"] * text.count("runbook>")
        assert "&amp; more" in text
    else:
        assert "& more" in text


def test_names_cannot_break_a_mail(tmp_path: Path) -> None:
    """A workbook's name is text in a mail, whatever it contains: the template escapes it."""
    labels = {
        "alertname": "TableauAssetStale",
        "severity": "critical",
        **NAMED,
        "asset_name": "<script>alert(1)</script>",
    }
    alert = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": "2025-11-19T10:30:00Z"}
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"status": "firing", "alerts": [alert], "commonLabels": labels, "groupLabels": {}}))
    command = [str(require("amtool")), "template", "render", f"--template.glob={TEMPLATES}", f"--template.data={path}"]
    html = [*command, "--template.type=html", '--template.text={{ template "tableau.mail.html" . }}']
    text = subprocess.run(html, capture_output=True, text=True, check=True).stdout
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an Alertmanager with the example's inhibitions and no receiver; yield its address."""
    folder = tmp_path_factory.mktemp("alertmanager")
    example = yaml.safe_load(EXAMPLE.read_text())
    quiet = {**QUIET, "inhibit_rules": example["inhibit_rules"]}
    with run_alertmanager(folder, quiet) as address:
        yield f"http://{address}"


def fetched(url: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """Request until there is an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def inhibited(alertmanager: str, deployment: str) -> set[str]:
    """Return name and severity of each alert of a deployment that is silent."""
    name = urllib.parse.quote(f'deployment="{deployment}"')
    return {
        f"{alert['labels']['alertname']} {alert['labels']['severity']}"
        for alert in fetched(f"{alertmanager}/api/v2/alerts?filter={name}")
        if alert["status"]["inhibitedBy"]
    }


def raise_alerts(alertmanager: str, deployment: str, alerts: list[dict[str, str]]) -> None:
    """Raise alerts in a deployment, and wait until they are evaluated: they are read in order of arrival."""
    down = {"alertname": "TableauExporterDown", "severity": "critical"}
    last = [{**down, "deployment": f"after {deployment}"}]
    last.append({"alertname": "TableauJobsStandStill", "severity": "critical", "deployment": f"after {deployment}"})
    for some in ([{**alert, "deployment": deployment} for alert in alerts], last):
        fetched(f"{alertmanager}/api/v2/alerts", [{"labels": labels} for labels in some])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not inhibited(alertmanager, f"after {deployment}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("what", INHIBITIONS)
def test_consequences_are_silent(what: str, alertmanager: str) -> None:
    """A real Alertmanager inhibits the consequences of an alert, of the same deployment, and nothing more."""
    alerts, silent = INHIBITIONS[what]
    raise_alerts(alertmanager, what, alerts)
    assert inhibited(alertmanager, what) == silent
