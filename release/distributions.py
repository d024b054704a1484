"""The sdist and the wheel, built offline with the setuptools of requirements/build.txt."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SOURCES = ("LICENSE", "README.md", "pyproject.toml", "alerts", "charts", "deploy", "exporter", "grafana")
"""Everything that the distributions are made of."""
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "secrets", "*.egg-info")


def copy_sources(root: Path, folder: Path) -> None:
    """Copy the sources below a folder: what earlier builds left beside them stays out."""
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, symlinks=True, ignore=_LEFT_OUT)
        else:
            shutil.copy(root / name, folder / name)


def build(root: Path, dist: Path) -> tuple[Path, Path]:
    """Build the sdist of a checkout, and from that alone the wheel; return both files."""
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        copy_sources(root, tree)
        sdist = _call_backend("build_sdist", tree, dist)
        with tarfile.open(sdist) as archive:
            archive.extractall(tree / "unpacked", filter="data")
        (unpacked,) = (tree / "unpacked").iterdir()
        return sdist, _call_backend("build_wheel", unpacked, dist)


def _call_backend(hook: str, tree: Path, dist: Path) -> Path:
    """Call a hook of PEP 517 in a process whose working directory is the tree; return the file that it made."""
    program = f"import sys; from setuptools.build_meta import {hook}; print({hook}(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(dist.resolve())]
    result = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    return dist / result.stdout.splitlines()[-1]
