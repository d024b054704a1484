"""The Helm chart as an archive, as ``helm package`` makes it, with the rules and the dashboards of this checkout."""

import gzip
import io
import tarfile
from pathlib import Path

from exporter import assets

FOLDER = "charts/"


def pack(version: str, dist: Path) -> Path:
    """Write the archive of the chart, the same bytes for the same files; return its path."""
    path = dist / f"tableau-exporter-{version}.tgz"
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, source in assets.shipped().items():
            if name.startswith(FOLDER):
                _add(archive, name.removeprefix(FOLDER), source.read_bytes())
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))
