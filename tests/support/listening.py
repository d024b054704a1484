"""A program that serves on a port of its own choice: no other process can claim the port in between."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.wait import until

ANY_PORT = "127.0.0.1:0"
_TOLD = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)\n')


@contextmanager
def listening(command: Sequence[str], log: Path, reported: re.Pattern[str] = _TOLD) -> Iterator[str]:
    """Run a program, one of Prometheus' by default, on any free port; yield the address in its log."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield _address(process, log, reported)
        finally:
            process.terminate()


def _address(process: "subprocess.Popen[bytes]", log: Path, reported: re.Pattern[str]) -> str:
    def listens() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")
        return reported.search(log.read_text(errors="replace")) is not None

    until(listens, lambda: log.read_text(errors="replace"), pause_seconds=0.05)
    found = reported.search(log.read_text(errors="replace"))
    assert found is not None
    return found[1]
