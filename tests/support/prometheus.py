"""A real Prometheus and a real Alertmanager for tests: Debian's, each on a port of its own choice."""

import contextlib
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.support.components import require
from tests.support.listening import ANY_PORT, listening
from tests.support.wait import until

QUIET: Mapping[str, Any] = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


@contextlib.contextmanager
def run_alertmanager(folder: Path, configuration: Mapping[str, Any] = QUIET, *flags: str) -> Iterator[str]:
    """Run an Alertmanager, by default without a receiver; yield its address, ``127.0.0.1:port``."""
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(dict(configuration)))
    command = [
        str(require("alertmanager")),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={ANY_PORT}",
        "--cluster.listen-address=",
        *flags,
    ]
    with listening(command, folder / "alertmanager.log") as address:
        yield address


def prometheus_data(folder: Path) -> Path:
    """Return where the Prometheus that runs in a folder retains its blocks: a test may put some there before."""
    return folder / "prometheus"


@contextlib.contextmanager
def run_prometheus(folder: Path, configuration: str, *flags: str) -> Iterator[str]:
    """Run a Prometheus until it is ready; yield its URL."""
    (folder / "prometheus.yml").write_text(configuration)
    command = [
        str(require("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={prometheus_data(folder)}",
        f"--web.listen-address={ANY_PORT}",
        *flags,
    ]
    with listening(command, folder / "prometheus.log") as address:
        until(partial(_is_ready, address), (folder / "prometheus.log").read_text, pause_seconds=0.1)
        yield f"http://{address}"


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready"):
            return True
    except OSError:
        return False
