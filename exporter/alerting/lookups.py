"""Looking up names off the event loop: nobody waits for a resolver beyond his deadline, not even at the end.

A lookup cannot be broken off, asyncio waits for its executor, and the interpreter for an ordinary executor's threads.
"""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Lookups(ThreadPoolExecutor):
    """An executor with a thread for each call, which is left alone when it takes too long; one at a time."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._last: Future[Any] | None = None

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Call it in a thread of its own. Raises OSError while the last one has not come back."""
        if self._last is not None and not self._last.done():
            raise socket.gaierror(socket.EAI_AGAIN, "the name server has not answered since the last request")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._last = future
        threading.Thread(target=_run, args=(future, call, args, named), name="lookup", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - inherited
        """Wait for nobody; whoever asks again is served."""


def _run(future: Future[Any], call: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> None:
    try:
        found = call(*args, **named)
    except BaseException as error:  # noqa: BLE001 - as any executor does: whoever waits is told
        future.set_exception(error)
    else:
        future.set_result(found)
