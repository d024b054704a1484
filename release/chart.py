"""The Helm chart as an archive, as ``helm package`` makes it, with the rules and the dashboards of this checkout."""

from pathlib import Path

from exporter import assets
from release import archive

FOLDER = "charts/"


def pack(version: str, dist: Path) -> Path:
    """Write the archive of the chart; return its path."""
    shipped = assets.shipped().items()
    files = {name.removeprefix(FOLDER): source for name, source in shipped if name.startswith(FOLDER)}
    return archive.pack(dist / f"tableau-exporter-{version}.tgz", files)
