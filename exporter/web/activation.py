"""Sockets that systemd opened for this process: sd_listen_fds(3)."""

import os
import socket
from collections.abc import MutableMapping

from exporter.errors import WebError

_FIRST_DESCRIPTOR = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets of this process, TCP or Unix, and take the variables away for its children.

    Raises WebError where there is none, or one that is no stream.
    """
    pid, count, _ = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not count.isascii() or not count.isdigit() or int(count) == 0:
        raise WebError("systemd passed no socket: start the .socket unit, or leave out web.systemd_socket")
    return [_listening(_FIRST_DESCRIPTOR + place) for place in range(int(count))]


def _listening(descriptor: int) -> socket.socket:
    try:
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise WebError(f"descriptor {descriptor} of systemd is no socket: {error.strerror}") from None
    found.set_inheritable(False)
    if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise WebError(f"descriptor {descriptor} of systemd is no listening stream: use ListenStream and Accept=no")
    return found
