"""An export of the agent in a child process: the work of ``history export``, ended by a signal.

Its memory is freed when it ends, a library that crashes does not end the agent, and an export that hangs can be ended.
Its answer is lines of JSON: a result for each table, and ``{}`` for each slice that was read.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from select import POLLIN, poll
from types import FrameType
from typing import IO, Any, BinaryIO, cast

from exporter.child_process import received, spawn
from exporter.config.exports import Publish
from exporter.errors import ExporterError
from exporter.texts import one_line, safe_uris, span

DONE, REFUSED = 0, 1
_MODULE = "exporter.export_process"
_LOOK_SECONDS = 0.2
# Time to give the lock of an object store back, and to finish what cannot be interrupted.
GRACE_SECONDS = 2.0
# The lock of an object store is lost by then: another export may have begun.
STUCK_SECONDS = 900.0


class Stopped(Exception):
    """The export was ended because the agent ends."""


@dataclass(frozen=True)
class ExportOrder:
    """Which history is read, within which limits, and what is exported to one target."""

    history: str
    memory: str
    threads: int
    format: str
    table: str | None
    target: str
    since: str | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    publication: Mapping[str, Any] | None = field(default=None, repr=False)
    """Where the file is published: ``publish``, the keys of the entry, and of ``rest`` the url, ca_file and timeout."""


@dataclass(frozen=True)
class Result:
    """What became of one table; of none in particular where nothing could begin, or the process ended."""

    ok: bool
    message: str
    table: str | None = None
    rows: int = 0


def run(order: ExportOrder, stopped: threading.Event, stuck_seconds: float = STUCK_SECONDS) -> Iterator[Result]:
    """Export in a process of its own, and yield what became of each table. Raises Stopped."""
    with spawn(_MODULE, asdict(order)) as process:
        try:
            for line in _lines(process, stopped, stuck_seconds):
                if answer := json.loads(line):
                    yield Result(**answer)
            if (code := process.wait()) not in {DONE, REFUSED}:
                yield Result(ok=False, message=_ended(code))
        except TimeoutError:
            yield Result(ok=False, message=f"made no progress for {span(stuck_seconds)}, and was ended")
        finally:
            _end(process)


def _lines(process: "subprocess.Popen[bytes]", stopped: threading.Event, stuck_seconds: float) -> Iterator[bytes]:
    """Yield what the process writes, line by line. Raises Stopped, and TimeoutError where nothing comes."""
    out = cast("IO[bytes]", process.stdout).fileno()
    ready, rest, heard_at = poll(), b"", time.monotonic()
    ready.register(out, POLLIN)
    while not stopped.is_set():
        if ready.poll(_LOOK_SECONDS * 1000):
            piece = os.read(out, 65_536)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > stuck_seconds:
            raise TimeoutError
    raise Stopped


def _ended(code: int) -> str:
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    advice = ": most likely for want of memory" if code == -signal.SIGKILL else ""
    return f"the process of the export ended by {how}{advice}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process: in order, so that no lock is left behind, or, where that lasts too long, at once."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def main(given: BinaryIO, out: BinaryIO) -> int:
    """Do the export that is given in one line."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    order = ExportOrder(**received(given, _end_myself))  # type: ignore[arg-type]

    def answer(**found: object) -> None:
        out.write(json.dumps(found).encode() + b"\n")
        out.flush()

    try:
        for result in _export(order, answer):
            answer(**asdict(result))
    except ExporterError as error:
        answer(ok=False, message=one_line(error))
        return REFUSED
    except Exception as error:  # noqa: BLE001 - the agent that waits reports it
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = safe_uris(f"{type(error).__name__} in {place.name}, line {place.lineno}: {one_line(error)}")
        answer(ok=False, message=f"unexpected error (bug): {reason}")
        return REFUSED
    return DONE


def _export(order: ExportOrder, answer: Callable[[], None]) -> Iterator[Result]:
    # Here and below: only this process needs them, not the agent.
    from exporter.history.file import Limits
    from exporter.maintenance import Exported, ExportRequest, export_from, opened

    file = opened(Path(order.history), Limits(order.memory, order.threads))
    file.read_only = True
    since = None if order.since is None else datetime.fromisoformat(order.since)
    request = ExportRequest(
        order.format,
        order.table,
        [order.target],
        since,
        progress=lambda _done, _total: answer(),
        form=order.form,
    )
    results = []
    for verdict in export_from(file, request):
        rows = verdict.rows if isinstance(verdict, Exported) else 0
        results.append(Result(verdict.ok is not False, one_line(verdict.message), verdict.subject, rows))
        yield results[-1]
    if order.publication is not None and all(result.ok for result in results):
        yield from _publish(order, order.publication, answer)


def _publish(order: ExportOrder, given: Mapping[str, Any], answer: Callable[[], None]) -> Iterator[Result]:
    """Publish the file that was exported; what became of it is of note where it failed."""
    from exporter import publishing

    publish = Publish.model_validate(given["publish"])
    ca_file = Path(given["ca_file"]) if given["ca_file"] else None
    destination = publishing.destination_of(publish, given["url"], ca_file, given["timeout"])
    verdict = publishing.publish(publishing.Publication(order.table or "", order.target, destination), answer)
    if verdict.ok is False:
        yield Result(ok=False, message=verdict.message, table=order.table)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Unwind what is under way, once: a second signal would cut the unwinding short."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_myself() -> None:
    """Exit as if the agent had sent SIGTERM: its process is gone."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(REFUSED)


if __name__ == "__main__":
    try:
        code = main(sys.stdin.buffer, sys.stdout.buffer)
    except (KeyboardInterrupt, BrokenPipeError):
        code = REFUSED
    # Nothing is left to be done, and threads of libraries may still be at work.
    os._exit(code)
