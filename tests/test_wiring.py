"""The agent's imports: the libraries that its configuration needs, and no others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = {"REPOSITORY__HOSTS": "127.0.0.1:1"}
REST = {"REST__URL": "http://127.0.0.1:1", "REST__TOKEN_NAME": "a", "REST__TOKEN_VALUE": "b"}
ALERTMANAGER = {"ALERTMANAGER__URLS": "http://127.0.0.1:1"}
# What some part needs and others do not, each with the part that imports it.
LIBRARIES = frozenset(
    {
        *("cryptography", "deltalake", "graphql", "httpx", "jwt", "psycopg", "pyarrow.fs", "rich.progress"),
        *("tableauserverclient", "exporter.backfill", "exporter.demo", "exporter.importing", "exporter.maintenance"),
    }
)
# Of httpx: it has a command line of its own, with a progress bar.
HTTPX = {"httpx", "rich.progress"}

BUILD = """
import gc, os
from pathlib import Path
from exporter.cli.common import without_gc
with without_gc():
    from exporter import app, collectors, logs
    from exporter.config import RunOptions
options = RunOptions(Path("none.yml"), environ=dict(os.environ))
app.Agent(options, options.load(collectors.discover()), logs.configure("error"))
assert gc.isenabled() and gc.get_freeze_count()
"""


def imported(program: str, folder: Path, **settings: str) -> set[str]:
    """Return the modules that a program has imported, which prints nothing, at its end neither."""
    environment = {f"TABLEAU_EXPORTER_{key}": value for key, value in settings.items()}
    command = [sys.executable, "-c", f"{program}\nimport json, sys; print(json.dumps(list(sys.modules)))"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    # DuckDB's bindings report what garbage collection has not freed.
    assert done.stderr == ""
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (REPOSITORY, {"psycopg"}),
        (REST, {"tableauserverclient"}),
        (REPOSITORY | ALERTMANAGER, {"psycopg", *HTTPX}),
    ],
    ids=["repository", "rest", "alertmanager"],
)
def test_an_agent_imports_the_libraries_of_its_configuration(
    tmp_path: Path, settings: dict[str, str], expected: set[str]
) -> None:
    """A source, an Alertmanager or an export that is not configured costs an agent neither time nor memory."""
    history = str(tmp_path / "history.duckdb")
    assert imported(BUILD, tmp_path, HISTORY__PATH=history, **settings) & LIBRARIES == expected


def test_the_command_line_imports_no_library(tmp_path: Path) -> None:
    """Without a command only click is imported: --version and completion answer at once."""
    libraries = {"duckdb", "numpy", "pyarrow", "pydantic", "rich", "structlog", "uvicorn", "yaml"}
    assert not imported("import exporter.cli", tmp_path) & libraries
