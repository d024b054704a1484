"""The files of the dashboards: made from their source, the same everywhere, laid out without a gap, and linked."""

import json
import re
from typing import Any

import pytest

from grafana.source.__main__ import written
from tests.alerts.promql import read
from tests.grafana.dashboards import ALL, BOARDS, EVERY, FOLDER, PATHS, ROOT, panels, substituted

NAMES = ["agent", "background-jobs", "freshness", "governance", "overview", "server", "usage"]
VARIABLES = ["datasource", "job", "instance", "site"]
OWN_VARIABLES = {"freshness": ["project", "content_owner", "asset_id"]}
ADDRESS = re.compile(r"/d/(tableau-[a-z-]+)\?")


def test_the_files_are_those_of_the_source() -> None:
    """Each file equals its source's output; where this fails, run make dashboards."""
    made = dict(written())
    assert sorted(made) == sorted(PATHS)
    assert [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text] == []


def test_the_dashboards_are_those_with_names() -> None:
    """The dashboards are those that documents and alerts name."""
    assert sorted(BOARDS) == NAMES


@pytest.mark.parametrize("name", BOARDS)
def test_a_file_is_the_same_everywhere(name: str) -> None:
    """Keys are in order, the uid is stable, and nothing comes from the database of some Grafana."""
    board = BOARDS[name]
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert text == json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert board["uid"] == f"tableau-{name}"
    assert not {"id", "version", "iteration", "gnetId", "__inputs"} & board.keys()


@pytest.mark.parametrize("name", BOARDS)
def test_firing_alerts_are_annotated(name: str) -> None:
    """Graphs have annotations when alerts of the selected sites fired, and of the alerts without a site."""
    (layer,) = BOARDS[name]["annotations"]["list"]
    assert layer["enable"]
    assert layer["datasource"]["uid"] == "${datasource}"
    (selector,) = read(substituted(layer["expr"], ALL)).selectors
    assert selector.metric == "ALERTS"
    assert {"alertname", "alertstate", "severity", "site"} <= set(selector.labels)
    assert layer["expr"].count('site=~"$site|"') == 1


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_editable_and_tagged(name: str) -> None:
    """A user finds the dashboards by the tag tableau and may change a copy."""
    assert BOARDS[name]["editable"] is True
    assert BOARDS[name]["tags"] == ["tableau"]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_are_numbered_and_named_once(name: str) -> None:
    """A panel can be linked to by its number, and named by its title: no two of a dashboard have the same."""
    numbers = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert numbers == list(range(1, len(numbers) + 1))
    titles = [panel["title"] for panel in panels(name)]
    assert sorted(titles) == sorted(set(titles))
    assert all(panel["description"].endswith(".") for panel in panels(name))


def test_error_rates_are_of_requests_with_a_status() -> None:
    """Tableau Cloud logs no HTTP status: its requests are neither errors nor a part of what errors are divided by."""
    rates = [query for query in EVERY if 'status_class="5xx"' in query.question and "/" in query.question]
    assert len(rates) == 4
    for query in rates:
        assert 'status_class!="unknown"' in query.question.rsplit("/", 1)[1], query.name
    assert not [query.name for query in EVERY if 'status_class="unknown"' in query.question]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap(name: str) -> None:
    """Every panel has its own place on a grid that is 24 columns wide."""
    taken = set[tuple[int, int]]()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_the_same_is_chosen_above_each(name: str) -> None:
    """Every dashboard has the same variables, in the same order; its own come after them."""
    found = [variable["name"] for variable in BOARDS[name]["templating"]["list"]]
    assert found == VARIABLES + OWN_VARIABLES.get(name, [])


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_lead_to_each_other(name: str) -> None:
    """From each there is a way to all, and time and variables go along."""
    (link,) = BOARDS[name]["links"]
    assert link["type"] == "dashboards"
    assert link["includeVars"]
    assert link["keepTime"]
    assert set(link["tags"]) <= set(BOARDS[name]["tags"])


def addresses(panel: dict[str, Any]) -> list[str]:
    """Return where a panel and its cells lead."""
    properties = [each for override in panel["fieldConfig"]["overrides"] for each in override["properties"]]
    links = [link for each in properties if each["id"] == "links" for link in each["value"]]
    return [link["url"] for link in [*panel.get("links", []), *links]]


@pytest.mark.parametrize("name", BOARDS)
def test_links_lead_to_a_dashboard_and_keep_what_was_chosen(name: str) -> None:
    """A link of a panel or a cell is to one of them with its time and variables, or to a runbook."""
    for address in (address for panel in panels(name) for address in addresses(panel)):
        if "/runbooks/" in address:
            assert "https://tableau-exporter.example/runbooks/" in (ROOT / "alerts/tableau.rules.yml").read_text()
            continue
        found = ADDRESS.match(address)
        assert found, address
        assert found[1].removeprefix("tableau-") in BOARDS
        assert "${__url_time_range}" in address
        assert "${__all_variables}" in address or "${datasource:queryparam}" in address


def test_every_figure_of_the_overview_leads_on() -> None:
    """The overview is the entry: its figures lead to their dashboards, alerts to the list below them."""
    figures = [panel for panel in panels("overview") if panel["type"] == "stat"]
    assert [panel["title"] for panel in figures if not panel.get("links")] == ["Critical alerts", "Warnings"]
    led = {found[1] for panel in figures for url in addresses(panel) if (found := ADDRESS.match(url))}
    assert led == {f"tableau-{name}" for name in NAMES if name != "overview"}


@pytest.mark.parametrize("name", BOARDS)
def test_columns_are_found_by_their_headings(name: str) -> None:
    """Every column has its settings, and the one that a table is sorted by is there."""
    for panel in panels(name):
        if panel["type"] != "table":
            continue
        (organize,) = (each["options"] for each in panel["transformations"] if each["id"] == "organize")
        places = organize["indexByName"]
        headings = [organize["renameByName"][field] for field in sorted(places, key=places.__getitem__)]
        assert len(set(headings)) == len(headings)
        assert [override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]] == headings
        assert panel["options"]["sortBy"][0]["displayName"] in headings


@pytest.mark.parametrize("name", NAMES)
def test_each_has_its_picture(name: str) -> None:
    """docs/dashboards.md has a picture of each dashboard, and names how it was made; a picture is small."""
    text = (ROOT / "docs/dashboards.md").read_text()
    image = f"images/dashboard-{name}.png"
    assert f"]({image})" in text
    assert "not in Grafana" in " ".join(text.split())
    assert (ROOT / "docs" / image).read_bytes().startswith(b"\x89PNG")
    assert (ROOT / "docs" / image).stat().st_size < 250_000
