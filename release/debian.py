"""The Debian package: a virtual environment of the system's Python in /opt, the units, the user and the folders.

It is for the release of Debian or Ubuntu on which it is built: the environment holds compiled libraries for its Python.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from exporter import assets

PYTHON = Path("/usr/bin/python3")
PREFIX = Path("/opt/tableau-exporter")
UNITS = Path("usr/lib/systemd/system")
DOCS = Path("usr/share/doc/tableau-exporter")
LIB = Path("usr/lib")
PLACES = {".service": UNITS, ".timer": UNITS, "deploy/sysusers.d/": LIB, "deploy/tmpfiles.d/": LIB}

CONTROL = """\
Package: tableau-exporter
Version: {version}
Architecture: {architecture}
Maintainer: The authors of tableau-exporter <tableau-exporter@localhost>
Depends: python3 (>= {python}), python3 (<< {next_python}), systemd
Installed-Size: {kilobytes}
Section: net
Priority: optional
Description: Prometheus exporter and alerting agent for Tableau
 Archives the requests of Tableau Server and Tableau Cloud in a DuckDB file, publishes
 metrics for Prometheus, and notifies Alertmanager of stale data.
"""
POSTINST = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    systemd-sysusers /usr/lib/sysusers.d/tableau-exporter.conf
    systemd-tmpfiles --create /usr/lib/tmpfiles.d/tableau-exporter.conf
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        # After an upgrade; a service that does not run stays off.
        systemctl try-restart tableau-exporter.service 'tableau-exporter@*.service'
    fi
fi
"""
PRERM = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now tableau-exporter-backup.timer tableau-exporter.service
    systemctl stop 'tableau-exporter@*.service'
fi
"""
# The configuration with its secrets and the history stay: no package owns them.
POSTRM = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
"""


def obstacle() -> str | None:
    """Return why this machine cannot build the package, None if it can."""
    if shutil.which("dpkg-deb") is None:
        return "dpkg-deb is not installed; build the package on Debian or Ubuntu"
    program = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not PYTHON.exists() or subprocess.run([str(PYTHON), "-c", program], check=False).returncode:
        return f"{PYTHON} must be Python 3.11 or newer: the package runs with it"
    return None


def build(root: Path, version: str, wheel: Path, dist: Path, requirements: Path | None) -> Path:
    """Build the package of a wheel and the locked requirements; return its path."""
    with _readable_by_all(), tempfile.TemporaryDirectory() as temporary:
        stage = Path(temporary) / "stage"
        stage.mkdir()
        _environment(stage, wheel, requirements)
        _system_files(root, stage)
        architecture = _control(stage, version)
        path = dist / f"tableau-exporter_{version}_{architecture}.deb"
        _output("dpkg-deb", "--root-owner-group", "-Zzstd", "-z9", "--build", str(stage), str(path))
    return path


@contextlib.contextmanager
def _readable_by_all() -> Iterator[None]:
    """Make files as a package needs them, whatever the builder's umask: the service is another user."""
    mask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(mask)


def _environment(stage: Path, wheel: Path, requirements: Path | None) -> None:
    """Make the virtual environment as it will be in its place: nothing in it names the folder of the build."""
    folder = stage / PREFIX.relative_to("/")
    _output(str(PYTHON), "-m", "venv", "--without-pip", str(folder))
    pip = (sys.executable, "-m", "pip", f"--python={folder}/bin/python", "install", "--quiet", "--no-compile")
    if requirements:
        _output(*pip, "--require-hashes", "--only-binary=:all:", f"--requirement={requirements}")
    _output(*pip, "--no-deps", "--no-index", str(wheel))
    for path in (folder / "bin").iterdir():
        if not path.name.startswith("python") and path.name != "tableau-exporter":
            path.unlink()
    (folder / "bin/tableau-exporter").write_text(
        f"#!{PREFIX}/bin/python\nimport sys\n\nfrom exporter.cli import main\n\nsys.exit(main())\n"
    )
    _remove_traces(folder)
    _output(str(folder / "bin/python"), "-m", "compileall", "-q", f"-s{stage}", "-p/", str(folder / "lib"))


def _remove_traces(folder: Path) -> None:
    configuration = folder / "pyvenv.cfg"
    lines = configuration.read_text().splitlines(keepends=True)
    configuration.write_text("".join(line for line in lines if not line.startswith("command")))
    for record in folder.glob("lib/*/site-packages/*.dist-info/direct_url.json"):
        record.unlink()


def _system_files(root: Path, stage: Path) -> None:
    """Put units, user, folders, the example and the licence in their places, and the program on the PATH."""
    for name, source in assets.shipped().items():
        for mark, folder in PLACES.items():
            if name.startswith(mark) or name.endswith(mark):
                inside = Path(name).name if folder == UNITS else name.removeprefix("deploy/")
                _copy(source, stage / folder / inside)
    _copy(root / "docs/tableau-exporter.example.yml", stage / DOCS / "tableau-exporter.example.yml")
    _copy(root / "LICENSE", stage / DOCS / "copyright")
    (stage / "usr/bin").mkdir()
    (stage / "usr/bin/tableau-exporter").symlink_to(PREFIX / "bin/tableau-exporter")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _control(stage: Path, version: str) -> str:
    """Write the package's own files; return the architecture."""
    architecture = _output("dpkg", "--print-architecture")
    program = "import sys; print('%d.%d 3.%d' % (*sys.version_info[:2], sys.version_info[1] + 1))"
    python, following = _output(str(PYTHON), "-c", program).split()
    size = sum(path.lstat().st_size for path in stage.rglob("*")) // 1024
    folder = stage / "DEBIAN"
    folder.mkdir()
    control = CONTROL.format(
        version=version, architecture=architecture, python=python, next_python=following, kilobytes=size
    )
    (folder / "control").write_text(control)
    for name, text in {"postinst": POSTINST, "prerm": PRERM, "postrm": POSTRM}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return architecture


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
