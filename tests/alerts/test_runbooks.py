"""The runbooks: one for each alert, with all its parts, and with questions that have answers."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import yaml

from exporter import collectors
from exporter.alerting.rules import NOT_EVALUATED
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from tests.alerts.shipped_rules import NAMES, RUNBOOKS
from tests.support.components import require

# What the agent raises besides, of its own rules.
WITH_RUNBOOK = sorted([*NAMES, NOT_EVALUATED.alert])
EVERY_RUNBOOK = sorted(RUNBOOKS.glob("*.md"))
SQL = re.compile(r"`((?:SELECT|FROM) [^`]+)`")


def test_every_runbook_is_for_an_alert() -> None:
    """docs/runbooks/ has a runbook for each alert and none for anything else."""
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == WITH_RUNBOOK


@pytest.mark.parametrize("name", WITH_RUNBOOK)
def test_each_runbook_has_its_parts(name: str) -> None:
    """Meaning, impact, diagnosis, mitigation and silence; with a query, a dashboard and a matcher."""
    path = RUNBOOKS / f"{name}.md"
    text = path.read_text()
    heads = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Silence"]
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"(?m)^## (.+)$", text) == heads
    assert "```promql\n" in text
    assert re.search(r"`/d/tableau-(overview|usage|freshness|background-jobs|server|governance|agent)`", text)
    assert f"amtool silence add alertname={name}" in text


def test_the_questions_of_the_runbooks_parse(tmp_path: Path) -> None:
    """promtool accepts every expression of a runbook."""
    fetched = [
        block
        for path in sorted(RUNBOOKS.glob("*.md"))
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL)
    ]
    records = [{"record": f"question:{number}", "expr": part} for number, part in enumerate(fetched)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": records}]}))
    subprocess.run([require("promtool"), "check", "rules", path], check=True)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which nothing happened yet."""
    file = HistoryFile(tmp_path_factory.mktemp("history") / "history.duckdb")
    History(file, collectors.discover(), Privacy()).prepare(datetime(2025, 11, 19, tzinfo=UTC))
    return Path(file.path)


@pytest.mark.parametrize(
    "path", [path for path in EVERY_RUNBOOK if SQL.search(path.read_text())], ids=lambda path: path.stem
)
def test_the_questions_to_the_history_are_taken(path: Path, history: Path) -> None:
    """DuckDB accepts every SQL of a runbook: tables and columns are those of the history."""
    with duckdb.connect(str(history), read_only=True) as connection:
        for question in SQL.findall(path.read_text()):
            connection.execute(question).fetchall()
