"""The recipe of the image: the context of ``docker build``, as an archive that it reads from standard input."""

from pathlib import Path

from release import archive
from release.distributions import SOURCES

REQUIREMENTS = ("requirements/build.txt", "requirements/run.txt")


def pack(root: Path, version: str, dist: Path) -> Path:
    """Write the archive of everything that the Dockerfile copies; return its path."""
    files = {name: root / name for name in ("Dockerfile", *REQUIREMENTS)}
    for source in SOURCES:
        files |= {str(path.relative_to(root)): path for path in _below(root / source)}
    return archive.pack(dist / f"tableau-exporter-{version}-image.tar.gz", files)


def _below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    # Not by rglob: it does not follow the chart's link to the dashboards.
    found = []
    for inside in sorted(path.iterdir()):
        if inside.name not in {"__pycache__", "secrets"}:
            found += _below(inside)
    return found
