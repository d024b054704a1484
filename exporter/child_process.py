"""Runs a module of this program as a child process: arguments as one line of JSON, exit with its parent.

The environment's keys of the configuration stay here: they hold secrets that the child has no use for.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO, cast

PREFIX = "TABLEAU_EXPORTER_"


def spawn(module: str, order: Mapping[str, object]) -> "subprocess.Popen[bytes]":
    """Start a module, and give it its order on stdin, which stays open; what it writes to stdout is its answer."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    process = subprocess.Popen(  # noqa: S603 - this program itself
        [sys.executable, "-P", "-m", module],
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    given = cast("BinaryIO", process.stdin)
    with suppress(BrokenPipeError):
        given.write(json.dumps(order).encode() + b"\n")
        given.flush()
    return process


def received(given: BinaryIO, on_orphaned: Callable[[], None]) -> dict[str, object]:
    """Read the order; ``on_orphaned`` is called when the parent is gone."""
    order: dict[str, object] = json.loads(given.readline())
    threading.Thread(target=_watch, args=(given, on_orphaned), daemon=True).start()
    return order


def _watch(given: BinaryIO, on_orphaned: Callable[[], None]) -> None:
    given.read()
    on_orphaned()
