"""The import contracts of pyproject.toml: they hold, and each of them can break."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The forbidden import, its place, and the contract that must fail.
TRESPASSES = {
    "upward": ("exporter/metrics/planted.py", "import exporter.history", "Imports run downward"),
    "sideways": ("exporter/history/planted.py", "import exporter.repository", "Imports run downward"),
    "unplaced": ("exporter/planted.py", "", "Imports run downward"),
    "configuration": ("exporter/web/planted.py", "import exporter.config", "Imports run downward"),
    "psycopg": ("exporter/history/planted.py", "import psycopg", "psycopg belongs to the repository"),
    "duckdb": ("exporter/repository/planted.py", "import duckdb", "duckdb belongs to the history"),
    "tableauserverclient": (
        "exporter/repository/planted.py",
        "import tableauserverclient",
        "tableauserverclient belongs to rest",
    ),
    "deltalake": ("exporter/history/planted.py", "import deltalake", "deltalake belongs to exports"),
    "httpx": ("exporter/repository/planted.py", "import httpx", "httpx belongs to activity_log, alerting and rest"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the imports of the package that stands in a folder."""
    # Run from the folder, which is first on the path of ``python -c``: the installed package is not imported.
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", program, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package to trespass in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "exporter", tmp_path / "exporter", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_imports_run_downward() -> None:
    """Every import of the package keeps to the layers and to the library that its part owns."""
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("trespass", TRESPASSES)
def test_a_trespass_is_noticed(copy: Path, trespass: str) -> None:
    """A forbidden import, or a file without a layer, breaks its contract."""
    path, line, contract = TRESPASSES[trespass]
    planted = copy / path
    planted.parent.mkdir(exist_ok=True)
    (planted.parent / "__init__.py").touch()
    planted.write_text(f"{line}\n")
    result = lint(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract} BROKEN" in result.stdout
