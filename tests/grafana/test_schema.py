"""The dashboards against Grafana's own types, as ``tests/grafana/schema/derive`` turned them into JSON schemas."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.grafana.dashboards import BOARDS, panels

FOLDER = Path(__file__).parent / "schema"
# What a panel gives Grafana beyond what every panel has; a figure has no field settings of its own kind.
FIELD_SETTINGS = {"timeseries", "table"}
# The keys of an annotation that Grafana's type has and those of Prometheus' data source beside them.
ANNOTATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["datasource", "enable", "expr", "iconColor", "name"],
    "properties": {
        "datasource": {"const": {"type": "prometheus", "uid": "${datasource}"}},
        "enable": {"type": "boolean"},
        "expr": {"type": "string", "minLength": 1},
        "iconColor": {"type": "string"},
        "name": {"type": "string"},
        "step": {"type": "string"},
        "tagKeys": {"type": "string"},
        "textFormat": {"type": "string"},
        "titleFormat": {"type": "string"},
    },
}
# The types of Prometheus' data source are under another licence: its few keys are written here.
QUESTION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["datasource", "expr", "refId", "instant", "range"],
    "properties": {
        "datasource": {"const": {"type": "prometheus", "uid": "${datasource}"}},
        "expr": {"type": "string", "minLength": 1},
        "refId": {"type": "string", "pattern": "^[A-Z]$"},
        "instant": {"type": "boolean"},
        "range": {"type": "boolean"},
        "legendFormat": {"type": "string"},
        "format": {"enum": ["time_series", "table"]},
    },
}


def schema(name: str) -> Draft7Validator:
    """Return a validator of a type."""
    return Draft7Validator(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def faults(of: Draft7Validator, document: object, where: str) -> Iterator[str]:
    """Yield the parts of a document that are not of a type."""
    for error in of.iter_errors(document):
        reasons = error.context or [error]
        yield from (f"{where}/{'/'.join(map(str, reason.absolute_path))}: {reason.message[:200]}" for reason in reasons)


def board_faults(board: Mapping[str, Any]) -> list[str]:
    """Return the parts of a dashboard that Grafana's types lack."""
    found = list(faults(schema("dashboard"), {**board, "annotations": {"list": []}}, "dashboard"))
    for annotation in board["annotations"]["list"]:
        found += faults(Draft7Validator(ANNOTATION), annotation, "annotations")
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        found += faults(schema(f"{panel['type']}-options"), panel["options"], panel["title"])
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if panel["type"] in FIELD_SETTINGS:
            found += faults(schema(f"{panel['type']}-field"), custom, panel["title"])
        else:
            assert custom == {}
        for target in panel["targets"]:
            found += faults(Draft7Validator(QUESTION), target, panel["title"])
    return found


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_are_of_grafanas_types(name: str) -> None:
    """The dashboard, the options and field settings of each panel, and each question have no key that is not known."""
    assert board_faults(BOARDS[name]) == []


@pytest.mark.parametrize("name", BOARDS)
def test_overrides_set_what_a_column_or_line_has(name: str) -> None:
    """Overrides of one column or line have the same types as the defaults of all."""
    for panel in panels(name):
        for override in panel["fieldConfig"]["overrides"]:
            given = {each["id"]: each["value"] for each in override["properties"]}
            custom = {key.removeprefix("custom."): value for key, value in given.items() if key.startswith("custom.")}
            field = {key: value for key, value in given.items() if not key.startswith("custom.")}
            whole = {**panel["fieldConfig"]["defaults"], **field}
            whole["custom"] = {**whole.get("custom", {}), **custom}
            changed = {**panel, "fieldConfig": {"defaults": whole, "overrides": []}}
            assert board_faults({**BOARDS[name], "panels": [changed]}) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("refresh",), 60),
        (("panels", 1, "fieldConfig", "defaults", "unti"), "s"),
        (("panels", 1, "options", "graphMode"), "aera"),
        (("panels", 1, "gridPos", "w"), "wide"),
        (("panels", 1, "targets", 0, "expression"), "up"),
        (("templating", "list", 1, "refresh"), 5),
    ],
)
def test_what_is_not_of_grafanas_types_is_found(path: tuple[str | int, ...], value: object) -> None:
    """A key that is misspelt or a value of another kind is a fault."""
    board = json.loads(json.dumps(BOARDS["overview"]))
    place = board
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert board_faults(board)
