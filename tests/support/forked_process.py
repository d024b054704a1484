"""Processes that end without closing anything, as a crash ends them.

They are forked from a server that has neither threads nor open files: a fork of the tests themselves would inherit
DuckDB's, and free them.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess

ENDED = 77
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.imported", "tests.support.poller_harness"])


def started(work: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start a module's function in a process of its own; its exit code will be ENDED, or 1 after an exception."""
    process = CONTEXT.Process(target=_end, args=(work, arguments))
    process.start()
    return process


def ended(work: Callable[..., object], *arguments: object) -> int:
    """Run a module's function in a process of its own, and return its exit code."""
    process = started(work, *arguments)
    process.join()
    code = process.exitcode
    process.close()
    assert code is not None
    return code


def _end(work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    code = 1
    try:
        work(*arguments)
        code = ENDED
    except BaseException:  # noqa: BLE001 - reported by the exit code
        traceback.print_exc()
    os._exit(code)
