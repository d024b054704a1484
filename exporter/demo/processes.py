"""The processes of a server and signals to all of them, and a watch that lets none outlive us.

Each PostgreSQL backend leads a session of its own.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

PROC = Path("/proc")
GONE_SECONDS = 5.0

# Reads until the parent is gone, however it went, and then stops the server: even SIGKILL leaves no process behind.
WATCH = 'read -r line; kill -INT "$1" 2>/dev/null'


def free_port(host: str) -> int:
    """Return a free port."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        port: int = listener.getsockname()[1]
        return port


def watch(pid: int) -> "subprocess.Popen[bytes] | None":
    """Have a process interrupted when this one is gone; nothing watches where there is no /bin/sh."""
    if os.name != "posix":
        return None
    command = ["/bin/sh", "-c", WATCH, "sh", str(pid)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603


def unwatch(watch: "subprocess.Popen[bytes] | None") -> None:
    """End a watch: killed first, it does not mistake its closed pipe for our end."""
    if watch is not None:
        watch.kill()
        watch.communicate()


def send(parent: int, number: signal.Signals) -> list[int]:
    """Send a signal to a process and its children; return the children."""
    # Stopped first, the parent starts no new child between our check and our signal.
    _send(parent, signal.SIGSTOP)
    children = [pid for pid, (ppid, _) in _table().items() if ppid == parent]
    for pid in (*children, parent):
        _send(pid, number)
    return children


def wait_until_gone(pids: list[int]) -> bool:
    """Wait until none of the processes runs, and return whether that happened.

    A new server refuses the shared memory that an old backend still holds.
    """
    patience = time.monotonic() + GONE_SECONDS
    while time.monotonic() < patience:
        table = _table()
        # A zombie holds nothing; in a container without an init it is never reaped.
        if not any(pid in table and table[pid][1] != "Z" for pid in pids):
            return True
        time.sleep(0.01)
    return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _table() -> dict[int, tuple[int, str]]:
    """Map each process id to its parent's id and its state letter."""
    if not PROC.joinpath("self/stat").exists():
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)  # noqa: S607
        rows = (line.split() for line in listing.stdout.splitlines())
        return {int(pid): (int(ppid), state[0]) for pid, ppid, state, *_ in rows}
    table = {}
    for folder in PROC.iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit():
                # The name of the program, in parentheses, may hold spaces and parentheses.
                state, ppid, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
                table[int(folder.name)] = (int(ppid), state)
    return table
