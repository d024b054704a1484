"""A program that serves on a port of its own choice: no port is given up in between, for somebody else to take."""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_SECONDS = 60.0
ANY_PORT = "127.0.0.1:0"
_TOLD = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)\n')


@contextmanager
def listening(command: Sequence[str], log: Path, told: re.Pattern[str] = _TOLD) -> Iterator[str]:
    """Run a program, one of Prometheus' by default, told to listen on any port; give the address that its log names."""
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            yield _address(process, log, told)
        finally:
            process.terminate()


def _address(process: "subprocess.Popen[bytes]", log: Path, told: re.Pattern[str]) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := told.search(log.read_text(errors="replace"))) is None:
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.05)
    return found[1]
