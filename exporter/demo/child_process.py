"""A program that runs as long as the demo; its output goes to a file of the demo's folder."""

import http.client
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from exporter.demo import processes
from exporter.demo.postgres import HOST
from exporter.texts import one_line, visible

START_SECONDS = 30.0
STOP_SECONDS = 10.0
PAUSE_SECONDS = 0.1
COMPLAINT = re.compile(r"level=error|error:|panic:|cannot", re.IGNORECASE)


def installed(names: Sequence[str]) -> str | None:
    """Return the first of these programs that the PATH has."""
    return next((path for name in names if (path := shutil.which(name))), None)


class ChildProcess:
    """One program that serves HTTP on 127.0.0.1, at a free port."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name.lower()}.log"
        self.port = processes.free_port(HOST)
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, command: list[str]) -> None:
        """Start it, in a session of its own: a Ctrl-C in the terminal is not meant for it."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command, cwd=self.log.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._watch = processes.watch(self._process.pid)

    def wait(self, ended: threading.Event) -> str | None:
        """Wait until it is ready, or the demo is to end; return what is wrong if it does not become ready."""
        patience = time.monotonic() + START_SECONDS
        while not ended.is_set():
            if self.pid is None:
                return f"{self.name} did not start: {self.complaint()}"
            if self.get("/-/ready")[0] == http.HTTPStatus.OK:
                return None
            if time.monotonic() > patience:
                return f"{self.name} did not answer within {START_SECONDS:.0f} s: {self.complaint()}"
            ended.wait(PAUSE_SECONDS)
        return None

    def get(self, path: str) -> tuple[int | None, bytes]:
        """Request a page, by no proxy; return the status and body of the response, or None and nothing."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return None, b""
        finally:
            connection.close()

    def died(self) -> bool:
        """Report, once, that it has exited by itself."""
        gone = self._process is not None and self._process.poll() is not None
        if gone:
            self.stop()
        return gone

    def complaint(self) -> str:
        """Return the first line of its log that complains, or the last one of all."""
        lines = self.log.read_text(errors="replace").splitlines() or ["it printed nothing"]
        return visible(one_line(next(filter(COMPLAINT.search, lines), lines[-1])))

    def stop(self) -> None:
        """End it; harmless when it never started."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        watch, self._watch = self._watch, None
        processes.unwatch(watch)
