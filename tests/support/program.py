"""The program as a process that is forked from one that has imported it: the imports cost more than most tests.

Starts by a command line are in tests/test_cli.py, and their imports in tests/test_wiring.py.
"""

import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.forked_process import CONTEXT
from tests.support.wait import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


class Program:
    """A running module of the program or of the tests, with the methods of subprocess.Popen; outputs are appended."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        output: Path,
        errors: Path,
        *,
        module: str = "exporter",
        folder: Path = ROOT,
    ) -> None:
        mask = os.umask(0)
        os.umask(mask)
        start = (module, arguments, dict(environment), folder, output, errors, mask)
        self._process = CONTEXT.Process(target=_become, args=start)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("the program", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    def is_stopped(self) -> bool:
        """Whether a signal has stopped every thread of it."""
        try:
            states = [thread.read_text() for thread in Path(f"/proc/{self.pid}/task").glob("*/stat")]
        except OSError:  # a thread ended meanwhile
            return False
        return all(state.rpartition(")")[2].split()[0] == "T" for state in states)


def run(
    *arguments: str, environment: Mapping[str, str], folder: Path = ROOT, module: str = "exporter"
) -> "subprocess.CompletedProcess[str]":
    """Run a command of the program to its end, with this environment alone."""
    with tempfile.TemporaryDirectory() as outputs:
        output, errors = (Path(outputs) / name for name in ("output", "errors"))
        program = Program(arguments, environment, output, errors, module=module, folder=folder)
        try:
            code = program.wait(PATIENCE_SECONDS)
        except BaseException:
            program.kill()
            raise
        return subprocess.CompletedProcess(
            arguments, code, output.read_text(errors="replace"), errors.read_text(errors="replace")
        )


def _become(
    module: str,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: Path,
    output: Path,
    errors: Path,
    mask: int,
) -> None:
    """Be the module, as ``python -m`` makes it, with the umask of the tests as that would have it."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    for number, path in ((1, output), (2, errors)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.umask(mask)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
