"""Connections to the repository, the only file that opens one, and the settings of each transaction on them."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo

__all__ = ["Connection", "begin", "connect", "deadline", "settings_of"]

APPLICATION_NAME = "tableau-exporter"
LOCK_TIMEOUT_SECONDS = 2.0
POSTGRES_11 = 110_000


def connect(parameters: Mapping[str, str | int]) -> Connection[Any]:
    """Open one connection from libpq parameters (host, port, dbname, user, ...), in autocommit mode."""
    # prepare_threshold=None: a prepared statement would outlive a change of the table's columns, and a pooler may
    # give the next transaction another server connection, which does not know it.
    return psycopg.connect(
        make_conninfo("", application_name=APPLICATION_NAME, **{key: str(value) for key, value in parameters.items()}),
        autocommit=True,
        prepare_threshold=None,
    )


def settings_of(server_version: int, timeout: int) -> dict[str, str]:
    """Return the settings of each transaction, as ``pg_settings.setting`` has it; ``timeout`` in milliseconds."""
    settings = {
        "application_name": APPLICATION_NAME,
        "statement_timeout": str(timeout),
        "lock_timeout": str(int(LOCK_TIMEOUT_SECONDS * 1000)),
        "idle_in_transaction_session_timeout": str(timeout),
        "timezone": "UTC",
        "datestyle": "ISO, MDY",
        # Parallel workers would be further connections and use more than one core of Tableau's machine.
        "max_parallel_workers_per_gather": "0",
    }
    if server_version >= POSTGRES_11:
        settings["jit"] = "off"  # compiling costs more than these statements
    return settings


def begin(settings: Mapping[str, str]) -> bytes:
    """Return the statement that begins a read-only transaction with these settings: one round trip, no snapshot yet.

    They last as long as the transaction. A pooler may give each transaction another server connection: what a session
    sets would be missing there, and would stay behind for other programs here. SET takes no snapshot; set_config()
    would take one before the lock.
    """
    statements = ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"]
    statements += [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()]
    return "; ".join(statements).encode()


@contextlib.contextmanager
def deadline(connection: Connection[Any], seconds: float) -> Iterator[None]:
    """Cut the connection's socket when the block takes longer; the error then names the timeout.

    The server's own timeouts do not help against a server that is stopped or a network that swallows packets; a
    socket that is shut down wakes libpq at once with an ordinary error.
    """

    def shut_down() -> None:
        cuts.set()
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    descriptor = connection.fileno()
    cuts = threading.Event()
    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg.OperationalError as error:
        if cuts.is_set():
            message = f"no answer within {seconds:g} s: the server, a pooler or the network in between hangs"
            raise psycopg.OperationalError(message) from error
        raise
    finally:
        timer.cancel()
