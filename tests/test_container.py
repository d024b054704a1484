"""The container: compose.yaml by reading it, the Dockerfile by building it and running the image.

No container engine is needed: buildah builds in a chroot, on a Debian that debootstrap makes.
"""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.components import require, require_root

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = sorted(COMPOSE["services"])
PATIENCE_SECONDS = 60


def mounts(service: str) -> list[str]:
    """Return the mounts of a service from the folder of compose.yaml."""
    volumes: list[str] = COMPOSE["services"][service].get("volumes", [])
    return [volume.split(":")[0] for volume in volumes if volume.startswith(".")]


@pytest.mark.parametrize("service", SERVICES)
def test_mounted_files_exist(service: str) -> None:
    """Every file and folder that a service mounts is part of the project."""
    assert [path for path in mounts(service) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_pinned(service: str) -> None:
    """Every image has a full version as its tag."""
    assert re.search(r":v?\d+\.\d+\.\d+$", COMPOSE["services"][service]["image"])


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_confined(service: str) -> None:
    """Every service has a read-only root, no capability, and a port on the loopback address alone."""
    settings = COMPOSE["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in settings["ports"])


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_limited(service: str) -> None:
    """Every service has limits of memory, of threads, and of open files: enough for 128 connections and the history."""
    settings = COMPOSE["services"][service]
    assert settings["mem_limit"]
    assert settings["pids_limit"] >= 128
    assert settings["ulimits"]["nofile"] >= 1024


@pytest.mark.parametrize("service", SERVICES)
def test_services_say_whether_they_are_well(service: str) -> None:
    """Every service has a health check: its own, or for the exporter the image's."""
    in_image = "build" in COMPOSE["services"][service] and "\nHEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    assert in_image or COMPOSE["services"][service]["healthcheck"]["test"]


def test_no_secret_is_shipped() -> None:
    """Secrets are files that git ignores, and no environment variable holds a password."""
    for name, secret in COMPOSE["secrets"].items():
        assert set(secret) == {"file"}, name
        ignored = subprocess.run(["git", "check-ignore", "--quiet", secret["file"]], cwd=ROOT, check=False)
        assert ignored.returncode == 0, name
    variables = {key for service in COMPOSE["services"].values() for key in service.get("environment", {})}
    assert [key for key in variables if re.search("PASSWORD|TOKEN|SECRET", key) and not key.endswith("_FILE")] == []


@dataclass(frozen=True)
class Image:
    """The image that the Dockerfile makes, and one container of it."""

    buildah: tuple[str, ...]
    container: str
    config: dict[str, Any]

    def command(self, *command: str, **environment: str) -> list[str]:
        """Return the command that runs another one in the container, as the image's user."""
        settings = [f"--env={name}={value}" for name, value in environment.items()]
        return [*self.buildah, "run", "--isolation=chroot", *settings, self.container, "--", *command]

    def run(self, *command: str) -> str:
        """Run a command in the container; return its output."""
        return _output(*self.command(*command))


def _unpack_debian(debootstrap: Path, root: Path) -> None:
    """Unpack Debian 12 with its Python into a folder, without the configuration of packages: half of the time.

    The users and groups are those that base-passwd would write; nothing else in the Dockerfile needs a configuration.
    """
    options = ["--download-only", "--variant=minbase", "--include=python3,python3-venv"]
    # In a mount namespace of its own: what debootstrap mounts is gone with it.
    _output("unshare", "--mount", str(debootstrap), *options, "bookworm", str(root))
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        unpack = f"dpkg-deb --fsys-tarfile {package} | tar -C {root} -x --keep-directory-symlink"
        _output("bash", "-o", "pipefail", "-c", unpack)
    for ballast in ("debootstrap", "var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / ballast)
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The Dockerfile, built on Debian 12 with nothing but its Python: one to three minutes."""
    require_root()
    debootstrap, program = require("debootstrap"), require("buildah")
    folder = tmp_path_factory.mktemp("container")
    # The storage driver is buildah's choice: overlay where the kernel has it, else vfs, which copies every layer.
    buildah = (str(program), f"--root={folder / 'store'}", f"--runroot={folder / 'run'}")
    base = ["--pull-never", "--build-arg=BASE=localhost/base:1", "--volume=/etc/ssl/certs:/etc/ssl/certs:ro"]
    try:
        scratch = _output(*buildah, "from", "scratch")
        _unpack_debian(debootstrap, Path(_output(*buildah, "mount", scratch)))
        _output(*buildah, "commit", "--quiet", "--rm", scratch, "localhost/base:1")
        _output(*buildah, "bud", "--quiet", "--isolation=chroot", "--format=docker", *base, "--tag=exporter", str(ROOT))
        container = _output(*buildah, "from", "--pull-never", "exporter")
        inspected = json.loads(_output(*buildah, "inspect", "--type=image", "exporter"))
        yield Image(buildah, container, inspected["Docker"]["config"])
    finally:
        subprocess.run([*buildah, "umount", "--all"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_says_what_it_is(image: Image) -> None:
    """The image has a user that is not root, a volume, a port, a health check and labels."""
    assert image.config["User"] == "10071:10071"
    assert list(image.config["Volumes"]) == ["/data"]
    assert list(image.config["ExposedPorts"]) == ["10071/tcp"]
    check = ["CMD", "/opt/tableau-exporter/bin/tableau-exporter", "healthcheck"]
    assert image.config["Healthcheck"]["Test"] == check
    assert image.config["Labels"]["org.opencontainers.image.title"] == "tableau-exporter"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_holds_what_the_package_holds(image: Image) -> None:
    """Every file of the package is in the image, with the rules for alerts, and the installer is not."""
    site = image.run("python3", "-c", "import exporter; print(exporter.__path__[0])")
    there = set(image.run("find", site, "-type", "f").splitlines())
    here = [path.relative_to(ROOT / "exporter") for path in (ROOT / "exporter").rglob("*") if path.is_file()]
    assert [str(path) for path in here if path.suffix != ".pyc" and f"{site}/{path}" not in there] == []
    rules = "from exporter.assets import find; print(find('alerts/tableau.rules.yml').read_text())"
    assert image.run("python3", "-c", rules) == (ROOT / "alerts/tableau.rules.yml").read_text().strip()
    assert "pip" not in image.run("ls", "/opt/tableau-exporter/bin")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_agent_lives_in_the_image(image: Image) -> None:
    """Configured by the environment alone, the agent is healthy by the image's own check.

    Its repository is down, so ``tableau_up`` is 0; its history stands in the volume and belongs to its user.
    """
    port = _free_port()
    environment = {
        "TABLEAU_EXPORTER_REPOSITORY__HOSTS": f"127.0.0.1:{_free_port()}",
        "TABLEAU_EXPORTER_REPOSITORY__USER": "readonly",
        "TABLEAU_EXPORTER_REPOSITORY__PASSWORD": "wrong",
        "TABLEAU_EXPORTER_REPOSITORY__SSLMODE": "disable",
        "TABLEAU_EXPORTER_WEB__LISTEN_ADDRESS": f"127.0.0.1:{port}",
    }
    # buildah leaves the entry point out when it is given a command.
    start = image.command(*image.config["Entrypoint"], *image.config["Cmd"], **environment)
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as agent:
        try:
            metrics = _wait_for(f"http://127.0.0.1:{port}/metrics", 'tableau_up{source="repository"} 0', agent)
            behind = {**environment, "HTTP_PROXY": "http://127.0.0.1:1"}
            _output(*image.command(*image.config["Healthcheck"]["Test"][1:], **behind))
            owner = image.run("stat", "--format=%u", "/data/history.duckdb")
        finally:
            agent.terminate()
    assert owner == "10071"
    assert "tableau_exporter_build_info" in metrics


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    return result.stdout.strip()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(url: str, text: str, process: subprocess.Popen[str]) -> str:
    """Request until the answer holds a text; return it."""
    answer, patience = "", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < patience and process.poll() is None:
        try:
            answer = urllib.request.urlopen(url, timeout=5).read().decode()
        except (urllib.error.URLError, OSError) as error:
            answer = str(error)
        if text in answer:
            return answer
        time.sleep(0.2)
    process.terminate()
    output = process.communicate()[0]
    raise AssertionError(f"{url} never said {text}: {answer[:1000]}\n{output[-4000:]}")
