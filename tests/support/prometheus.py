"""A real Alertmanager for tests: Debian's, on a port of its own, alone."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.components import require
from tests.support.listening import ANY_PORT, PATIENCE_SECONDS, listening

__all__ = ["PATIENCE_SECONDS", "QUIET", "running"]

QUIET: Mapping[str, Any] = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


@contextlib.contextmanager
def running(folder: Path, configuration: Mapping[str, Any] = QUIET, *flags: str) -> Iterator[str]:
    """Run an Alertmanager, by default with nobody to tell; give its address, ``127.0.0.1:port``."""
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
