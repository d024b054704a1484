"""The demo as a user runs it: a process, its output, and the files that it leaves."""

import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.wait import until

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


class Demo:
    """One demo process, whose folders all lie in a folder of ours."""

    def __init__(self, folder: Path, *arguments: str, user: str | None = None, **environment: str) -> None:
        self.folder = folder
        self.log = folder / "demo.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "exporter", "demo", *arguments],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "TMPDIR": str(folder),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "HOME": str(folder),
                    **environment,
                },
                stdout=log,
                stderr=log,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
            )

    def output(self) -> str:
        """Return everything printed so far."""
        return self.log.read_text(errors="replace")

    def recorded(self) -> str:
        """Return what its agent logged so far."""
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*/agent.log"))

    def until(self, condition: Callable[[], object], what: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for a condition as long as the demo runs."""

        def happened() -> bool:
            return bool(condition()) or self.process.poll() is not None

        until(happened, lambda: f"{what}\n{self.output()}\n{self.recorded()}", patience_seconds, 0.2)
        assert condition(), f"it ended before: {what}\n{self.output()}\n{self.recorded()}"

    def url(self, of: str) -> str:
        """Wait for an URL that the demo prints."""
        pattern = re.compile(rf"^  {of} +(\S+)\n", re.MULTILINE)
        self.until(lambda: pattern.search(self.output()), f"the {of} is printed")
        found = pattern.search(self.output())
        assert found is not None
        return found[1]

    def left(self) -> list[str]:
        """Name the files that the demo left, and the processes that still run there."""
        files = [path.name for path in self.folder.iterdir() if path != self.log]
        return files + [line for line in _processes() if str(self.folder) in line]

    def end(self) -> None:
        """End it, unless it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_SECONDS)


def _processes() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended meanwhile
    return lines
