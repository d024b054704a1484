"""A dashboard: rows of panels, variables, annotations, and links to the other dashboards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from grafana.source.panels import DATASOURCE, Json, Panel
from grafana.source.queries import HERE, promql

COLUMNS = 24
TAG = "tableau"
# What Grafana's types of version 13 give; older ones read it too, newer ones bring it up to theirs.
SCHEMA_VERSION = 42
# "All" for a label that every series has, and for one that may be absent.
EVERY, EVERY_OR_NONE = ".+", ".*"


@dataclass(frozen=True)
class Row:
    """A heading, and the panels below it from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard; ``name`` is the name of its file and the end of its uid."""

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Json] = field(default=())
    since: str = "now-6h"

    def json(self) -> Json:
        """Return the content of the file."""
        return {
            "annotations": {"list": [_firing_alerts()]},
            "description": self.description,
            "editable": True,
            "graphTooltip": 1,
            "links": [_links()],
            "panels": list(_laid_out(self.rows)),
            "refresh": "1m",
            "schemaVersion": SCHEMA_VERSION,
            "tags": [TAG],
            "templating": {"list": [*_common(), *self.variables]},
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "title": f"Tableau / {self.title}",
            "uid": f"tableau-{self.name}",
        }


def chosen(name: str, label: str, query: str, all_value: str = EVERY_OR_NONE) -> Json:
    """Return a query variable: one, several or all values of a label."""
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "allValue": all_value,
        "current": everything,
        "datasource": DATASOURCE,
        "includeAll": True,
        "label": label,
        "multi": True,
        "name": name,
        "options": [],
        "query": {"query": promql(query), "refId": name},
        "refresh": 2,
        "regex": "",
        "sort": 5,
        "type": "query",
    }


def typed(name: str, label: str, description: str) -> Json:
    """Return a text box variable, which links fill in."""
    empty = {"selected": True, "text": "", "value": ""}
    json = {"current": empty, "description": description, "label": label, "name": name}
    return json | {"options": [empty], "query": "", "type": "textbox"}


def _common() -> Iterator[Json]:
    yield {
        "current": {"selected": False, "text": "default", "value": "default"},
        "label": "Data source",
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    }
    # Selects a deployment where Prometheus scrapes several: those scraped within the dashboard's time range.
    yield chosen("job", "Job", "label_values(tableau_exporter_build_info, job)", EVERY)
    yield chosen("instance", "Instance", 'label_values(tableau_exporter_build_info{job=~"$job"}, instance)', EVERY)
    # Sites are known from content, from assets, or from the Activity Log alone.
    names = "tableau_asset_info|tableau_content|tableau_activity_log_newest_event_timestamp_seconds"
    yield chosen("site", "Site", f'label_values({{__name__=~"{names}",{HERE}}}, site)', EVERY)


def _firing_alerts() -> Json:
    """Return the annotation layer of firing alerts, in the keys that Grafana's Prometheus data source reads."""
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": promql(
            'ALERTS{alertname=~"Tableau.+",alertstate="firing",severity=~"warning|critical",site=~"$site|"}'
        ),
        "iconColor": "red",
        "name": "Firing alerts",
        "step": "60s",
        "tagKeys": "severity,site",
        "textFormat": "{{asset_name}}",
        "titleFormat": "{{alertname}}",
    }


def _links() -> Json:
    return {
        "asDropdown": False,
        "icon": "dashboard",
        "includeVars": True,
        "keepTime": True,
        "tags": [TAG],
        "targetBlank": False,
        "title": "",
        "tooltip": "",
        "type": "dashboards",
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    """Yield the panels with their positions and ids: from left to right, in as many lines as the grid needs."""
    number = top = 0
    for row in rows:
        number += 1
        yield _row(number, top, row.title)
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield panel.json | {"gridPos": _place(left, top, panel.width, panel.height), "id": number}
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _row(number: int, top: int, title: str) -> Json:
    json = {"collapsed": False, "gridPos": _place(0, top, COLUMNS, 1), "id": number, "panels": []}
    return json | {"title": title, "type": "row"}


def _place(left: int, top: int, width: int, height: int) -> Json:
    return {"h": height, "w": width, "x": left, "y": top}
