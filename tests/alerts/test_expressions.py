"""The families and labels of the rules exist, and their arithmetic is sound."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.promql import read
from tests.alerts.shipped_rules import ALERTS, EVERY, RECORDS, RUNBOOKS, identified
from tests.alerts.soundness import faults

# No thresholds: nothing, one, seconds of an hour.
PLAIN_NUMBERS = {"0", "1", "3600"}
ALL = {identified(rule): read(str(rule["expr"])) for rule in EVERY}


@pytest.mark.parametrize("name", ALL)
def test_expressions_are_sound(name: str) -> None:
    """Only known families and labels, rates of counters alone, sums before quotients."""
    assert list(faults(ALL[name])) == []


@pytest.mark.parametrize("rule", ALERTS, ids=identified)
def test_thresholds_stand_in_one_place(rule: dict[str, Any]) -> None:
    """An alert holds no number of its own, and each threshold that it names is recorded."""
    assert set(ALL[identified(rule)].numbers) <= PLAIN_NUMBERS
    recorded = {each["labels"]["of"] for each in EVERY if each.get("record") == "tableau:threshold"}
    assert set(re.findall(r'tableau:threshold\{of="(\w+)"\}', rule["expr"])) <= recorded


def test_no_threshold_and_no_recording_is_idle() -> None:
    """Each is used by some rule, a recording perhaps by its texts."""
    used = " ".join(str(rule["expr"]) + str(rule.get("annotations", "")) for rule in EVERY)
    thresholds = {each["labels"]["of"] for each in EVERY if each.get("record") == "tableau:threshold"}
    assert {of for of in thresholds if f'of="{of}"' not in used} == set()
    assert {record for record in RECORDS if record not in used} == set()


@pytest.mark.parametrize("rule", ALERTS, ids=identified)
def test_no_alert_carries_its_target(rule: dict[str, Any]) -> None:
    """Job and instance are aggregated away: the agent can push the same alert. But who is down must be named."""
    kept = [
        selector.metric
        for selector in ALL[identified(rule)].selectors
        if selector.metric not in RECORDS and not {"sum", "max", "min"} & set(selector.within)
    ]
    assert kept == (["up", "up"] if rule["alert"] == "TableauExporterDown" else [])


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_the_questions_of_the_runbooks_are_sound(path: Path) -> None:
    """The queries of a runbook use known families and labels too."""
    questions = re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL)
    assert [fault for question in questions for fault in faults(read(question))] == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("tableau_upp == 0", "nobody exposes tableau_upp"),
        ("tableau_background_job_run_seconds > 0", "nobody exposes tableau_background_job_run_seconds"),
        ('tableau_up{sauce="rest"}', "tableau_up has no label sauce"),
        ("sum by (site) (tableau_up)", "by (site): no metric here has it"),
        ("rate(tableau_content_bytes[5m])", "the rate of tableau_content_bytes, which is no counter"),
        ("deriv(tableau_logins_total[5m])", "tableau_logins_total is a counter, and is treated as a gauge"),
        (
            "increase(tableau:archive_lag:seconds[5m])",
            "the rate of tableau:archive_lag:seconds, which is no counter",
        ),
        (
            "avg(tableau:http_requests_failed:ratio15m)",
            "ratios are averaged or added up: aggregate first, then divide",
        ),
        (
            "sum without (site) (rate(tableau_logins_total[5m]) / tableau_users)",
            "ratios are averaged or added up: aggregate first, then divide",
        ),
    ],
)
def test_unsound_expressions_are_found(expression: str, fault: str) -> None:
    """The forbidden expressions are detected."""
    assert fault in list(faults(read(expression)))
