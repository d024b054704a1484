"""Where the shipped alert rules are: beside the package in a checkout, under ``share`` when it is installed."""

from importlib import metadata
from pathlib import Path

from exporter.errors import DemoError

RULES, ALERTMANAGER = "tableau.rules.yml", "alertmanager.yml"
CHECKOUT = Path(__file__).parents[2] / "alerts"
DISTRIBUTION = "tableau-exporter"
# As pyproject.toml has it.
INSTALLED = f"share/{DISTRIBUTION}/alerts"


def shipped(name: str) -> Path:
    """Return where a file of ``alerts/`` stands."""
    for path in (CHECKOUT / name, *_installed(name)):
        if path.is_file():
            return path
    message = f"{name} is not part of this installation: install the whole package, or run the demo from a checkout"
    raise DemoError(message)


def _installed(name: str) -> list[Path]:
    # What the installer wrote down knows a virtual environment, a user's own folder and the system's alike.
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in files if file.as_posix().endswith(f"{INSTALLED}/{name}")]
