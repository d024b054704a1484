"""Export requests, and be killed before a step, or in the midst of what is written there.

Arguments: the format, text or hyper, the history, the folder, the step; a step that never comes lets it end.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from exporter import exports
from exporter.exports.appending import Appender
from exporter.history import export_reader
from exporter.history.export_reader import ExportSource, Slices
from exporter.history.file import HistoryFile
from exporter.history.text_files import TEXT_FILES

NAME = "http_requests"
Steps = Iterator[int]


def kill() -> None:
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    """Return a function that dies instead when it is called at the step."""

    def call(*arguments: object, **options: object) -> object:
        if next(steps, None) is None:
            kill()
        return function(*arguments, **options)

    return call


def tear_appends(steps: Steps) -> None:
    """Let an append at the step write two thirds, and die."""
    append = Appender.append

    def tearing(appender: Appender, content: bytes | memoryview) -> None:
        if next(steps, None) is None:
            append(appender, memoryview(content)[: len(content) * 2 // 3])
            kill()
        append(appender, content)

    Appender.append = tearing  # type: ignore[assignment,method-assign]


def tear_commands(steps: Steps) -> None:
    """Let this process die while hyperd runs the command of the step."""
    from tableauhyperapi import Connection

    execute = Connection.execute_command

    def tearing(connection: Connection, command: str) -> object:
        if next(steps, None) is None:
            threading.Thread(target=kill).start()
        return execute(connection, command)

    Connection.execute_command = tearing


def main(format_: str, history: Path, folder: str, last: int) -> None:
    """Export, a few rows a slice."""
    export_reader.SLICE_ROWS = 30
    steps = iter(range(last))
    item = TEXT_FILES[NAME]
    query = item.query if format_ == "text" else None
    rows = Slices(HistoryFile(history, read_only=True), ExportSource(NAME, item.order, item.at, item.base, query=query))
    options = exports.ExportOptions(rows.history, NAME)
    if format_ == "text":
        options = exports.TextOptions(rows.history, NAME, is_appended=True, columns=item.columns)
    export = exports.load(format_)
    os.fsync, Path.replace, Path.open = (dying(each, steps) for each in (os.fsync, Path.replace, Path.open))  # type: ignore[method-assign]
    {"text": tear_appends, "hyper": tear_commands}[format_](steps)
    export(rows, folder, options)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
