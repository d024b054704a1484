"""docs/scale.md: its configurations of Prometheus are valid, and its query reads a lake of several deployments."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.exports import parquet
from tests.exports.requests import OURS, Requests
from tests.support.components import require
from tests.test_documentation import block

DOCUMENT = "docs/scale.md"


@pytest.mark.parametrize("mark", ["remote write", "federation"])
def test_configurations_of_prometheus_are_valid(mark: str, tmp_path: Path) -> None:
    """promtool accepts each."""
    path = tmp_path / "prometheus.yml"
    path.write_text(block(DOCUMENT, mark))
    subprocess.run([require("promtool"), "check", "config", "--syntax-only", path], check=True)


def test_the_query_counts_each_deployment(tmp_path: Path) -> None:
    """The folder's name is a column, though the ids of both histories are the same."""
    for deployment, transactions in (("berlin", 3), ("tokyo", 2)):
        target = tmp_path / "http_requests" / f"deployment={deployment}"
        parquet.export(Requests(transactions), str(target), OURS)
    program = block(DOCUMENT, "lake in DuckDB").replace("/lake/", f"{tmp_path}/")
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(berlin|tokyo)\W+(2025-11-\d\d)\W+(\d+)", printed)
    assert found == [
        ("berlin", "2025-11-18", "3"),
        ("berlin", "2025-11-19", "3"),
        ("tokyo", "2025-11-18", "2"),
        ("tokyo", "2025-11-19", "2"),
    ]
