"""The rules of Grafana's dashboard-linter, written once more: the findings of each in a dashboard.

A finding is the title of the panel, or nothing where it concerns the whole dashboard, and what is wrong.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.alerts.promql import read
from tests.grafana.dashboards import ALL, TIMES, substituted

Board = Mapping[str, Any]
Finding = tuple[str, str]
DATASOURCES = {"$datasource", "${datasource}"}
# Those of Grafana's units that are used here; a misspelt one would be taken for a text behind the number.
UNITS = {"none", "short", "percentunit", "s", "h", "bytes", "reqps", "ops", "cps", "dateTimeFromNow", "string"}
RATES = {"rate", "irate"}
GROWTH = {*RATES, "increase"}


def panels(board: Board) -> Iterator[Mapping[str, Any]]:
    """Yield the panels, headings apart."""
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def questions(board: Board) -> Iterator[tuple[str, str]]:
    """Yield the title of its panel with each question."""
    for panel in panels(board):
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])


def variable(board: Board, name: str) -> Mapping[str, Any]:
    """Return a variable; an empty one where it is not there."""
    return next((each for each in board["templating"]["list"] if each["name"] == name), {})


def template_datasource(board: Board) -> Iterator[Finding]:
    """The data source is chosen by a variable of that name."""
    found = [each for each in board["templating"]["list"] if each["type"] == "datasource"]
    if [(each["name"], each["label"], each["query"]) for each in found] != [
        ("datasource", "Data source", "prometheus")
    ]:
        yield "", "no variable for the data source"


def _template(name: str) -> Callable[[Board], Iterator[Finding]]:
    def check(board: Board) -> Iterator[Finding]:
        given = variable(board, name)
        wanted = {"type": "query", "label": name.title(), "multi": True, "allValue": ".+"}
        if {key: given.get(key) for key in wanted} != wanted or given["datasource"]["uid"] not in DATASOURCES:
            yield "", f"no variable {name} with one, several or all values"

    return check


def template_label_promql(board: Board) -> Iterator[Finding]:
    """The values of a variable come from a question that Prometheus' data source understands."""
    for each in board["templating"]["list"]:
        query = each["query"]["query"] if each["type"] == "query" else "label_values(up, job)"
        if not re.fullmatch(r"label_values\((.+), *\w+\)", query):
            yield "", f"the variable {each['name']} asks {query}"


def template_reload(board: Board) -> Iterator[Finding]:
    """The values of a variable are queried anew when the time changes."""
    stale = [each["name"] for each in board["templating"]["list"] if each["type"] == "query" and each["refresh"] != 2]
    yield from (("", f"the variable {name} keeps old values") for name in stale)


def panel_datasource(board: Board) -> Iterator[Finding]:
    """Every panel queries the selected data source."""
    for panel in panels(board):
        expression = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        if any(each["uid"] not in DATASOURCES for each in expression):
            yield panel["title"], "asks a data source of its own"


def panel_title_description(board: Board) -> Iterator[Finding]:
    """Every panel has a title and a description."""
    for panel in panels(board):
        if not panel.get("title") or not panel.get("description"):
            yield panel.get("title", ""), "no title or no description"


def panel_units(board: Board) -> Iterator[Finding]:
    """Every panel and every column has a unit of Grafana."""
    for panel in panels(board):
        field = panel["fieldConfig"]
        given = [field["defaults"].get("unit")]
        given += [
            each["value"] for override in field["overrides"] for each in override["properties"] if each["id"] == "unit"
        ]
        yield from ((panel["title"], f"unit {unit}") for unit in given if unit not in UNITS)


def panel_no_targets(board: Board) -> Iterator[Finding]:
    """Every panel has a query."""
    yield from ((panel["title"], "asks nothing") for panel in panels(board) if not panel.get("targets"))


def target_rate_interval(board: Board) -> Iterator[Finding]:
    """Rates are over the interval that Grafana finds fitting: never shorter than four scrapes."""
    for title, question in questions(board):
        for function, span in re.findall(r"\b(\w+)\([^()\[\]]*\[([^\]]+)\]", question):
            if function in RATES and span != "$__rate_interval":
                yield title, f"{function} over {span}"


def _target_matcher(name: str) -> Callable[[Board], Iterator[Finding]]:
    def check(board: Board) -> Iterator[Finding]:
        for title, question in questions(board):
            for selector in read(substituted(question, ALL | TIMES)).selectors:
                if name not in selector.labels:
                    yield title, f"{selector.metric} of every {name}"
            for matcher in re.findall(rf"[{{,]({name}[=!~]+\"[^\"]*\")", question):
                if matcher != f'{name}=~"${name}"':
                    yield title, f"asks for {matcher}"

    return check


def target_counter_agg(board: Board) -> Iterator[Finding]:
    """A counter is drawn as a rate or an increase."""
    for title, question in questions(board):
        for selector in read(substituted(question, ALL | TIMES)).selectors:
            if selector.metric.endswith("_total") and not GROWTH & set(selector.within):
                yield title, f"{selector.metric} as it stands"


def uneditable(board: Board) -> Iterator[Finding]:
    """A dashboard provisioned from a file cannot be edited, and the edit lost."""
    if board["editable"] is not False:
        yield "", "is editable"


RULES: Mapping[str, Callable[[Board], Iterator[Finding]]] = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": _template("job"),
    "template-instance-rule": _template("instance"),
    "template-label-promql-rule": template_label_promql,
    "template-on-time-change-reload-rule": template_reload,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "panel-no-targets-rule": panel_no_targets,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": _target_matcher("job"),
    "target-instance-rule": _target_matcher("instance"),
    "target-counter-agg-rule": target_counter_agg,
    "uneditable-dashboard-rule": uneditable,
}
