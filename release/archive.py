"""Archives that have the same bytes for the same files: no times, no users."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def pack(path: Path, files: Mapping[str, Path]) -> Path:
    """Write a compressed tar archive of files by their names in it; links are replaced by their files."""
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, source in sorted(files.items()):
            content = source.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return path


def write_checksums(path: Path, files: Iterable[Path]) -> Path:
    """Write the checksums of files beside it, in the format of sha256sum."""
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files))
    path.write_text("".join(lines))
    return path
