"""The repository as a source: find the active host, open a short read-only session, say in one line what went wrong."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection

from exporter.errors import ExporterError, SourceError, SourceRefused, SourceTimedOut, SourceUnreachable
from exporter.repository.connection import connect, deadline
from exporter.repository.session import Session

LOCK_TIMEOUT_SECONDS = 2.0
# How much longer than its own statement timeout a server may stay silent before its socket is cut.
GRACE_SECONDS = 5.0

# SQLSTATE classes: connection exceptions, too many clients, shutdown.
_CONNECTION_LOST = ("08", "53", "57P")
_REFUSALS = ("28", "42501", "3D000")
_TIMED_OUT = "57014"
_NEVER_ANSWERED = "closed the connection or did not answer in time"


@dataclass(frozen=True)
class Address:
    """Where a repository may listen; a host that starts with ``/`` is a socket's folder."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Login:
    """How to reach the repository. ``password`` is asked at every connection, so that a rotated one is picked up."""

    addresses: tuple[Address, ...]
    database: str
    user: str
    password: Callable[[], str | None]
    tls: tuple[tuple[str, str], ...] = (("sslmode", "verify-full"),)
    connect_timeout: float = 5.0
    statement_timeout: float = 30.0


class Repository:
    """Sessions with the active repository, never more than one at a time."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._last_active: Address | None = None

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session with the active host; raises SourceUnreachable, SourceRefused or another SourceError."""
        address, connection = self._find()
        try:
            session = Session(
                connection, str(address), self._login.statement_timeout, functools.partial(self._explained, address)
            )
            session.prepare()
            self._last_active = address
            yield session
        except psycopg.Error as error:
            raise self._explained(address, error) from error
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _find(self) -> tuple[Address, Connection[Any]]:
        """Connect to the host that is not in recovery; to a standby only when nothing else answers."""
        failures: list[str] = []
        refused = False
        standby: Address | None = None
        for address in self._in_order():
            try:
                connection = self._connect(address)
            except SourceError as error:
                failures.append(str(error))
                refused = refused or isinstance(error, SourceRefused)
                continue
            try:
                active = not _in_recovery(connection)
            except psycopg.Error as error:
                failures.append(str(self._explained(address, error)))
                connection.close()
                continue
            if active:
                return address, connection
            connection.close()
            standby = standby or address
        if standby is not None:
            return standby, self._connect(standby)
        raise (SourceRefused if refused else SourceUnreachable)("; ".join(failures))

    def _in_order(self) -> Sequence[Address]:
        return sorted(self._login.addresses, key=lambda address: address != self._last_active)

    def _connect(self, address: Address) -> Connection[Any]:
        login = self._login
        milliseconds = int(login.statement_timeout * 1000)
        parameters: dict[str, str | int] = {
            "host": address.host,
            "port": address.port,
            "dbname": login.database,
            "user": login.user,
            **dict(login.tls),
            "connect_timeout": max(2, int(login.connect_timeout)),
            "client_encoding": "UTF8",
            "gssencmode": "disable",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": milliseconds,
            # Parallel workers would show as further connections and take more than one core of Tableau's machine.
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={int(LOCK_TIMEOUT_SECONDS * 1000)}"
            f" -c idle_in_transaction_session_timeout={milliseconds} -c default_transaction_read_only=on"
            " -c timezone=UTC -c datestyle=ISO -c max_parallel_workers_per_gather=0",
        }
        try:
            password = login.password()
        except ExporterError as error:
            raise SourceRefused(f"repository {address}: {error}") from None
        try:
            if password is not None:
                parameters["password"] = password
            connection = connect(parameters)
        except (psycopg.Error, OSError) as error:
            raise self._explained(address, error) from None
        return connection

    def _explained(self, address: Address, error: Exception) -> SourceError:
        """Turn a driver's error into one line without the password that says what to do."""
        text = " ".join(str(error).split()) or _NEVER_ANSWERED
        with contextlib.suppress(ExporterError):
            if password := self._login.password():
                text = text.replace(password, "<secret>")
        state = getattr(error, "sqlstate", None) or ""
        message = f"repository {address}: {text}"
        if state.startswith(_REFUSALS) or "authentication failed" in text or "no password supplied" in text:
            return SourceRefused(f"{message}: check repository.user, its password and its rights")
        if "certificate verify failed" in text:
            # libpq does not say why.
            return SourceRefused(f"{message}: check repository.sslrootcert, and whether the certificate has expired")
        if "certificate" in text or "SSL" in text:
            return SourceRefused(f"{message}: check repository.sslmode and repository.sslrootcert")
        # A server that says why it gave up one statement (a lock, its timeout) is there for the next.
        answered = bool(state) and not state.startswith(_CONNECTION_LOST)
        if isinstance(error, psycopg.OperationalError | OSError) and not answered:
            return SourceUnreachable(message)
        return (SourceTimedOut if state == _TIMED_OUT else SourceError)(message)


def _in_recovery(connection: Connection[Any]) -> bool:
    with deadline(connection, GRACE_SECONDS):
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    return bool(row and row[0])
