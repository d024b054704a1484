"""The dashboards as they are committed: their panels and questions, and what Grafana would make of a question."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana/dashboards"
PATHS = sorted(FOLDER.glob("*.json"))
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in PATHS}
VARIABLE = re.compile(r"\$\{?(__)?\w+(:\w+)?\}?")
# What the variables are where nothing is chosen.
ALL = {"job": ".+", "instance": ".+", "site": ".+", "project": ".*", "content_owner": ".*", "asset_id": ""}
TIMES = {"__rate_interval": "5m", "__range": "6h", "__interval": "1m"}


@dataclass(frozen=True)
class PanelQuery:
    """A question of a panel, as it stands in the file."""

    board: str
    panel: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that identifies it."""
        return f"{self.board}/{self.panel['title']}/{self.target['refId']}"

    @property
    def question(self) -> str:
        """The expression with its variables."""
        return str(self.target["expr"])

    def rendered(self) -> set[str]:
        """Return the labels on its panel: as columns of a table, or in the names of series."""
        if self.panel["type"] == "table":
            return set(columns(self.panel)) - {column for column in columns(self.panel) if column.startswith("Value")}
        return set(re.findall(r"{{(\w+)}}", self.target["legendFormat"]))


def panels(board: str) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, headings apart."""
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def columns(panel: Mapping[str, Any]) -> list[str]:
    """Return the fields of a table, by their names before they get a heading."""
    (names,) = (
        each["options"]["include"]["names"] for each in panel["transformations"] if each["id"] == "filterFieldsByName"
    )
    return list(names)


def query() -> Iterator[PanelQuery]:
    """Yield every question of every dashboard."""
    for board in BOARDS:
        for panel in panels(board):
            for target in panel["targets"]:
                yield PanelQuery(board, panel, target)


def substituted(question: str, values: Mapping[str, str]) -> str:
    """Return a question with its variables replaced; KeyError for one that is not known."""
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], question)


EVERY = list(query())
