"""The three types of panels as Grafana's JSON: stat, time series, table.

Their positions come from ``dashboard.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from grafana.source.queries import promql

Json = dict[str, Any]
Threshold = tuple[float | None, str]
Words = Mapping[int, tuple[str, str]]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
# Links keep the time range and every variable.
KEEP_CONTEXT = "${__url_time_range}&${__all_variables}"
GREEN: Sequence[Threshold] = ((None, "green"),)
RED_ABOVE_0: Sequence[Threshold] = ((None, "green"), (1, "red"))
PLAIN: Sequence[Threshold] = ((None, "text"),)
NOTHING = "-"
# Why a panel is empty, where one source lacks what another has.
NO_REQUESTS = "No repository, no Activity Log and no Admin Insights"
NO_STATUS = "No requests with an HTTP status (Tableau Cloud logs none)"
NO_DURATIONS = "No views, or activity_log.duration_unit is not set (Tableau Cloud)"
NO_QUEUE = "No repository and no REST API, or the Activity Log (which has finished jobs only)"
NO_LISTS = "No repository and no REST API"
NO_PROCESSES = "Unknown (rest.system_info)"
NO_DISKS = "No repository, or no records of disks"


@dataclass(frozen=True)
class Panel:
    """A panel and its size; Grafana's grid is 24 columns wide."""

    width: int
    height: int
    json: Json


@dataclass(frozen=True)
class Line:
    """A query drawn over time, and the legend of its series."""

    query: str
    legend: str
    color: str | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Label:
    """A column of a table that shows a label; ``link`` is the address its cells link to."""

    name: str
    heading: str
    width: int | None = None
    link: str | None = None


@dataclass(frozen=True)
class Value:
    """A column of a table that shows the value of a query."""

    query: str
    heading: str
    unit: str
    thresholds: Sequence[Threshold] = PLAIN
    words: Words | None = None
    decimals: int | None = None
    width: int | None = None


def stat(  # noqa: PLR0913 - each is one setting of the panel
    title: str,
    description: str,
    unit: str,
    query: str,
    *,
    legend: str = "",
    thresholds: Sequence[Threshold] = PLAIN,
    words: Words | None = None,
    no_value: str = "No data",
    link: str | None = None,
    width: int = 4,
    graph: bool = True,
    decimals: int | None = None,
) -> Panel:
    """Return a stat panel of one value, or one for each series, with a sparkline."""
    defaults = _defaults(unit, thresholds, words, decimals) | {"noValue": no_value}
    options = {
        "colorMode": "value",
        "graphMode": "area" if graph else "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    }
    targets = [_target("A", query, legend, instant=not graph)]
    panel = Panel(width, 4, _panel("stat", title, description, targets, defaults, options) | {"links": []})
    return linked(panel, link) if link else panel


def linked(panel: Panel, board: str) -> Panel:
    """Return the same panel with a link to a dashboard, as the overview has it."""
    return replace(panel, json=panel.json | {"links": [_link(f"Show {board}", f"/d/tableau-{board}?{KEEP_CONTEXT}")]})


def timeseries(
    title: str,
    description: str,
    unit: str,
    lines: Sequence[Line],
    *,
    no_value: str = "No data",
    width: int = 12,
    logarithmic: bool = False,
    points: int | None = None,
) -> Panel:
    """Return a time series panel; a line breaks where there is no data.

    ``points`` limits the number of evaluations, where each reads every asset.
    """
    custom: Json = {"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": False}
    defaults = _defaults(unit, GREEN) | {"custom": custom, "noValue": no_value}
    if logarithmic:
        custom |= {"fillOpacity": 0, "scaleDistribution": {"log": 10, "type": "log"}}
    else:
        # An axis from 0 does not exaggerate small changes.
        defaults["min"] = 0
    defaults["color"] = {"mode": "palette-classic"}
    options = {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    targets = [_target(ref, line.query, line.legend) for ref, line in zip(ascii_uppercase, lines, strict=False)]
    json = _panel("timeseries", title, description, targets, defaults, options)
    if points:
        json["maxDataPoints"] = points
    json["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byFrameRefID", "options": ref}, "properties": _drawn(line)}
        for ref, line in zip(ascii_uppercase, lines, strict=False)
        if line.color or line.dashed
    ]
    return Panel(width, 8, json)


def table(
    title: str,
    description: str,
    columns: Sequence[Label | Value],
    *,
    sort_by: str,
    no_value: str = "No data",
    width: int = 24,
    height: int = 8,
) -> Panel:
    """Return a table of instant queries: one row for each set of labels, in descending order of ``sort_by``."""
    values = [column for column in columns if isinstance(column, Value)]
    targets = [
        _target(ref, value.query, instant=True) | {"format": "table"}
        for ref, value in zip(ascii_uppercase, values, strict=False)
    ]
    defaults = _defaults(values[0].unit, PLAIN) | {"noValue": no_value, "custom": _cells()}
    options = {
        "cellHeight": "sm",
        "frameIndex": 0,
        "showHeader": True,
        "sortBy": [{"desc": True, "displayName": sort_by}],
    }
    json = _panel("table", title, description, targets, defaults, options)
    json["fieldConfig"]["overrides"] = [_column(column) for column in columns]
    json["transformations"] = _transformations(columns, sort_by)
    return Panel(width, height, json)


def _cells() -> Json:
    return {
        "align": "auto",
        "cellOptions": {"type": "auto"},
        "filterable": True,
        "inspect": False,
        "minWidth": 60,
    }


def _transformations(columns: Sequence[Label | Value], sort_by: str) -> list[Json]:
    """Return the transformations that join the results into one table with its columns and headings."""
    answers = iter(_value_fields(sum(isinstance(column, Value) for column in columns)))
    names = [column.name if isinstance(column, Label) else next(answers) for column in columns]
    organized = {
        "excludeByName": {},
        "indexByName": {name: place for place, name in enumerate(names)},
        "renameByName": dict(zip(names, (column.heading for column in columns), strict=True)),
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": names}}},
        {"id": "organize", "options": organized},
        # Joined rows are in the order of the first query: sort them.
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"desc": True, "field": sort_by}]}},
    ]


def _value_fields(count: int) -> list[str]:
    # Grafana names the value by its query only where there are several.
    return ["Value"] if count == 1 else [f"Value #{ref}" for ref in ascii_uppercase[:count]]


def _panel(kind: str, title: str, description: str, targets: list[Json], defaults: Json, options: Json) -> Json:
    return {
        "datasource": DATASOURCE,
        "description": " ".join(description.split()),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
        "title": title,
        "type": kind,
    }


def _link(title: str, url: str) -> Json:
    # Grafana's type needs every key; the address itself keeps time and variables.
    given = {"asDropdown": False, "icon": "", "includeVars": False, "keepTime": False, "tags": []}
    return given | {"targetBlank": False, "title": title, "tooltip": "", "type": "link", "url": url}


def _target(ref: str, query: str, legend: str = "", *, instant: bool = False) -> Json:
    return {
        "datasource": DATASOURCE,
        "expr": promql(query),
        "instant": instant,
        "legendFormat": legend or "__auto",
        "range": not instant,
        "refId": ref,
    }


def _defaults(
    unit: str,
    thresholds: Sequence[Threshold],
    words: Words | None = None,
    decimals: int | None = None,
) -> Json:
    steps = [{"color": color, "value": value} for value, color in thresholds]
    json: Json = {
        "color": {"mode": "thresholds"},
        "mappings": _mappings(words),
        "thresholds": {"mode": "absolute", "steps": steps},
        "unit": unit,
    }
    return json if decimals is None else json | {"decimals": decimals}


def _mappings(words: Words | None) -> list[Json]:
    if not words:
        return []
    options = {
        f"{value}": {"color": color, "index": index, "text": text}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return [{"options": options, "type": "value"}]


def _drawn(line: Line) -> list[Json]:
    properties: list[Json] = []
    if line.color:
        properties.append({"id": "color", "value": {"fixedColor": line.color, "mode": "fixed"}})
    if line.dashed:
        properties.append({"id": "custom.lineStyle", "value": {"dash": [8, 6], "fill": "dash"}})
        properties.append({"id": "custom.fillOpacity", "value": 0})
    return properties


def _column(column: Label | Value) -> Json:
    properties: list[Json] = [{"id": "custom.width", "value": column.width}] if column.width else []
    if isinstance(column, Label):
        # Without it a version such as 2025.3 is read as a number.
        properties += [{"id": "noValue", "value": ""}, {"id": "unit", "value": "string"}]
        if column.link:
            properties.append({"id": "links", "value": [{"title": "Show", "url": column.link}]})
    else:
        given = _defaults(column.unit, column.thresholds, column.words, column.decimals) | {"noValue": NOTHING}
        properties += [{"id": key, "value": value} for key, value in given.items() if value != []]
        if len(column.thresholds) > 1 or column.words:
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    return {"matcher": {"id": "byName", "options": column.heading}, "properties": properties}
