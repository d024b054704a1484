"""The server in a process of its own, so that a benchmark measures its client alone."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from exporter.errors import DemoError


@contextmanager
def serving(**options: int | str) -> Iterator[str]:
    """Start a server with the options of ``python -m exporter.demo.tableau``; yield its URL."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "exporter.demo.tableau", *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    with process:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            raise DemoError(f"the simulated Tableau did not start: {' '.join(command)}")
        try:
            yield url
        finally:
            process.terminate()
