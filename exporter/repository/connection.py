"""Connections to the repository, and the only file that opens one."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo

__all__ = ["Connection", "connect", "deadline"]

APPLICATION_NAME = "tableau-exporter"


def connect(parameters: Mapping[str, str | int]) -> Connection[Any]:
    """Open one connection from libpq parameters (host, port, dbname, user, ...), in autocommit mode."""
    # prepare_threshold=None: a prepared statement would outlive a change of the table's columns.
    return psycopg.connect(
        make_conninfo("", application_name=APPLICATION_NAME, **{key: str(value) for key, value in parameters.items()}),
        autocommit=True,
        prepare_threshold=None,
    )


@contextlib.contextmanager
def deadline(connection: Connection[Any], seconds: float) -> Iterator[None]:
    """Cut the connection's socket when the block takes longer.

    The server's own timeouts do not help against a server that is stopped or a network that swallows packets; a
    socket that is shut down wakes libpq at once with an ordinary error.
    """

    def cut() -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
            line.shutdown(socket.SHUT_RDWR)

    descriptor = connection.fileno()
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
