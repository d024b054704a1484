"""The wheel and the sdist: what they hold, and what an installation of the wheel can do."""

import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

from exporter import assets
from tests.release.conftest import ROOT, Built

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def call(installed: Path, *arguments: str) -> str:
    """Run the installed program outside the checkout; return its output."""
    command = [str(installed / "bin/tableau-exporter"), *arguments]
    return subprocess.run(command, cwd=installed, capture_output=True, text=True, check=True).stdout


def package_files() -> set[str]:
    """Return every file of the package by its name in the project."""
    paths = (path for path in (ROOT / "exporter").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(ROOT)) for path in paths}


def test_the_sdist_holds_the_package_and_its_assets(built: Built) -> None:
    """The sdist holds every file of the package, every asset, and no secret or leftover of a build."""
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() | set(assets.shipped()) <= names
    assert {name for name in names if "secret" in Path(name).name or name.startswith(("tests", "build/"))} == set()


def test_the_wheel_holds_the_package_and_its_assets(built: Built) -> None:
    """The wheel holds every file of the package, and every asset in its place."""
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    share = f"tableau_exporter-{VERSION}.data/data/{assets.INSTALLED}"
    assert package_files() | {share + name for name in assets.shipped()} <= names


def test_distributions_have_the_version_of_the_project(built: Built, installed: Path) -> None:
    """The names of the files and the installed program have the version of pyproject.toml."""
    assert built.sdist.name == f"tableau_exporter-{VERSION}.tar.gz"
    assert built.wheel.name == f"tableau_exporter-{VERSION}-py3-none-any.whl"
    assert call(installed, "--version") == f"tableau-exporter, version {VERSION}\n"


def test_an_installation_writes_out_the_assets_of_the_project(installed: Path, tmp_path: Path) -> None:
    """From the wheel, ``assets`` writes the same files as from a checkout."""
    call(installed, "assets", f"--output={tmp_path}")
    contents = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert contents == {name: path.read_bytes() for name, path in assets.shipped().items()}


def test_only_the_package_is_installed(installed: Path) -> None:
    """Tests, benchmarks and the release are no part of an installation."""
    packages = {path.name for path in installed.glob("lib/python*/site-packages/*") if path.is_dir()}
    assert packages == {"exporter", f"tableau_exporter-{VERSION}.dist-info"}
