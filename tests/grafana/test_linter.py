"""The rules of Grafana's dashboard-linter find nothing, but for what ``grafana/dashboards/.lint`` explains."""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.grafana.dashboards import ALL, BOARDS, EVERY, FOLDER, TIMES, substituted
from tests.grafana.linter import RULES
from tests.support.components import require

EXCLUSIONS: dict[str, Any] = yaml.safe_load((FOLDER / ".lint").read_text())["exclusions"]


def excused(rule: str) -> set[tuple[str, str]]:
    """Return the dashboards and panels in which a rule may find something."""
    return {(entry["dashboard"], entry.get("panel", "")) for entry in EXCLUSIONS.get(rule, {"entries": []})["entries"]}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_finds_what_is_explained_and_nothing_else(rule: str) -> None:
    """A finding is an exclusion with a reason; an exclusion that is not needed any more is gone."""
    found = [(board["title"], panel, what) for board in BOARDS.values() for panel, what in RULES[rule](board)]
    assert [finding for finding in found if finding[:2] not in excused(rule)] == []
    assert excused(rule) <= {(title, panel) for title, panel, _ in found}


def test_every_exclusion_has_its_reason() -> None:
    """Each exception is of an existing rule, and has a reason."""
    assert EXCLUSIONS.keys() <= RULES.keys()
    assert all(exclusion["reason"].endswith(".") for exclusion in EXCLUSIONS.values())


def test_every_question_parses(tmp_path: Path) -> None:
    """target-promql-rule: promtool accepts every question, with its variables replaced."""
    records = [
        {"record": f"question:{number}", "expr": substituted(query.question, ALL | TIMES)}
        for number, query in enumerate(EVERY)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": records}]}))
    subprocess.run([require("promtool"), "check", "rules", path], check=True)


def _set(*path: str | int, value: object) -> Callable[[Any], None]:
    def change(board: Any) -> None:  # noqa: ANN401 - JSON
        for step in path[:-1]:
            board = board[step]
        board[path[-1]] = value

    return change


def _asks(question: str) -> Callable[[Any], None]:
    return _set("panels", 1, "targets", 0, "expr", value=question)


HERE = 'job=~"$job",instance=~"$instance"'


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("template-datasource-rule", _set("templating", "list", 0, "name", value="prometheus")),
        ("template-job-rule", _set("templating", "list", 1, "multi", value=False)),
        ("template-instance-rule", _set("templating", "list", 2, "allValue", value=".*")),
        ("template-label-promql-rule", _set("templating", "list", 3, "query", "query", value="site")),
        ("template-on-time-change-reload-rule", _set("templating", "list", 3, "refresh", value=1)),
        ("panel-datasource-rule", _set("panels", 1, "datasource", "uid", value="prometheus")),
        ("panel-datasource-rule", _set("panels", 1, "targets", 0, "datasource", "uid", value="prometheus")),
        ("panel-title-description-rule", _set("panels", 1, "description", value="")),
        ("panel-units-rule", _set("panels", 1, "fieldConfig", "defaults", "unit", value="seconds")),
        ("panel-no-targets-rule", _set("panels", 1, "targets", value=[])),
        ("target-rate-interval-rule", _asks(f"rate(tableau_logins_total{{{HERE}}}[5m])")),
        ("target-job-rule", _asks('tableau_up{instance=~"$instance"}')),
        ("target-job-rule", _asks('tableau_up{job="tableau",instance=~"$instance"}')),
        ("target-instance-rule", _asks('tableau_up{job=~"$job"}')),
        ("target-counter-agg-rule", _asks(f"sum(tableau_logins_total{{{HERE}}})")),
    ],
)
def test_what_a_rule_forbids_is_found(rule: str, change: Callable[[Any], None]) -> None:
    """Each rule detects its fault."""
    board = copy.deepcopy(BOARDS["usage"])
    before = list(RULES[rule](board))
    change(board)
    assert len(list(RULES[rule](board))) > len(before)


def test_an_editable_dashboard_is_found() -> None:
    """The rule whose finding is excluded for every dashboard is satisfied by one that cannot be edited."""
    board = copy.deepcopy(BOARDS["usage"])
    assert list(RULES["uneditable-dashboard-rule"](board))
    board["editable"] = False
    assert not list(RULES["uneditable-dashboard-rule"](board))
