"""A program that is killed before any of its steps on the file system."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do some work in a process of its own that is killed before such a step; return whether it came to that."""
    child = os.fork()
    if not child:
        try:
            _count(iter(range(step)))
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _count(steps: Iterator[int]) -> None:
    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object, **options: object) -> object:
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    os.fsync, Path.replace, Path.open = (dying(each) for each in (os.fsync, Path.replace, Path.open))  # type: ignore[method-assign]
