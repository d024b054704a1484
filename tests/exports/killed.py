"""Export requests as text, and be killed before a step, or in the midst of what is appended there.

Arguments: the history, the folder, the step; a step that never comes lets it end.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter import exports
from exporter.exports.appending import Appender
from exporter.history import slices
from exporter.history.file import HistoryFile
from exporter.history.slices import Slices, Source
from exporter.history.text_files import TEXT_FILES

NAME = "http_requests"


def main(history: Path, folder: str, last: int) -> None:
    """Export, a few rows a slice."""
    slices.SLICE_ROWS = 30
    steps = iter(range(last))
    append = Appender.append

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object, **options: object) -> object:
            if next(steps, None) is None:
                kill()
            return function(*arguments, **options)

        return call

    def tearing(appender: Appender, content: bytes | memoryview) -> None:
        if next(steps, None) is None:
            append(appender, memoryview(content)[: len(content) * 2 // 3])
            kill()
        append(appender, content)

    item = TEXT_FILES[NAME]
    rows = Slices(HistoryFile(history, read_only=True), Source(NAME, item.order, item.at, item.base, query=item.query))
    text = exports.TextOptions(rows.history, NAME, is_appended=True, columns=item.columns)
    os.fsync, Path.replace, Path.open = (dying(each) for each in (os.fsync, Path.replace, Path.open))  # type: ignore[method-assign]
    Appender.append = tearing  # type: ignore[assignment,method-assign]
    exports.load("text")(rows, folder, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
