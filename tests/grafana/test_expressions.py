"""The families and labels of the dashboards exist, the arithmetic is sound, and every family is somewhere."""

import re
from collections.abc import Iterator

import pytest

from exporter import collectors
from tests.alerts.promql import read
from tests.alerts.soundness import FAMILIES, family_of, faults
from tests.grafana.dashboards import ALL, BOARDS, EVERY, TIMES, PanelQuery, panels, substituted

LABELS = {label for family in FAMILIES.values() for label in family.labels} | {"alertname", "job", "instance"}
# A table is bounded: by a chosen number of rows, or by labels of few values.
FEW = {
    "site",
    "window",
    "source",
    "outcome",
    "status_class",
    "severity",
    "kind",
    "table",
    "mode",
    "instance",
    "collector",
}
FEW |= {"asset_type", "site_role", "alertmanager", "version", "python", "duckdb", "job_type", "job", "state"}
# As many as are configured; nodes of a cluster, and closed sets of words.
FEW |= {"format", "destination", "node", "status", "state", "days"}
# One asset, chosen; four kinds of exports, named; agents, as many as there are.
BOUNDED = re.compile(r"topk\(|asset_id=\"\$asset_id\"|action=~\"exportcrosstab\|sheetimage\|viewData\|vud\"")


@pytest.mark.parametrize("query", EVERY, ids=lambda query: query.name)
def test_questions_are_sound(query: PanelQuery) -> None:
    """Only known families and labels, rates of counters alone, sums before quotients."""
    assert list(faults(read(substituted(query.question, ALL | TIMES)))) == []


@pytest.mark.parametrize("query", EVERY, ids=lambda query: query.name)
def test_what_is_shown_is_a_label(query: PanelQuery) -> None:
    """Columns and names of series are labels that some family has."""
    assert query.rendered() <= LABELS


def test_every_family_is_shown_somewhere() -> None:
    """Whatever the agent exposes is on a dashboard; no panel needs a recording to be there, but to know of rules."""
    selectors = [each.metric for query in EVERY for each in read(substituted(query.question, ALL | TIMES)).selectors]
    rendered = {
        re.sub(r"_(bucket|sum|count)$", "", metric) if metric not in FAMILIES else metric for metric in selectors
    }
    assert {family.name for family in collectors.families()} - rendered == set()
    assert {metric for metric in selectors if ":" in metric} == {"tableau:threshold"}


def many(question: str) -> Iterator[str]:
    """Yield the labels of an answer that may have any number of values, where nothing puts an end to them."""
    if BOUNDED.search(question):
        return
    expression = read(substituted(question, ALL | TIMES))
    grouped = {label for word, labels in expression.groupings if word == "by" for label in labels}
    yield from grouped - FEW - {"le"}
    for selector in expression.selectors:
        if not {"sum", "max", "min", "count"} & set(selector.within):
            yield from family_of(selector.metric)[1] - FEW


@pytest.mark.parametrize("query", EVERY, ids=lambda query: query.name)
def test_no_answer_is_without_end(query: PanelQuery) -> None:
    """With ten thousand assets and fifty sites no panel has ten thousand lines."""
    assert set(many(query.question)) == set()


@pytest.mark.parametrize(
    ("question", "label"),
    [
        ("tableau_asset_hours_since_refresh", "asset_id"),
        ("sum by (project) (tableau_asset_refresh_suspended)", "project"),
        ("sum by (site, workbook) (rate(tableau_view_requests_total[5m]))", "workbook"),
    ],
)
def test_an_answer_without_end_is_found(question: str, label: str) -> None:
    """A query with a series for each asset, project or view is detected."""
    assert label in set(many(question))


@pytest.mark.parametrize("board", BOARDS)
def test_lines_are_few(board: str) -> None:
    """Graphs over time are named by labels of few values: lines stay readable."""
    for panel in panels(board):
        if panel["type"] == "timeseries":
            rendered = {label for query in EVERY if query.panel is panel for label in query.rendered()}
            assert rendered <= FEW - {"site", "job_type"} | {"asset_name", "action", "action_type", "path"}
