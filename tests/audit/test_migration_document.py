"""The job of docs/migration-notebook.md, as it stands there, on a simulated Tableau Cloud."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from tests.audit.conftest import SetUp
from tests.test_documentation import ROOT, block

DOCUMENT = "docs/migration-notebook.md"
TABLE = "bronze_tableau_observability_logs"
NAME, VALUE = next(iter(TOKENS.items()))
PROGRAM = f"{shlex.quote(sys.executable)} -m exporter"
WORKBOOKS, DATASOURCES = 30, 10


@pytest.fixture(scope="module")
def server() -> Iterator[TableauServer]:
    """A Tableau Cloud with one site."""
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    with TableauServer(Estate.large(WORKBOOKS, DATASOURCES, flows=0, sites=1, people=5, now=now).plain()) as running:
        yield running


def here(text: str, server: TableauServer, folder: Path) -> str:
    """Return the commands of the document with this server, this program and a folder for the lake."""
    (folder / "token").write_text(VALUE)
    (site,) = server.estate.facts()
    changes = {
        "https://eu-west-1a.online.tableau.com": server.url,
        "mysite": site.url,
        "/etc/tableau-exporter/": f"{folder}/",
        "s3://lake/": f"{folder}/",
    }
    for old, new in changes.items():
        assert old in text or old == "/etc/tableau-exporter/"
        text = text.replace(old, new)
    return text


def rows(folder: Path) -> int:
    """Return how many rows the table has; there may be no other asset than those of the site."""
    table = DeltaTable(folder / TABLE).to_pyarrow_dataset().to_table()
    assert len(set(table["asset_id"].to_pylist())) == WORKBOOKS + DATASOURCES
    return int(table.num_rows)


def test_the_commands_of_the_job_append_an_audit(server: TableauServer, environment: SetUp, tmp_path: Path) -> None:
    """With the token in a file: the first prints, the second appends every asset once."""
    environment(None)
    script = here(block(DOCUMENT, "job"), server, tmp_path)
    script = re.sub(r"(?m)^tableau-exporter (.*?) +#", rf"{PROGRAM} \1 || [ $? = 2 ] #", script)
    assert script.count(PROGRAM) == 2
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-e", "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1 + WORKBOOKS + DATASOURCES
    assert rows(tmp_path) == WORKBOOKS + DATASOURCES


def test_the_scheduled_notebook_appends_an_audit(server: TableauServer, environment: SetUp, tmp_path: Path) -> None:
    """With the token of a store of secrets, which reaches neither the output nor the table's folder."""
    environment(None)
    program = here(block(DOCUMENT, "scheduled notebook"), server, tmp_path)
    program = program.replace('"/opt/tableau-exporter/bin/tableau-exporter"', f'"{sys.executable}", "-m", "exporter"')
    stand_in = f"""
class secrets:
    get = staticmethod(lambda scope, key: {{("tableau", "exporter"): {VALUE!r}}}[scope, key])

class dbutils:
    secrets = secrets

"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", stand_in + program]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert VALUE not in done.stdout + done.stderr
    assert rows(tmp_path) == WORKBOOKS + DATASOURCES
    assert not any(VALUE.encode() in path.read_bytes() for path in (tmp_path / TABLE).rglob("*") if path.is_file())


def test_the_packages_of_the_document_are_pinned() -> None:
    """The document installs from requirements files of the project, and one of them has deltalake."""
    files = re.findall(r"-r (\S+)", block(DOCUMENT, "install"))
    assert files == ["requirements/build.txt", "requirements/delta.txt"]
    assert "\ndeltalake==" in (ROOT / files[1]).read_text()
