"""The shipped rules: promtool accepts them, its tests pass, and each alert has all required parts."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.shipped_rules import (
    ALERTS,
    ASSET,
    EVERY,
    GROUPS,
    NAMES,
    ROOT,
    RULES,
    RUNBOOKS,
    TESTS,
    cases,
    documents,
    identified,
    seconds,
)
from tests.support.components import require

POLL_SECONDS, REST_POLL_SECONDS = 60, 300
# Of what increase() sees an event, which is no state that a poll could miss.
EVENTS = {"TableauArchiveRequestsPossiblyLost", "TableauHistoryFileBusy", "TableauHistoryIncident"}
# What one refresh left, which no missed poll changes.
OF_ONE_REFRESH = {"TableauAssetShrank", "TableauAssetGrew"}
# Of these the condition may hold only because a refresh was not read.
AGEING = {
    "TableauAssetStale",
    "TableauAssetStaleBeforeUse",
    "TableauAssetRefreshLate",
    "TableauAssetRefreshUnusuallyLate",
    "TableauAssetRefreshChangedNothing",
}
# Half of promtool's time is Go's collection of garbage; each file needs a few hundred MB.
WITHOUT_COLLECTION = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}


def test_the_rules_are_taken() -> None:
    """promtool finds no fault in the rules."""
    subprocess.run([require("promtool"), "check", "rules", RULES], check=True)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_tests_of_the_rules_pass(path: Path) -> None:
    """Each alert fires when it should, with these labels and words, and otherwise does not."""
    command = [str(require("promtool")), "test", "rules", str(path)]
    environment = {**os.environ, **WITHOUT_COLLECTION}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_groups_are_evaluated_in_the_order_of_the_rules() -> None:
    """promtool evaluates groups in any order by default, and thresholds come before the alerts that use them."""
    order = [group["name"] for group in GROUPS]
    assert [document["group_eval_order"] for document in documents()] == [order] * len(TESTS)


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_its_three_tests(name: str) -> None:
    """It fires, it does not fire, and it bears that data is missing; each severity that it has fires alone."""
    case_of = [case for case in cases() if case.alert == name]
    severities = {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name}
    assert {case.fires[0] for case in case_of if case.says.startswith("fires")} == severities
    assert all(len(case.fires) == 1 for case in case_of if case.says.startswith("fires"))
    assert [case for case in case_of if case.says.startswith("does not fire") and not case.fires]
    missing = [case for case in case_of if case.says.startswith("data missing")]
    assert missing
    # This one fires on missing data.
    assert any(case.fires for case in missing) == (name == "TableauExporterDown")
    assert {case.says.partition(":")[0] for case in case_of} == {"fires", "does not fire", "data missing"}


def test_no_test_is_for_an_alert_that_is_gone() -> None:
    """Every test names an alert."""
    assert {case.alert for case in cases()} == set(NAMES)


@pytest.mark.parametrize("rule", ALERTS, ids=identified)
def test_each_alert_says_what_an_alert_must(rule: dict[str, Any]) -> None:
    """A name that begins with Tableau, a severity, a summary that is a sentence, a description, a runbook."""
    assert re.fullmatch(r"Tableau[A-Z][A-Za-z]+", rule["alert"])
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    words = rule["annotations"]
    assert re.fullmatch(r"(?:[A-Z{]|tableau-exporter ).* .*\.", words["summary"])
    assert words["description"].endswith(".")
    assert len(words["description"]) > len(words["summary"])
    assert words["runbook_url"].endswith(f"/runbooks/{rule['alert']}.md")
    assert (RUNBOOKS / f"{rule['alert']}.md").is_file()


@pytest.mark.parametrize("rule", ALERTS, ids=identified)
def test_each_alert_leads_to_its_dashboard(rule: dict[str, Any]) -> None:
    """The dashboard is the one that its runbook names, with the alert's site and asset selected."""
    address, _, chosen = rule["annotations"]["dashboard_url"].partition("?")
    (named,) = re.findall(r"/d/(tableau-[a-z-]+)\b", (RUNBOOKS / f"{rule['alert']}.md").read_text())
    store = json.loads((ROOT / f"grafana/dashboards/{named.removeprefix('tableau-')}.json").read_text())
    assert address == f"https://grafana.example/d/{store['uid']}"
    known = {variable["name"] for variable in store["templating"]["list"]}
    for part in filter(None, chosen.split("&")):
        name, _, value = part.partition("=")
        assert name.removeprefix("var-") in known
        assert value == f"{{{{ $labels.{name.removeprefix('var-')} | urlquery }}}}"
    kept = {"site"} if "site" in _labels_of_its_tests(rule["alert"]) else set()
    kept |= {"asset_id"} if "Asset" in rule["alert"] else set()
    assert {part.partition("=")[0].removeprefix("var-") for part in filter(None, chosen.split("&"))} == kept


def _labels_of_its_tests(alert: str) -> set[str]:
    """Return the labels with which promtool saw an alert."""
    return {
        label
        for document in documents()
        for test in document["tests"]
        for case_of in test["alert_rule_test"]
        if case_of["alertname"] == alert
        for seen in case_of["exp_alerts"]
        for label in seen["exp_labels"]
    }


@pytest.mark.parametrize("rule", ALERTS, ids=identified)
def test_each_alert_stands_two_missed_polls(rule: dict[str, Any]) -> None:
    """``for`` is longer than two polls of its source, but where the expression counts over an hour."""
    if rule["alert"] in OF_ONE_REFRESH:
        assert "tableau:asset_size:bytes" in rule["expr"]
    elif rule["alert"] in EVENTS:
        assert "increase(" in rule["expr"]
    elif "rest" in rule["expr"] and "collisions" not in rule["expr"]:
        assert seconds(rule["for"]) >= 2 * REST_POLL_SECONDS
    else:
        assert seconds(rule["for"]) > 2 * POLL_SECONDS


@pytest.mark.parametrize("rule", [rule for rule in ALERTS if "Asset" in rule["alert"]], ids=identified)
def test_alerts_of_assets_carry_what_a_router_needs(rule: dict[str, Any]) -> None:
    """The labels of the asset and its owner are on the alert, and are those that promtool saw."""
    assert "group_left (content_owner) tableau:asset_owner:info" in rule["expr"]
    seen = [
        set(alert["exp_labels"])
        for document in documents()
        for test in document["tests"]
        for case_of in test["alert_rule_test"]
        if case_of["alertname"] == rule["alert"]
        for alert in case_of["exp_alerts"]
    ]
    assert {*ASSET, "severity"} in seen
    # An owner who is not known is a label that is not there; a deployment is a label of the scrape configuration.
    assert all((labels | {"content_owner"}) - {"deployment"} == {*ASSET, "severity"} for labels in seen)


@pytest.mark.parametrize("rule", [rule for rule in ALERTS if "Asset" in rule["alert"]], ids=identified)
def test_alerts_of_assets_outlast_a_restart(rule: dict[str, Any]) -> None:
    """They are retained while their data is away for a moment: no notification reports a stale asset as resolved."""
    assert seconds(rule["keep_firing_for"]) == 300


def test_silent_sources_are_named_by_the_same_text() -> None:
    """Each description that depends on a refresh being read names silent sources by the same query."""
    parts = [
        re.findall(r"{{ range printf .*?{{ end }}", rule["annotations"]["description"])
        for rule in ALERTS
        if "tableau:freshness_source_silent" in rule["annotations"]["description"]
    ]
    assert len(parts) == len([rule for rule in ALERTS if rule["alert"] in AGEING])
    assert len({text for found in parts for text in found}) == 1
    assert {len(found) for found in parts} == {1}


def test_critical_begins_where_warning_ends() -> None:
    """The warning of a stale asset is retained for as long as the critical one is pending."""
    critical, warning = [rule for rule in ALERTS if rule["alert"] == "TableauAssetStale"]
    assert critical["labels"]["severity"] == "critical"
    assert warning["keep_firing_for"] == critical["for"]


def test_names_are_given_once() -> None:
    """An alert of one name and severity, and a recording of one name and labels, stands once."""
    names = [identified(rule) for rule in EVERY if "record" not in rule or rule["record"] == "tableau:threshold"]
    assert sorted(names) == sorted(set(names))
    assert sum("record" in rule for rule in EVERY) + len(ALERTS) == len(EVERY)


def test_the_job_is_the_one_that_is_scraped() -> None:
    """The rules select the job that README.md and compose.yaml scrape."""
    (job,) = set(re.findall(r'job="(\w+)"', " ".join(rule["expr"] for rule in EVERY)))
    assert f"job_name: {job}\n" in (ROOT / "README.md").read_text()
    assert f"job_name: {job}\n" in (ROOT / "deploy/compose/prometheus.yml").read_text()


def test_the_index_has_every_alert() -> None:
    """docs/alerts.md has a row for each alert and severity, in the order of the rules, with its runbook."""
    rows = re.findall(
        r"(?m)^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| (\S+) \|", (ROOT / "docs/alerts.md").read_text()
    )
    expected = [(rule["alert"], rule["alert"], rule["labels"]["severity"], rule["for"]) for rule in ALERTS]
    assert rows == expected


def test_the_index_has_every_threshold() -> None:
    """docs/alerts.md has the value of each threshold."""
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| ([0-9.e]+) \|", (ROOT / "docs/alerts.md").read_text()))
    assert rows == {
        rule["labels"]["of"]: rule["expr"].removeprefix("vector(").removesuffix(")")
        for rule in EVERY
        if rule.get("record") == "tableau:threshold"
    }
