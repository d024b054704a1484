"""The server in a process of its own, so that a benchmark measures its client alone."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from exporter.errors import DemoError


@contextmanager
def serving(**options: int | str) -> Iterator[str]:
    """Start a server with the options of ``python -m exporter.demo.tableau``; yield its URL."""
    with _started(1, options) as (url,):
        yield url


@contextmanager
def serving_cloud(**options: int | str) -> Iterator[tuple[str, str]]:
    """Start Tableau Cloud; yield its URL and that of its Tableau Cloud Manager. Give ``activity_log_days``."""
    with _started(2, options) as (url, manager):
        yield url, manager


@contextmanager
def _started(lines: int, options: Mapping[str, int | str]) -> Iterator[list[str]]:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "exporter.demo.tableau", *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    with process:
        urls = [process.stdout.readline().strip() if process.stdout else "" for _ in range(lines)]
        if not all(urls):
            raise DemoError(f"the simulated Tableau did not start: {' '.join(command)}")
        try:
            yield urls
        finally:
            process.terminate()
