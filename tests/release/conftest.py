"""The wheel and the sdist, built once, and the wheel installed in an environment of its own."""

import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from release import distributions

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Built:
    """The built distributions."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of this checkout and the wheel of that sdist: two seconds."""
    return Built(*distributions.build(ROOT, tmp_path_factory.mktemp("dist")))


@pytest.fixture(scope="package")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel: its dependencies are those of the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--quiet", f"--python={folder}/bin/python", "install"]
    subprocess.run([*pip, "--no-index", "--no-deps", "--no-compile", built.wheel], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder
