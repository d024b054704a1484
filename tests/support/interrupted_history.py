"""Run a command of ``history`` in small slices, interrupted by SIGINT as Ctrl-C does it, when a step is reached.

Arguments: the step, counted from the first opening of the history, then the command.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter.cli import main
from exporter.history import export_reader, staging
from exporter.history.file import HistoryFile


def run(last: int) -> None:
    """Count openings of the history, its fsyncs and renames, and interrupt before the last of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    export_reader.SLICE_ROWS = staging.SLICE_ROWS = 10
    steps = iter(range(last))

    def interrupting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object, **options: object) -> object:
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGINT)
            return function(*arguments, **options)

        return call

    HistoryFile._opened = interrupting(HistoryFile._opened)  # type: ignore[method-assign]
    Path.replace = interrupting(Path.replace)  # type: ignore[method-assign]
    os.fsync = interrupting(os.fsync)
    try:
        main(["history", *sys.argv[2:]])
    except SystemExit as ended:
        # The replacements of these functions outlive the interpreter's own end, and DuckDB complains of that.
        sys.stderr.flush()
        os._exit(int(ended.code or 0))


if __name__ == "__main__":
    run(int(sys.argv[1]))
