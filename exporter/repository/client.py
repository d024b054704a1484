"""The client of the repository: finds the active host, opens short read-only sessions, explains errors in one line."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg

from exporter.errors import ExporterError, PollInterrupted, SourceError, SourceRefused, SourceUnreachable
from exporter.repository.connection import connect
from exporter.repository.errors import connection_error, statement_error
from exporter.repository.session import Session

# How much longer an attempt to connect may take once the agent ends, and one that begins only then, for the last poll.
UNDER_WAY_SECONDS, LAST_SECONDS = 0.3, 1.2
_CHECK_SECONDS = 0.05


@dataclass(frozen=True)
class Address:
    """An address of the repository; a host that starts with ``/`` is a socket's folder."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class RepositoryOptions:
    """Connection options. ``password`` is called at every connection, so that a rotated one is used at once."""

    addresses: tuple[Address, ...]
    database: str
    user: str
    password: Callable[[], str | None]
    tls: tuple[tuple[str, str], ...] = (("sslmode", "verify-full"),)
    connect_timeout: float = 5.0
    statement_timeout: float = 30.0


class RepositoryClient:
    """Sessions with the active repository, never more than one at a time."""

    def __init__(self, options: RepositoryOptions) -> None:
        self._options = options
        self._last_active: Address | None = None
        self.stopping: Callable[[], bool] = lambda: False
        """Whether the agent ends: then no silent host is waited for."""
        self.moved: Callable[[], None] = lambda: None
        """Marks the progress of a poll."""

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session with the active host; raises SourceUnreachable, SourceRefused or another SourceError."""
        address, session = self._find()
        try:
            self._last_active = address
            yield session
        except psycopg.Error as error:
            raise self._explain(address, error) from error
        finally:
            session.close()

    def _find(self) -> tuple[Address, Session]:
        """Connect to the host that is not in recovery; to a standby only when nothing else answers."""
        failures: list[str] = []
        refused = False
        grace = LAST_SECONDS if self.stopping() else UNDER_WAY_SECONDS
        standby: Address | None = None
        for address in self._in_order():
            self.moved()
            try:
                session = self._open_unless_stopping(address, grace)
            except SourceError as error:
                failures.append(str(error))
                refused = refused or isinstance(error, SourceRefused)
                continue
            if not session.in_recovery:
                return address, session
            session.close()
            standby = standby or address
        if standby is not None:
            return standby, self._open_unless_stopping(standby, grace)
        raise (SourceRefused if refused else SourceUnreachable)("; ".join(failures))

    def _in_order(self) -> Sequence[Address]:
        return sorted(self._options.addresses, key=lambda address: address != self._last_active)

    def _open_unless_stopping(self, address: Address, grace: float) -> Session:
        """Connect on a thread of its own: libpq cannot be interrupted. Raises PollInterrupted once the agent ends."""
        answers: queue.SimpleQueue[Session | BaseException] = queue.SimpleQueue()
        abandoned = threading.Event()

        def attempt() -> None:
            try:
                session = self._open(address)
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                answers.put(error)
                return
            answers.put(session)
            if abandoned.is_set():
                session.close()

        threading.Thread(target=attempt, name="connecting", daemon=True).start()
        end: float | None = None
        while True:
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=_CHECK_SECONDS)
                if isinstance(answer, BaseException):
                    raise answer
                return answer
            if not self.stopping():
                continue
            end = end or time.monotonic() + grace
            if time.monotonic() >= end:
                abandoned.set()
                message = f"repository {address}: the agent ends, and no longer waits for an answer"
                raise PollInterrupted(message)

    def _open(self, address: Address) -> Session:
        options = self._options
        parameters: dict[str, str | int] = {
            "host": address.host,
            "port": address.port,
            "dbname": options.database,
            "user": options.user,
            **dict(options.tls),
            "connect_timeout": max(2, int(options.connect_timeout)),
            "client_encoding": "UTF8",
            "gssencmode": "disable",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(options.statement_timeout * 1000),
            # None, also where the environment has PGOPTIONS: a pooler refuses them or drops them.
            "options": "",
        }
        try:
            password = options.password()
        except ExporterError as error:
            raise SourceRefused(f"repository {address}: {error}") from None
        if password is not None:
            parameters["password"] = password
        try:
            connection = connect(parameters)
        except (psycopg.Error, OSError) as error:
            raise connection_error(f"repository {address}", error, password) from None
        session = Session(
            connection, str(address), options.statement_timeout, lambda error: self._explain(address, error), self.moved
        )
        try:
            session.check()
        except BaseException:
            session.close()
            raise
        return session

    def _explain(self, address: Address, error: Exception) -> SourceError:
        password: str | None = None
        with contextlib.suppress(ExporterError):
            password = self._options.password()
        return statement_error(f"repository {address}", error, password)
