"""The shipped alert rules and the shipped example for Alertmanager, given shorter waits for a demo.

Their waits are for a real Tableau: too long for a demo.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from exporter.alerting.evaluator import EvaluationOptions
from exporter.alerting.rules import RULES

RULES_FILE, ALERTMANAGER_FILE = "tableau.rules.yml", "alertmanager.yml"
# A minute becomes a second. repeat_interval stays: nothing is to be notified twice.
FACTOR = 60
INTERVAL_SECONDS = 2
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
RULE_WAIT = re.compile(r"(?m)^(?P<key> +(?:for|keep_firing_for): )(?P<span>\d+[smhd])$")
# Records of disks come every half a minute, and the trouble of the cluster lasts for a minute.
SERVER_WINDOW = re.compile(r"(?<=tableau_server_)(?P<family>\w+)\[6h\]")
SHORT_WINDOW = "2m"
ROUTE_WAITS = ("group_wait", "group_interval")
NOBODY = "nobody"


def rules(text: str) -> str:
    """Return the text of rules with shorter waits, and shorter windows of processes and disks."""
    waits = RULE_WAIT.sub(lambda match: f"{match['key']}{shorter(match['span'])}", text)
    return SERVER_WINDOW.sub(rf"\g<family>[{SHORT_WINDOW}]", waits)


def shorter(span: str) -> str:
    """Return a sixtieth of a duration, and never nothing."""
    return f"{max(int(span[:-1]) * UNITS[span[-1]] // FACTOR, 1)}s"


def tempo() -> EvaluationOptions:
    """Return the agent's own rules with the same shorter waits; it evaluates before Prometheus can."""
    rules = [
        replace(
            rule, for_seconds=rule.for_seconds / FACTOR, keep_firing_for_seconds=rule.keep_firing_for_seconds / FACTOR
        )
        for rule in RULES
    ]
    return EvaluationOptions(rules, INTERVAL_SECONDS / 2)


def alertmanager(text: str, webhook: str) -> str:
    """Return a configuration of Alertmanager with its routes and inhibitions, whose receivers are all one webhook."""
    example: dict[str, Any] = yaml.safe_load(text)
    names = [receiver["name"] for receiver in example["receivers"]]
    configuration = {
        "route": _route(example["route"]),
        "inhibit_rules": example["inhibit_rules"],
        "receivers": [_receiver(name, webhook) for name in names],
    }
    return yaml.safe_dump(configuration, sort_keys=False)


def prometheus(agent: str, alertmanager: str | None, rules: Path | None) -> str:
    """Return a configuration of Prometheus that scrapes the agent, both given as host and port."""
    configuration: dict[str, Any] = {
        "global": {
            "scrape_interval": f"{INTERVAL_SECONDS}s",
            "scrape_timeout": f"{INTERVAL_SECONDS}s",
            "evaluation_interval": f"{INTERVAL_SECONDS}s",
        },
        "scrape_configs": [{"job_name": "tableau", "static_configs": [{"targets": [agent]}]}],
    }
    if rules:
        configuration["rule_files"] = [str(rules)]
    if alertmanager:
        configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return yaml.safe_dump(configuration, sort_keys=False)


def _route(route: dict[str, Any]) -> dict[str, Any]:
    waits = {key: shorter(route[key]) for key in ROUTE_WAITS if key in route}
    below = {"routes": [_route(each) for each in route["routes"]]} if "routes" in route else {}
    return route | waits | below


def _receiver(name: str, webhook: str) -> dict[str, Any]:
    if name == NOBODY:
        return {"name": name}
    return {"name": name, "webhook_configs": [{"url": webhook, "send_resolved": True}]}
