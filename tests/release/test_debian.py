"""The Debian package, without the libraries that it depends on: its places, its scripts, its environment."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from release import debian
from tests.release.conftest import ROOT, Built
from tests.release.test_distributions import VERSION
from tests.support.components import refuse, require

UNITS = sorted(path.name for pattern in ("*.service", "*.timer") for path in (ROOT / "deploy").glob(pattern))


@pytest.fixture(scope="module")
def package(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked package, with its own files in the folder DEBIAN."""
    program, folder = require("dpkg-deb"), tmp_path_factory.mktemp("debian")
    if reason := debian.obstacle():
        refuse(reason)
    path = debian.build(ROOT, VERSION, built.wheel, folder, requirements=None)
    subprocess.run([program, "--raw-extract", path, folder / "unpacked"], check=True)
    return folder / "unpacked"


def test_the_package_installs_user_folders_and_units(package: Path) -> None:
    """Units, the user and the folders are those of deploy/, and the scripts of the package apply them."""
    assert sorted(path.name for path in (package / debian.UNITS).iterdir()) == UNITS
    for name in UNITS:
        assert (package / debian.UNITS / name).read_bytes() == (ROOT / "deploy" / name).read_bytes()
    postinst = (package / "DEBIAN/postinst").read_text()
    for name, program in {"sysusers.d": "systemd-sysusers", "tmpfiles.d": "systemd-tmpfiles --create"}.items():
        file = f"usr/lib/{name}/tableau-exporter.conf"
        assert (package / file).read_bytes() == (ROOT / "deploy" / name / "tableau-exporter.conf").read_bytes()
        assert f"{program} /{file}\n" in postinst


def test_the_program_is_on_the_path_and_in_the_place_of_the_units(package: Path) -> None:
    """The link in /usr/bin leads to the program that the units start, which has the environment's interpreter."""
    link = package / "usr/bin/tableau-exporter"
    program = package / link.readlink().relative_to("/")
    assert f"ExecStart={link.readlink()} run" in (ROOT / "deploy/tableau-exporter.service").read_text()
    assert program.read_text().splitlines()[0] == f"#!{debian.PREFIX}/bin/python"
    assert program.stat().st_mode & 0o111 == 0o111
    assert (program.parent / "python3").readlink() == debian.PYTHON


def test_the_program_of_the_package_runs(package: Path, tmp_path: Path) -> None:
    """With the system's Python and the libraries of the tests, it has the version of the project and its assets."""
    (site,) = package.glob("opt/tableau-exporter/lib/python*/site-packages")
    command = [str(package / "opt/tableau-exporter/bin/python"), "-m", "exporter"]
    environment = {"PYTHONPATH": f"{site}:{sysconfig.get_path('purelib')}", "PYTHONDONTWRITEBYTECODE": "1"}
    for arguments in (["--version"], ["assets", "--output=assets"]):
        result = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, check=True)
        assert result.stdout.decode().startswith(("tableau-exporter, version " + VERSION, "assets: "))
    assert (tmp_path / "assets/charts/tableau-exporter/Chart.yaml").is_file()


def test_nothing_names_the_folder_of_the_build(package: Path) -> None:
    """No file has a path of the machine that built it: neither scripts nor compiled modules."""
    files = [path for path in package.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 100
    assert [path.name for path in files if re.search(rb"/stage/|/tmp/pytest", path.read_bytes())] == []


def test_the_service_may_read_every_file(package: Path) -> None:
    """Every file is readable, and every folder open, to users other than root."""
    closed = [path for path in package.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o004 == 0]
    assert closed == []


def test_the_control_file(package: Path) -> None:
    """The package has the version of the project, and needs the Python that its libraries were compiled for."""
    control = dict(re.findall(r"(?m)^([A-Z][\w-]+): (.*)$", (package / "DEBIAN/control").read_text()))
    assert (control["Package"], control["Version"]) == ("tableau-exporter", VERSION)
    (folder,) = (package / "opt/tableau-exporter/lib").iterdir()
    minor = int(folder.name.removeprefix("python3."))
    assert f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1})" in control["Depends"]


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_scripts_of_the_package(script: str, package: Path) -> None:
    """The shell parses each script, it stops at a failure, and none removes a file."""
    subprocess.run(["sh", "-n", package / "DEBIAN" / script], check=True)
    text = (package / "DEBIAN" / script).read_text()
    assert text.startswith("#!/bin/sh\nset -e\n")
    assert re.search(r"\brm\b|userdel", text) is None


def test_a_machine_that_cannot_build_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dpkg-deb, or with an older system Python, ``make deb`` fails with one line."""
    monkeypatch.setattr(debian, "PYTHON", Path("/nowhere/python3"))
    reasons = [debian.obstacle()]
    monkeypatch.setenv("PATH", "/nowhere")
    reasons.append(debian.obstacle())
    assert [str(reason).partition(";")[0].partition(":")[0] for reason in reasons] == [
        "/nowhere/python3 must be Python 3.11 or newer",
        "dpkg-deb is not installed",
    ]
