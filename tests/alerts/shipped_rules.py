"""The rules as they are shipped, and their tests, read once."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "alerts/tableau.rules.yml"
TESTS = sorted((ROOT / "alerts/tests").glob("*.yml"))
RUNBOOKS = ROOT / "docs/runbooks"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
EVERY: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
RECORDS = {rule["record"]: rule for rule in EVERY if "record" in rule}
ALERTS = [rule for rule in EVERY if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
ASSET = ("site", "project", "asset_type", "asset_id", "asset_name", "content_owner")


def identified(rule: dict[str, Any]) -> str:
    """Name a rule in the list of tests."""
    severity = rule.get("labels", {}).get("severity") or rule.get("labels", {}).get("of", "")
    return f"{rule.get('alert') or rule['record']} {severity}".strip()


def seconds(span: str) -> int:
    """Return a duration in seconds."""
    return sum(
        int(count) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for count, unit in re.findall(r"(\d+)(.)", span)
    )


@dataclass(frozen=True)
class Case:
    """One case of a promtool test: the alert, and the alerts that should fire."""

    alert: str
    says: str
    fires: tuple[str, ...]
    """The severity of each that should."""


@functools.cache
def documents() -> list[dict[str, Any]]:
    """Return the documents of the shipped tests: to read them takes a second."""
    return [yaml.safe_load(path.read_text()) for path in TESTS]


@functools.cache
def cases() -> list[Case]:
    """Return every question of the shipped tests."""
    found = []
    for document in documents():
        for test in document["tests"]:
            alert, _, says = test["name"].partition(" ")
            for case_of in test["alert_rule_test"]:
                expected = tuple(each["exp_labels"]["severity"] for each in case_of["exp_alerts"])
                assert case_of["alertname"] == alert
                found.append(Case(alert, says, expected))
    return found
