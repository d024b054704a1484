"""A hostile writer: ids in blocks and out of order, slow transactions, rollbacks, completions written later, seeded."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Self

import psycopg

from exporter.repository.connection import Connection, connect

SESSIONS = 10
SITES = (1, 2, 3, None)
ACTIONS = ("bootstrap", "command", "view", "", None)
STATUSES = (200, 204, 302, 404, 500, 0, None)

INSERT = """
    INSERT INTO public.http_requests (
        id, controller, action, http_request_uri, created_at, completed_at, status, site_id, user_id
    ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
COMPLETE = "UPDATE public.http_requests SET completed_at = %s, status = %s WHERE id = %s AND created_at = %s"


class Patience(Exception):
    """The writer was stopped while it waited."""


@dataclass(frozen=True)
class Unfinished:
    """A committed request that will be completed later."""

    number: int
    created_at: datetime
    due: float
    again: bool


class HostileWriter:
    """Sessions that write until the block ends; every transaction has then ended too."""

    def __init__(self, parameters: Mapping[str, str | int], seed: int, sessions: int = SESSIONS) -> None:
        self._parameters = parameters
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._session, args=(Random(f"{seed}/{number}"),)) for number in range(sessions)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def delete(self, ids: Sequence[int]) -> None:
        """Remove old requests, as Tableau's cleanup does."""
        with connect(self._parameters) as connection:
            connection.execute("DELETE FROM public.http_requests WHERE id = ANY(%s)", [list(ids)])

    def _session(self, chance: Random) -> None:
        try:
            with connect(self._parameters) as connection, suppress(Patience):
                self._write(connection, chance)
        except BaseException as error:  # noqa: BLE001 - raised when the block ends
            self._failures.append(error)

    def _write(self, connection: "Connection[Any]", chance: Random) -> None:
        ids: list[int] = []
        unfinished: list[Unfinished] = []
        while not self._stop.is_set():
            if len(ids) < 10:
                ids += self._block(connection, chance)
            written = self._transaction(connection, chance, ids)
            unfinished += written
            unfinished = self._complete(connection, chance, unfinished)
            self._wait(chance.expovariate(20.0))

    def _block(self, connection: "Connection[Any]", chance: Random) -> list[int]:
        """Reserve a block of ids of the sequence, to be used in any order."""
        sequence = "SELECT nextval('public.http_requests_id_seq') FROM generate_series(1, %s)"
        block = [number for (number,) in connection.execute(sequence, [chance.randint(10, 50)])]
        chance.shuffle(block)
        return block

    def _transaction(self, connection: "Connection[Any]", chance: Random, ids: list[int]) -> list[Unfinished]:
        """Write one transaction of some requests: slow or quick, committed or not, with savepoints that are not."""
        written: list[Unfinished] = []
        try:
            with connection.transaction():
                for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
                    if chance.random() < 0.15:
                        with suppress(psycopg.Rollback), connection.transaction() as savepoint:
                            self._insert(connection, chance, ids.pop())
                            raise psycopg.Rollback(savepoint)  # noqa: TRY301 - psycopg's own way
                    elif chance.random() < 0.2:
                        with connection.transaction():
                            written += self._insert(connection, chance, ids.pop())
                    else:
                        written += self._insert(connection, chance, ids.pop())
                    if not ids:
                        break
                if chance.random() < 0.3:
                    self._wait(chance.uniform(0.0, 3.0))
                if chance.random() < 0.12:
                    raise psycopg.Rollback  # noqa: TRY301 - psycopg's own way
        except psycopg.Rollback:
            return []
        else:
            return written

    def _insert(self, connection: "Connection[Any]", chance: Random, number: int) -> list[Unfinished]:
        created_at = datetime.now(UTC).replace(tzinfo=None)
        if chance.random() < 0.3:
            created_at = created_at.replace(microsecond=0)  # many requests of one instant
        done = chance.random()
        completed_at = created_at + timedelta(seconds=chance.uniform(0.0, 5.0)) if done < 0.5 else None
        connection.execute(
            INSERT,
            [
                number,
                chance.choice(("vizql", "sessions", None)),
                chance.choice(ACTIONS),
                f"/vizql/w/Sales/v/Overview/{number}?:embed=y&ticket=canary",
                created_at,
                completed_at,
                chance.choice(STATUSES) if completed_at else None,
                chance.choice(SITES),
                chance.randint(1, 9),
            ],
        )
        if completed_at or done > 0.92:
            return []
        return [Unfinished(number, created_at, time.monotonic() + chance.uniform(0.0, 5.0), chance.random() < 0.2)]

    def _complete(
        self, connection: "Connection[Any]", chance: Random, unfinished: list[Unfinished]
    ) -> list[Unfinished]:
        """Complete requests that are due; some are completed twice, some first updated without being completed."""
        now = time.monotonic()
        left = []
        for request in unfinished:
            if request.due > now:
                left.append(request)
                continue
            completed_at = datetime.now(UTC).replace(tzinfo=None)
            if chance.random() < 0.2:
                connection.execute(COMPLETE, [None, None, request.number, request.created_at])
            with connection.transaction():
                values = [completed_at, chance.choice(STATUSES), request.number, request.created_at]
                connection.execute(COMPLETE, values)
                if chance.random() < 0.1:
                    self._wait(chance.uniform(0.0, 1.0))
            if request.again:
                left.append(Unfinished(request.number, request.created_at, now + 1.0, again=False))
        return left

    def _wait(self, seconds: float) -> None:
        """Wait; when the writer ends meanwhile, half of the waiting transactions are committed, half are not."""
        if self._stop.wait(seconds) and seconds > 1.5:
            raise Patience
